"""Noise put into a snapshot's training part on purpose: the Rec-Denoiser paper's replacements.

Every training position has a place in one random order and a replacement of its own, both
functions of the snapshot's content and the seed alone. A ratio takes that order's beginning, so
a larger ratio's replaced positions contain a smaller one's, with the same items.
"""

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import sql
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import Origin, Snapshot, Traits, snapshot_name, write_snapshot
from tasks.specs import CorruptSpec

Integers = npt.NDArray[np.int64]

# Which of the seed's streams is for what. Changing a number changes every corrupted snapshot.
_CHOICE_STREAM = 0
_ITEM_STREAM = 1


def corrupt(snapshot: Snapshot, spec: CorruptSpec, *, home: Home) -> Snapshot:
    """Replace `round(spec.ratio * N)` of the N training positions; a ratio of 0 gives `snapshot` itself.

    A replacement is drawn uniformly from the catalogue without the position's own item and the
    items that its user is ranked on, and is labelled `replace`. Validation and test events,
    times, positions, targets, users and items stay as they are.

    Raises `InputError` where `snapshot` has injected noise already, or where a user's catalogue
    leaves nothing to draw.
    """
    manifest = snapshot.manifest
    if manifest.clean != manifest.digest:
        raise InputError(
            f"the snapshot {snapshot.name} has injected noise already: "
            f"corrupt the clean one, {snapshot_name(manifest.clean)}"
        )
    count = round(spec.ratio * snapshot.counts.training)
    if count == 0:
        return snapshot
    with working_folder(home.snapshots) as work, _engine(str(work / "spill")) as connection:
        connection.register("replaced", _replacements(connection, snapshot, count=count, seed=spec.seed))
        interactions = sql.literal(str(snapshot.interactions))
        connection.execute(sql.load("corrupt/interactions", interactions=interactions))
        for path in (snapshot.targets, snapshot.users, snapshot.items):
            connection.execute(sql.load("corrupt/unchanged", table=path.stem, file=sql.literal(str(path))))
        traits = Traits(
            labelled=True,
            user_id_type=manifest.user_id_type,
            item_id_type=manifest.item_id_type,
            has_times=manifest.has_times,
        )
        origin = Origin(
            sources=manifest.sources,
            spec={**manifest.spec, "corrupt": spec.model_dump(mode="json")},
            parent=manifest.digest,
            clean=manifest.clean,
            realised_ratio=count / snapshot.counts.training,
        )
        return write_snapshot(connection, work, home=home, traits=traits, origin=origin)


def _engine(spill: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"temp_directory": spill})


def _replacements(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, *, count: int, seed: int) -> pa.Table:
    """The table (user, position, item) of `count` replaced training positions."""
    training = _columns(
        connection,
        sql.load(
            "corrupt/training",
            interactions=sql.literal(str(snapshot.interactions)),
            users=sql.literal(str(snapshot.users)),
        ),
    )
    total = len(training["item"])
    chosen = _first_in_order(_random_words(seed, _CHOICE_STREAM, total), count)
    words = _random_words(seed, _ITEM_STREAM, total)[chosen]
    users, items = training["user"][chosen], training["item"][chosen]
    held_out = _held_out(connection, snapshot)
    forbidden = np.concatenate([held_out[users], items[:, None].astype(np.int64)], axis=1)
    drawn = _draw(words, forbidden, catalogue=snapshot.counts.items)
    stuck = np.flatnonzero(drawn == 0)
    if stuck.size:
        query = sql.load("corrupt/user_id", users=sql.literal(str(snapshot.users)))
        row = connection.execute(query, {"user": int(users[stuck[0]])}).fetchone()
        raise InputError(
            f"the catalogue of {snapshot.counts.items} items leaves nothing to replace an item of user "
            f"{row[0] if row else '?'} with: take a log with more items, or a smaller ratio"
        )
    return pa.table({"user": users, "position": training["position"][chosen], "item": drawn})


def _random_words(seed: int, stream: int, count: int) -> npt.NDArray[np.uint64]:
    """[count] random 64-bit words of one of the seed's streams.

    The generator's raw output is used because numpy keeps it the same from version to version.
    """
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))).random_raw(count)
    return np.asarray(words, dtype=np.uint64)


def _first_in_order(words: npt.NDArray[np.uint64], count: int) -> Integers:
    """The positions of the `count` smallest words, ascending; of equal words the earlier come first."""
    threshold = np.partition(words, count - 1)[count - 1]
    below = np.flatnonzero(words < threshold)
    level = np.flatnonzero(words == threshold)[: count - len(below)]
    return np.sort(np.concatenate([below, level]))


def _held_out(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> Integers:
    """[users, most] the items that each user is ranked on, padded with 0."""
    table = _columns(connection, sql.load("corrupt/held_out", targets=sql.literal(str(snapshot.targets))))
    most = int(table["place"].max()) + 1 if len(table["place"]) else 0
    held_out = np.zeros((snapshot.counts.users, most), dtype=np.int64)
    held_out[table["user"], table["place"]] = table["item"]
    return held_out


def _draw(words: npt.NDArray[np.uint64], forbidden: Integers, *, catalogue: int) -> Integers:
    """[n] items of 1..catalogue, uniform over those not in the row of `forbidden` [n, m].

    Zeros and repetitions in a row of `forbidden` count for nothing. 0 where no item is left.
    """
    beyond = catalogue + 1
    bars = np.sort(np.where(forbidden == 0, beyond, forbidden), axis=1)
    bars[:, 1:][bars[:, 1:] == bars[:, :-1]] = beyond
    bars.sort(axis=1)
    free = catalogue - np.sum(bars < beyond, axis=1)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    drawn = 1 + np.floor(uniform * free).astype(np.int64)
    for bar in bars.T:
        drawn += drawn >= bar
    return np.where(free > 0, drawn, 0)


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, npt.NDArray[Any]]:
    return {name: np.asarray(column) for name, column in connection.execute(query).fetchnumpy().items()}
