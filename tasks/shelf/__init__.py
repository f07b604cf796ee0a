"""The snapshots in the state folder: listed, compared, checked, forgotten from and taken off."""
