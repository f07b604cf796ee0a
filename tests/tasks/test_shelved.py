"""A snapshot in the place of a log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.corrupt import corrupt
from tasks.data_specs import Columns, CorruptSpec, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.plan import Data, parameters, plan
from tasks.recommend import read_otherwise
from tasks.shelf.forget import forget
from tasks.snapshots import Snapshot
from tasks.sources.shelved import address_of, as_made, shelved
from tasks.sources.source import inspect_source, obtain_log
from tasks.specs import CellSpec, IngestSpec, named_method
from tests.tasks.builders import EXECUTION

Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]
LOG = "\n".join(["who,item_id,at", *(f"u{user},i{(user + at) % 9},{at}" for user in range(8) for at in range(7))])
PREPARE = PrepareSpec(duplicates="first", promotion=0.25)


@pytest.fixture
def snapshot(write_log: Write, ingest_file: Ingest) -> Snapshot:
    return ingest_file(write_log(f"{LOG}\n"), prepare=PREPARE, user="who", order="at")


def test_it_is_found_by_its_name(snapshot: Snapshot, home: Home) -> None:
    source = SourceSpec(path=address_of(snapshot))
    found = shelved(source, PrepareSpec(), home=home)
    assert found is not None
    assert found.digest == snapshot.digest
    inspect_source(source, PrepareSpec(), home=home)
    with pytest.raises(InputError, match=f"named in full: {source.path}"):
        shelved(SourceSpec(path=f"snapshot://{snapshot.name[:5]}"), home=home)
    assert shelved(SourceSpec(path="log.csv"), PREPARE, home=home) is None
    assert shelved(SourceSpec(), PREPARE, home=home) is None


@pytest.mark.parametrize(
    ("said", "prepare", "told"),
    [
        ({"path": "snapshot://zz"}, PrepareSpec(), "there is no snapshot 'zz'"),
        ({"path": "snapshot://"}, PrepareSpec(), "there is no snapshot ''"),
        ({"columns": Columns(user="who")}, PrepareSpec(), "has been read"),
        ({"format": "movielens"}, PrepareSpec(), "has been read"),
        ({}, PrepareSpec(min_rating=3), "has been prepared and split"),
    ],
    ids=["another name", "no name", "columns", "format", "preparation"],
)
def test_what_has_no_effect_is_refused(
    snapshot: Snapshot, home: Home, said: dict[str, Any], prepare: PrepareSpec, told: str
) -> None:
    source = SourceSpec(path=address_of(snapshot)).model_copy(update=said)
    with pytest.raises(InputError, match=told):
        inspect_source(source, prepare, home=home)


def test_noise_put_in_is_said_and_not_named(snapshot: Snapshot, home: Home) -> None:
    noisy = corrupt(snapshot, CorruptSpec(ratio=0.3), home=home)
    with pytest.raises(InputError, match=f"has injected noise: name the clean one, {address_of(snapshot)}"):
        shelved(SourceSpec(path=address_of(noisy)), home=home)


def test_it_is_no_log(snapshot: Snapshot, home: Home) -> None:
    with pytest.raises(InputError, match="is a snapshot, and here a log is asked for"):
        obtain_log(SourceSpec(path=address_of(snapshot)), home=home)


def test_a_run_on_it_says_how_its_log_was_prepared(snapshot: Snapshot, home: Home) -> None:
    left = forget(snapshot, ["u3"], home=home).new
    method = named_method("sasrec-bce")
    spec = CellSpec(source=SourceSpec(path=address_of(left)), dataset="shop", method=method.name, model=method.model)
    assert as_made(spec, left)[1] == PREPARE
    (cell,) = plan([spec], lambda _: Data(left, left), EXECUTION)
    told = parameters(cell)
    assert (told["prepare.duplicates"], told["prepare.promotion"]) == ("first", 0.25)


def test_a_model_of_the_log_scores_it_as_its_own(snapshot: Snapshot) -> None:
    log = IngestSpec(
        source=SourceSpec(path="shop.csv", columns=Columns(user="who", order="at")), prepare=PREPARE, dataset="shop"
    )
    named = IngestSpec(source=SourceSpec(path=address_of(snapshot)), dataset="shop")
    assert read_otherwise(named, snapshot, trained_as=log, trained_on=snapshot) is None
    assert read_otherwise(log, snapshot, trained_as=named, trained_on=snapshot) is None
    other = log.model_copy(update={"prepare": PrepareSpec()})
    assert "--duplicates" in str(read_otherwise(other, snapshot, trained_as=named, trained_on=snapshot))
