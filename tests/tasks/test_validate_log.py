"""Logs with planted faults: what stops them is said in one sentence, what is odd about them is reported."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.data_specs import Columns, SourceSpec
from tasks.errors import InputError
from tasks.sources.logs import log_of
from tasks.validate import EXPECTATIONS, log_docs_showing, validate_log
from tasks.validation.report import Outcome, ValidationFailed, ValidationReport

NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "who,what,when,stars,n\n"
SOUND = "".join(f"u{i % 40},i{i % 31},{1_500_000_000 + i * 97},{i % 5 + 1},{i}\n" for i in range(800))
COLUMNS = Columns(user="who", item="what", time="when", rating="stars", order="n")

Checking = Callable[..., ValidationReport]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Checking:
    """`check(text)` is the report of a log."""
    folder = tmp_path_factory.mktemp("logs")

    def run(text: str, *, columns: Columns = COLUMNS, expectations: Path = EXPECTATIONS) -> ValidationReport:
        path = folder / "log.csv"
        path.write_text(text, encoding="utf-8")
        log = log_of(SourceSpec(path=str(path), columns=columns), path)
        return validate_log(log, docs=folder / "docs", expectations=expectations, now=NOW)

    return run


@pytest.fixture(scope="module")
def odd(check: Checking) -> ValidationReport:
    """A log with a fault of each sort that does not stop a run."""
    faults = [
        " u1,i1,1500000000,1,9000\n",
        "NaN,i1,1500000001,1,9001\n",
        "u2,null,1500000002,1,9002\n",
        f"{'u' * 201},i1,1500000003,1,9003\n",
        "u3,i3,4000000000,1,9004\n",
        "u4,i4,1500000004,1000,9005\n",
        "u5,i5,1500000005,lots,9006\n",
        *("u6,i6,1500000006,1,9007\n" for _ in range(150)),
        *(f"once{n},item{n},1500000007,1,{n}\n" for n in range(100)),
    ]
    return check(HEADER + SOUND + "".join(faults))


@pytest.fixture(scope="module")
def refused(check: Checking) -> ValidationFailed:
    """A log that cannot be ingested, for each reason there is."""
    with pytest.raises(ValidationFailed) as failure:
        check(HEADER + SOUND + "u1,i2,1500000000000,4,3\n,i3,1500000000,3,4\nu2,,1500000000,1,\nu3,i4,oops,5,7\n")
    return failure.value


def test_a_sound_log_passes_and_has_docs(check: Checking) -> None:
    report = check(HEADER + SOUND)
    assert [o for o in report.outcomes if not o.success] == []
    assert report.suite == "raw"
    assert report.docs.is_file()
    assert report.docs.parent.name.startswith("log-")


@pytest.mark.parametrize(
    ("name", "unexpected", "row"),
    [
        ("user_id looks like one", 3, {"user_id": "« u1»", "first_row": 801}),
        ("user_id looks like one", 3, {"user_id": "«NaN»", "events": 1}),
        ("item_id looks like one", 1, {"item_id": "«null»", "first_row": 803}),
        ("times lie between", 1, {"row": 805, "who": "u3", "when": "4000000000"}),
        ("every rating is", 2, {"row": 806, "stars": "1000"}),
        ("every rating is", 2, {"row": 807, "stars": "lots"}),
        ("events in a second", 1, {"user_id": "u6", "since": "2017-07-14 02:40:06", "events": 150}),
        ("repeat a user's item at the same time", 149, {"row": 809, "first_row": 808}),
        ("order of another", 149, {"row": 809, "user_id": "u6"}),
        ("users have a single event", 103, {"user_id": "once0"}),
        ("items have a single event", 101, {"item_id": "item0"}),
    ],
)
def test_what_is_odd_is_reported_with_its_rows(
    odd: ValidationReport, *, name: str, unexpected: int, row: dict[str, object]
) -> None:
    assert odd.failures == ()
    outcome = find(odd, name)
    assert outcome.severity == "warning"
    assert any(row.items() <= found.items() for found in outcome.rows), outcome.rows
    assert outcome.unexpected == unexpected


def test_the_docs_that_show_a_row_of_someone_are_found(odd: ValidationReport) -> None:
    folder = odd.docs.parent
    assert log_docs_showing(["u4"], docs=folder.parent) == (folder,)
    assert log_docs_showing(["nobody", "u5"], docs=folder.parent) == (folder,)
    assert log_docs_showing(["u", "u39"], docs=folder.parent) == ()
    assert log_docs_showing(["u4"], docs=folder.parent / "none") == ()


def test_ids_that_all_were_written_as_decimal_numbers_are_reported(check: Checking) -> None:
    rows = "".join(f"v{n % 20}.0,{n % 31}.0,{1_500_000_000 + n * 97},3,{n}\n" for n in range(200))
    report = check(HEADER + rows)
    outcome = find(report, "item_id looks like one")
    assert (outcome.unexpected, outcome.severity) == (31, "warning")
    assert {"item_id": "«0.0»", "events": 7}.items() <= outcome.rows[0].items()
    assert find(report, "user_id looks like one").success
    some = find(check(HEADER + rows + "v1.0,7.5,1500000000,3,200\n"), "item_id looks like one")
    assert some.success


def test_a_number_written_as_two_ids_is_reported(check: Checking) -> None:
    users = [f"{number}{ending}" for number in range(-1, 40) for ending in ("", ".0")] + ["77.0", "v7", "v7.0"]
    rows = "".join(f"{user},i{n % 31},{1_500_000_000 + n * 97},3,{n}\n" for n, user in enumerate(users))
    outcome = find(check(HEADER + rows), "user_id looks like one")
    assert outcome.unexpected == 41
    assert {"user_id": "«-1.0»", "events": 1}.items() <= outcome.rows[0].items()


def test_what_a_log_holds_is_text_in_its_docs(check: Checking) -> None:
    script, column = "<script>alert(1)</script>", "<img src=x onerror=alert(2)>"
    repeated = f"{script},{script},1500000000\n" * 300
    columns = Columns(user="who", item="what", time=column)
    report = check(f"who,what,{column}\n{repeated}u1,i1,4000000000\n", columns=columns)
    assert report.warnings
    pages = {page: page.read_text(encoding="utf-8") for page in report.docs.parent.rglob("*.html")}
    assert any("&lt;script&gt;alert(1)" in text for text in pages.values())
    for page, text in pages.items():
        assert script not in text, page
        assert column not in text, page
        policy = text.index('http-equiv="Content-Security-Policy" content="default-src \'none\'')
        assert policy < text.index("<title>"), page


@pytest.mark.parametrize("name", ["item :id", ":item", "a :b::c :d:", "100 % {item}", r"\:item"])
def test_a_column_may_be_called_what_a_query_has_a_meaning_for(check: Checking, name: str) -> None:
    report = check(HEADER.replace("what", name) + SOUND, columns=COLUMNS.model_copy(update={"item": name}))
    assert [outcome.crash for outcome in report.outcomes if outcome.crash] == []
    with pytest.raises(ValidationFailed, match="no user id") as failure:
        check(HEADER.replace("what", name) + SOUND + ",i3,1500000000,3,4\n", columns=Columns(user="who", item=name))
    (row,) = find(failure.value.report, "has a user id").rows
    assert row == {"row": 801, "who": None, name.replace("\\", ""): "i3"}


def test_what_ingest_would_refuse_is_told_in_its_sentence(refused: ValidationFailed) -> None:
    assert "log.csv, row 802, column 'who': no user id; see " in str(refused)
    assert "\n" not in str(refused)
    assert refused.report.docs.is_file()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("has a user id", {"row": 802, "who": None, "what": "i3"}),
        ("has an item id", {"row": 803, "who": "u2", "what": None}),
        ("has a time", {"row": 804, "when": "oops"}),
        ("in one unit", {"unit": "milliseconds", "rows": 1, "first_row": 801, "time": "1500000000000"}),
        ("number to order by", {"row": 803, "n": None}),
    ],
)
def test_every_row_that_cannot_be_ingested_is_in_the_report(
    refused: ValidationFailed, *, name: str, row: dict[str, object]
) -> None:
    outcome = find(refused.report, name)
    assert outcome.severity == "critical"
    assert outcome.crash is None
    assert any(row.items() <= found.items() for found in outcome.rows), outcome.rows


def test_a_mixture_of_clock_units_stops_the_run(check: Checking) -> None:
    with pytest.raises(ValidationFailed, match=r"row 801, column 'when': '1500000000000' is in milliseconds"):
        check(HEADER + SOUND + "u1,i2,1500000000000,4,3\n")


def test_seconds_some_of_which_look_like_dates_are_in_one_unit(check: Checking) -> None:
    columns = Columns(user="who", item="what", time="when")
    rows = "".join(f"u{i % 40},i{i % 31},{19_000_101 + i * 2_501}\n" for i in range(800))
    report = check("who,what,when\n" + rows, columns=columns)
    assert find(report, "in one unit").success
    with pytest.raises(ValidationFailed, match=r"row 1, column 'when': '20200131' looks like a date, as all times do"):
        check("who,what,when\n" + "u1,i1,20200131\n" * 3, columns=columns)


def test_a_small_log_without_times_is_asked_for_less(check: Checking, tmp_path: Path) -> None:
    limits = tmp_path / "strict.yaml"
    text = EXPECTATIONS.read_text(encoding="utf-8")
    limits.write_text(text.replace("least: 20\n    severity: warning", "least: 20\n    severity: critical"))
    with pytest.raises(ValidationFailed, match="there are at least 20 users") as failure:
        check("who,what\n" + "a,b\na,b\n", columns=Columns(user="who", item="what"), expectations=limits)
    assert "log log.csv" in str(failure.value)
    assert {o.name for o in failure.value.report.failures} == {
        "there are at least 20 users",
        "there are at least 20 items",
    }
    assert find(failure.value.report, "repeat a user's item").unexpected == 1


def test_a_log_without_rows_is_refused_as_ingest_would(check: Checking) -> None:
    with pytest.raises(InputError, match="holds no interactions") as failure:
        check(HEADER)
    assert not isinstance(failure.value, ValidationFailed)


def find(report: ValidationReport, name: str) -> Outcome:
    """The one outcome whose name contains `name`."""
    (outcome,) = (o for o in report.outcomes if name in o.name)
    return outcome


def test_the_pages_that_show_an_odd_id_are_found_by_the_id_as_it_is(
    write_log: Callable[..., Path], tmp_path: Path
) -> None:
    odd, long = "alice@example.org ", "x" * 250
    rows = [f'"{user}",i{event}' for user in (odd, long, "bob") for event in range(4)]
    path = write_log("\n".join(["user_id,item_id", *rows]) + "\n")
    report = validate_log(log_of(SourceSpec(path=str(path)), path), docs=tmp_path / "docs")
    for raw in (odd, long):
        assert log_docs_showing([raw], docs=tmp_path / "docs") == (report.docs.parent,)
    assert log_docs_showing(["alice@example.org"], docs=tmp_path / "docs") == ()
