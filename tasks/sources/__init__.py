"""Where logs come from and how they lie on disk: found, fetched, recognised, read into DuckDB."""
