"""The command line's list of public data sets."""

import shutil
import textwrap

from tasks.errors import InputError
from tasks.home import Home
from tasks.sources.datasets import DATASETS, GENERATED, DataSet, by_hand, known, nearest, remote_of
from tasks.sources.fetch import fetch, is_kept

WIDTH = 100


def list_datasets() -> int:
    """Print a table of all that are known; exit status."""
    home = Home.from_environment()
    print(f"{'name':<33}{'rows':>11}{'download':>10}  {'on disk':<11}terms")
    for dataset in DATASETS.values():
        rows = f"{dataset.rows:,}" if dataset.rows else "any" if dataset.name == GENERATED else "?"
        print(f"{dataset.name:<33}{rows:>11}{_size(dataset.size):>10}  {_kept(dataset, home):<11}{dataset.terms}")
    print("\n`rec-denoiser datasets NAME` says all about one; `--source NAME` uses it, fetched from its owner")
    print("where that can be done (by hand where the table says so).")
    return 0


def show_dataset(name: str) -> int:
    """Print all about one; exit status. Raises `InputError` for an unknown name."""
    dataset = _named(name)
    home = Home.from_environment()
    _tell("what", dataset.what)
    _tell("papers", dataset.papers)
    _tell("licence", dataset.licence)
    if dataset.page:
        _tell("owner", dataset.page)
    if dataset.rows:
        _tell("rows", f"{dataset.rows:,}")
    if dataset.address:
        unpacked = f", of which {dataset.member}" if dataset.member else ""
        _tell("download", f"{dataset.address} ({_size(dataset.size)}){unpacked}")
        _tell("checksum", _checksum(dataset))
    _tell("format", dataset.format)
    _tell("on disk", _kept(dataset, home))
    print()
    if dataset.steps:
        print(textwrap.fill(by_hand(dataset), WIDTH, break_long_words=False, break_on_hyphens=False))
        return 0
    if dataset.address:
        print(f"  rec-denoiser datasets {name} --fetch")
        print("      fetch it, or see whether its owner has changed it")
    print(f"  rec-denoiser ingest --source {name}\n      make a checked snapshot of it")
    print(f"  rec-denoiser run --source {name} --noise 0,0.2\n      compare recommenders on it, clean and noisy")
    return 0


def fetch_dataset(name: str) -> int:
    """Fetch one from its owner; exit status. Raises `InputError` where that cannot be done."""
    dataset = _named(name)
    if dataset.name == GENERATED:
        raise InputError(f"{GENERATED} is generated when it is needed: there is nothing to fetch")
    remote = remote_of(dataset)
    if remote is None:
        raise InputError(by_hand(dataset))
    kept = fetch(remote, home=Home.from_environment(), say=print)
    print(f"{kept.path}\n  SHA-256 {kept.sha256}")
    return 0


def _named(name: str) -> DataSet:
    dataset = known(name)
    if dataset is None:
        close = nearest(name)
        meant = f": did you mean {close}?" if close else ""
        raise InputError(f"no public data set is known as {name!r}{meant} (`rec-denoiser datasets` lists them)")
    return dataset


def _tell(label: str, text: str) -> None:
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    indented = textwrap.fill(
        text, width, initial_indent=f"{label + ':':<11}", subsequent_indent=" " * 11,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    print(indented)


def _kept(dataset: DataSet, home: Home) -> str:
    if dataset.name == GENERATED:
        return "made here"
    remote = remote_of(dataset)
    if remote is None:
        return "by hand"
    return "yes" if is_kept(remote, home=home) else "no"


def _checksum(dataset: DataSet) -> str:
    if dataset.md5_address:
        return f"compared with the owner's, {dataset.md5_address}"
    if dataset.md5:
        return f"compared with the owner's MD5, {dataset.md5}"
    return "its owner publishes none: the SHA-256 of the first download is kept and later ones are compared"


def _size(count: int | None) -> str:
    return f"{count / 1e6:,.0f} MB" if count else "?"
