"""A snapshot as a source: `snapshot://NAME` is one that lies in the state folder, taken as it is.

So what `forget` and an audit wrote is trained on, and users are scored by it, like a log.
"""

from tasks.data_specs import PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.shelf.entries import find, opened, read_shelf
from tasks.snapshots import Snapshot, snapshot_name
from tasks.sources.addresses import scheme_of
from tasks.specs import LogSpec

SCHEME = "snapshot"


def is_shelved(source: SourceSpec) -> bool:
    """Does the source name a snapshot?"""
    return source.path is not None and scheme_of(source.path) == SCHEME


def address_of(snapshot: Snapshot) -> str:
    """The source that names the snapshot."""
    return f"{SCHEME}://{snapshot.name}"


def shelved(source: SourceSpec, prepare: PrepareSpec | None = None, *, home: Home) -> Snapshot | None:
    """The snapshot that the source names, in full; None where the source is a log.

    Raises `InputError` where there is none of that name; where it has injected noise; and where something
    is said of how it is to be read or prepared, which has been done.
    """
    if not is_shelved(source):
        return None
    name = str(source.path).partition("://")[2]
    snapshot = opened(find(name, read_shelf(home)))
    if snapshot.name != name:  # data sets are named after it: by two names it would be two
        raise InputError(f"a snapshot that stands for a log is named in full: {address_of(snapshot)}")
    if snapshot.manifest.has_injected_noise:
        raise InputError(
            f"the snapshot {snapshot.name} has injected noise: name the clean one, "
            f"{SCHEME}://{snapshot_name(snapshot.manifest.clean)}, and say what noise is put into it"
        )
    if source != SourceSpec(path=source.path):
        raise InputError(f"{source.path} has been read: leave out what says how (format, columns, shoppers)")
    if prepare is not None and prepare != PrepareSpec():
        raise InputError(
            f"{source.path} has been prepared and split: leave out what says how (`rec-denoiser snapshots show "
            f"{snapshot.name}` tells it)"
        )
    return snapshot


def as_made(spec: LogSpec, snapshot: Snapshot) -> tuple[SourceSpec, PrepareSpec]:
    """How the log of a spec, which became `snapshot`, was read and prepared: as the spec says, or, where it names the
    snapshot, as its manifest does.
    """
    if not is_shelved(spec.source):
        return spec.source, spec.prepare
    made = snapshot.manifest.spec
    return SourceSpec.model_validate(made["source"]), PrepareSpec.model_validate(made["prepare"])
