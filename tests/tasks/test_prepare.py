"""What is kept of a log, in what it is told apart, and within which bounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.data_specs import LeaveOneOut, PrepareSpec
from tasks.engine import engine, limits
from tasks.errors import InputError
from tasks.snapshots import Snapshot

Row = tuple[Any, ...]
Read = Callable[[Path], list[Row]]
Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]

RATED = "user_id,item_id,rating\na,1,5\na,2,3.5\na,3,3\na,4,4\na,5,4.5\n"


def items_of(snapshot: Snapshot) -> list[str]:
    """The raw item ids of the first user, in their order."""
    query = f"SELECT item_id FROM '{snapshot.interactions}' JOIN '{snapshot.items}' USING (item) WHERE \"user\" = 0"
    return [item for (item,) in duckdb.sql(f"{query} ORDER BY position").fetchall()]


def sequences(snapshot: Snapshot) -> dict[str, list[str]]:
    """Raw user id -> raw item ids in their order."""
    query = (
        f"SELECT user_id, list(item_id ORDER BY position) FROM '{snapshot.interactions}' "
        f"JOIN '{snapshot.users}' USING (\"user\") JOIN '{snapshot.items}' USING (item) GROUP BY user_id"
    )
    return dict(duckdb.sql(query).fetchall())


# Leave-one-out


def test_every_user_is_ranked_on_the_last_two_events(
    tiny_rows: list[Row], tiny_log: Path, ingest_file: Ingest, rows_of: Read
) -> None:
    tiny_snapshot = ingest_file(tiny_log, time="ts", noise="noise", prepare=PrepareSpec(promotion=0))
    expected: dict[str, list[str]] = {}
    for user, item, *_ in sorted(tiny_rows, key=lambda row: (row[0], row[2])):
        expected.setdefault(user, []).append(item)
    assert sequences(tiny_snapshot) == expected

    users = rows_of(tiny_snapshot.users)
    items = {row[0]: row[1] for row in rows_of(tiny_snapshot.items)}
    assert [row[:2] for row in users] == list(enumerate(sorted(expected)))
    assert list(items) == list(range(1, len(items) + 1))
    assert list(items.values()) == sorted(items.values())
    assert all(
        train_length == (len(expected[user]) - 2 if len(expected[user]) >= 3 else len(expected[user]))
        for _, user, train_length in users
    )

    ranked = [(index, user) for index, user, _ in users if len(expected[user]) >= 3]
    wanted = [
        (split, index, expected[user][-back], len(expected[user]) - back)
        for split, back in (("validation", 2), ("test", 1))
        for index, user in ranked
    ]
    targets = rows_of(tiny_snapshot.targets)
    assert [row[0] for row in targets] == list(range(len(wanted)))
    assert [(split, user, items[item], history) for _, user, item, split, history in targets] == wanted
    assert tiny_snapshot.counts.targets_test == tiny_snapshot.counts.targets_validation == len(ranked)
    assert tiny_snapshot.counts.training == len(tiny_rows) - 2 * len(ranked)


def test_short_histories_are_kept_and_not_ranked(write_log: Write, ingest_file: Ingest, rows_of: Read) -> None:
    path = write_log("user_id,item_id\n" + "".join(f"{user},{n}\n" for user in "ab" for n in range(4)) + "c,1\nc,2\n")
    snapshot = ingest_file(path)
    assert [row[2] for row in rows_of(snapshot.users)] == [2, 2, 2]
    assert {row[1] for row in rows_of(snapshot.targets)} == {0, 1}


# Ratings


def test_what_is_rated_lower_is_dropped_before_all_else(write_log: Write, ingest_file: Ingest) -> None:
    path = write_log(RATED)
    assert items_of(ingest_file(path, rating="rating", prepare=PrepareSpec(min_rating=3.5))) == ["1", "2", "4", "5"]
    assert items_of(ingest_file(path, rating="rating")) == ["1", "2", "3", "4", "5"]
    core = PrepareSpec(min_rating=4, user_core=3)
    assert items_of(ingest_file(path, rating="rating", prepare=core)) == ["1", "4", "5"]


@pytest.mark.parametrize(
    ("text", "columns", "least", "message"),
    [
        (RATED, {}, 3, r"log\.csv has no column of ratings"),
        (RATED + "a,6,good\n", {"rating": "rating"}, 3, r"row 6, column 'rating': 'good' where a rating, a number"),
        (RATED + "a,6,\n", {"rating": "rating"}, 3, r"row 6, column 'rating': no rating"),
        (RATED, {"rating": "rating"}, 6, "no interactions are left after dropping those rated lower than 6"),
    ],
)
def test_ratings_that_cannot_be_judged_by_are_refused(
    write_log: Write, ingest_file: Ingest, text: str, columns: dict[str, str], least: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ingest_file(write_log(text), prepare=PrepareSpec(min_rating=least), **columns)


def test_ratings_that_nobody_asks_about_may_say_anything(write_log: Write, ingest_file: Ingest) -> None:
    path = write_log(RATED + "a,6,good\n")
    assert items_of(ingest_file(path, rating="rating"))[-1] == "6"


# Duplicates


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("keep", "xxyxxyz"),
        ("exact", "xyxxyz"),
        ("consecutive", "xyxyz"),
        ("first", "xyz"),
        ("last", "xyz"),
    ],
)
def test_duplicates_are_dropped_as_asked(
    write_log: Write, ingest_file: Ingest, rows_of: Read, policy: str, expected: str
) -> None:
    events = [("x", 1), ("x", 1), ("y", 2), ("x", 3), ("x", 4), ("y", 5), ("z", 6)]
    path = write_log("user_id,item_id,ts\n" + "".join(f"u,{item},{time}\n" for item, time in events))
    snapshot = ingest_file(path, time="ts", prepare=PrepareSpec.model_validate({"duplicates": policy}))
    assert "".join(items_of(snapshot)) == expected
    if policy in ("first", "last"):
        times = [row[2] // 1_000_000 for row in rows_of(snapshot.interactions)]
        assert times == {"first": [1, 2, 6], "last": [4, 5, 6]}[policy]


def test_exact_duplicates_need_times(write_log: Write, ingest_file: Ingest) -> None:
    with pytest.raises(InputError, match="no column of times, and exact duplicates repeat item and time"):
        ingest_file(write_log(RATED), prepare=PrepareSpec(duplicates="exact"))


# Cores


def test_the_k_core_is_taken_until_nothing_changes(write_log: Write, ingest_file: Ingest) -> None:
    """Without d and f, item 4 has one event; without that, c has two; without c, a, b and e are left."""
    rows = [
        (word[0], word[1])
        for word in [
            "a1",
            "a2",
            "a3",
            "b1",
            "b2",
            "b3",
            "e1",
            "e2",
            "e3",
            "c2",
            "c4",
            "c3",
            "d4",
            "d5",
            "f4",
            "a1",
        ]
    ]
    path = write_log("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
    snapshot = ingest_file(path, prepare=PrepareSpec(user_core=3, item_core=3))
    found = sequences(snapshot)
    expected = list(rows)
    while True:
        kept = [
            (user, item)
            for user, item in expected
            if sum(u == user for u, _ in expected) >= 3 and sum(i == item for _, i in expected) >= 3
        ]
        if kept == expected:
            break
        expected = kept
    assert sum(map(len, found.values())) == len(expected)
    assert found == {user: [i for u, i in expected if u == user] for user, _ in expected}


def test_users_and_items_have_cores_of_their_own(write_log: Write, ingest_file: Ingest) -> None:
    words = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1", "c2"]
    path = write_log("user_id,item_id\n" + "".join(f"{word[0]},{word[1]}\n" for word in words))
    counts = [
        ingest_file(path, prepare=prepare).counts for prepare in (PrepareSpec(user_core=3), PrepareSpec(item_core=2))
    ]
    assert [(one.users, one.items, one.interactions) for one in counts] == [(2, 4, 7), (3, 3, 8)]


def test_an_item_that_a_core_leaves_beside_itself_stands_there_once(write_log: Write, ingest_file: Ingest) -> None:
    """Without 9, 1 stands beside itself; there once, it is too rare; and without it 2 stands beside itself."""
    histories = {"a": "219123", "b": "234", "c": "342"}
    rows = "".join(f"{user},{item}\n" for user, items in histories.items() for item in items)
    snapshot = ingest_file(
        write_log("user_id,item_id\n" + rows), prepare=PrepareSpec(duplicates="consecutive", item_core=2)
    )
    assert {user: "".join(items) for user, items in sequences(snapshot).items()} == histories | {"a": "23"}


def test_a_core_that_takes_everything_names_both_sides(write_log: Write, ingest_file: Ingest) -> None:
    with pytest.raises(InputError, match="users with fewer than 3 and items with fewer than 2 interactions from"):
        ingest_file(write_log(RATED), prepare=PrepareSpec(user_core=3, item_core=2))


# The same log in another file


@pytest.mark.parametrize("user", ["1000 - i % 7", "'0' || i % 7", "'u' || i % 7"])
@pytest.mark.parametrize("time", ["1577934245 + i", "1577934245000 + i * 1000", "to_timestamp(1577934245 + i)"])
def test_integers_and_moments_in_parquet_say_what_their_text_says(
    tmp_path: Path, ingest_file: Ingest, user: str, time: str
) -> None:
    rows = f"SELECT {user} AS user_id, i * 13 % 11 - 3 AS item_id, {time} AS ts, i % 5 AS rating FROM range(99) AS r(i)"
    digests = set()
    for name, options in (("log.parquet", "FORMAT parquet"), ("log.csv", "HEADER"), ("log.jsonl", "FORMAT json")):
        duckdb.sql(f"SET TimeZone = 'UTC'; COPY ({rows}) TO '{tmp_path / name}' ({options})")
        snapshot = ingest_file(
            tmp_path / name, time="ts", rating="rating", prepare=PrepareSpec(min_rating=2, user_core=2)
        )
        digests.add(snapshot.digest)
    assert len(digests) == 1


def test_promotion_leaves_validation_its_only_user(write_log: Write, ingest_file: Ingest) -> None:
    """One in five of them would be drawn."""
    for user in ("a", "b", "c", "d", "e", "f"):
        snapshot = ingest_file(write_log("user_id,item_id\n" + f"{user},1\n{user},2\n{user},3\n"))
        assert (snapshot.counts.targets_validation, snapshot.counts.targets_promotion) == (1, 0)


def test_the_promotion_users_train_as_before(tiny_log: Path, ingest_file: Ingest, rows_of: Read) -> None:
    split = LeaveOneOut()
    found = [
        ingest_file(tiny_log, time="ts", prepare=PrepareSpec(split=split, promotion=share)) for share in (0.0, 0.5)
    ]
    assert rows_of(found[0].users) == rows_of(found[1].users)
    assert rows_of(found[0].interactions) == rows_of(found[1].interactions)
    assert found[0].counts.targets_promotion == 0
    assert 5 < found[1].counts.targets_promotion < 25
    assert found[0].name != found[1].name


# Bounds


def test_memory_and_threads_are_bounded_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REC_DENOISER_MEMORY", "1GiB")
    monkeypatch.setenv("REC_DENOISER_THREADS", "1")
    with engine(tmp_path / "spill") as connection:
        found = connection.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchone()
    assert found == ("1.0 GiB", 1)
    monkeypatch.delenv("REC_DENOISER_MEMORY")
    assert limits() == {"threads": "1"}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("REC_DENOISER_MEMORY", "plenty", "'plenty' is no amount of memory: give a number and its unit, such as 4GB"),
        ("REC_DENOISER_MEMORY", "4", "'4' is no amount of memory"),
        ("REC_DENOISER_MEMORY", "1MB", "'1MB' is too little memory to work with: give 100MB or more"),
        ("REC_DENOISER_THREADS", "0", "REC_DENOISER_THREADS is '0': give a whole number"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=message), engine(tmp_path / "spill"):
        pass


@pytest.mark.slow
def test_a_log_larger_than_the_memory_spills_and_says_the_same(
    tmp_path: Path, ingest_file: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv"
    duckdb.sql(
        "COPY (SELECT 'user-number-' || i * 7919 % 20011 AS user_id, 'item-number-' || i % 997 AS item_id, i AS ts "
        f"FROM range(1500000) AS r(i)) TO '{path}' (HEADER)"
    )
    unbounded = ingest_file(path, time="ts")
    unbounded.path.rename(tmp_path / "before")
    monkeypatch.setenv("REC_DENOISER_MEMORY", "150MB")
    assert ingest_file(path, time="ts").manifest.files == unbounded.manifest.files


def test_too_little_memory_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REC_DENOISER_MEMORY", "100MB")
    query = "SELECT list(i) FROM range(100000000) AS r(i)"
    with (
        pytest.raises(InputError, match=r"need more memory than the 95\.3 MiB that DuckDB may take") as refusal,
        engine(tmp_path / "spill") as connection,
    ):
        connection.execute(query).fetchall()
    assert "\n" not in str(refusal.value)
