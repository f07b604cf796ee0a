"""What README, the documents and the studies say can be typed, can be; and their figures are those that are kept."""

import argparse
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from flows.cli import _parser as parser
from flows.requested import audit_spec, ingest_spec, recommend_spec, robustness_spec, study_request, tune_request
from tasks.errors import InputError
from tasks.home import PROJECT_ROOT
from tasks.study.files import shipped, shipped_searches, study_file
from tasks.tuning.expand import tune_file
from tests.command_lines import words

README = PROJECT_ROOT / "README.md"
DOCUMENTS = [README, *sorted((PROJECT_ROOT / "docs").glob("*.md")), PROJECT_ROOT / "studies" / "results" / "README.md"]
RESULTS = PROJECT_ROOT / "studies" / "results"
KEPT = {
    "NDCG@10": "test.full_unseen.ndcg_at_10",
    "Hit@10": "test.full_unseen.hit_at_10",
    "NDCG@10 s100": "test.sampled100.ndcg_at_10",
    "Hit@10 s100": "test.sampled100.hit_at_10",
}
"""What tables call the metrics of a result."""
STUDIES = [*shipped(), *shipped_searches()]
PROGRAM = r"(?:\w+=\S+ +)*(?:\.venv/bin/)?rec-denoiser"
HOLE = "…"
EARLIER = "when the file"
"""By these words a document says that a command was meant for what its study's file was then."""
SPECS = {"run": robustness_spec, "ingest": ingest_spec, "recommend": recommend_spec, "audit": audit_spec}


@dataclass(frozen=True)
class Written:
    """A command as a document has it. about: what is said of it around it."""

    line: int
    command: str
    about: str = ""

    @property
    def words(self) -> list[str]:
        """What follows the program's name."""
        return words(self.command)[1:]

    @property
    def is_pattern(self) -> bool:
        """Does it leave out something other than the value of an option?"""
        pairs = zip(["", *self.words], self.words, strict=False)
        return any(HOLE in word and not (word == HOLE and before.startswith("--")) for before, word in pairs)


def written_in(path: Path) -> list[Written]:
    text = path.read_text(encoding="utf-8")
    return list(_of_head(text) if path.suffix == ".yaml" else _of_page(text))


def _of_page(text: str) -> Iterator[Written]:
    """Commands of fenced blocks, and those in running text and tables between backticks."""

    def line(place: int) -> int:
        return text.count("\n", 0, place) + 1

    fenced = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for block in fenced.finditer(text):
        for found in re.finditer(rf"^{PROGRAM}(?:\\\n|[^\n])*", block[0], re.MULTILINE):
            yield Written(line(block.start() + found.start()), _named(found[0]))
    prose = fenced.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    for paragraph in re.finditer(r"^\|.*$|(?:^[^|\n].*\n?)+", prose, re.MULTILINE):
        for found in re.finditer(rf"`({PROGRAM}\s[^`]*)`", paragraph[0]):
            yield Written(line(paragraph.start() + found.start()), _named(" ".join(found[1].split())), paragraph[0])


def _of_head(text: str) -> Iterator[Written]:
    """Commands of a comment, indented; several spaces begin what is said of one."""
    head = text.partition("\nname:")[0]
    for found in re.finditer(rf"^# {{2,}}({PROGRAM}.*(?:\n# {{5,}}--.*)*)", head, re.MULTILINE):
        joined = re.sub(r"\\?\n# +", " ", found[1])
        yield Written(head.count("\n", 0, found.start()) + 1, _named(re.split(r" {3,}", joined)[0]))


def _named(command: str) -> str:
    return "rec-denoiser" + re.sub(rf"^{PROGRAM}", "", command)


def fault(written: Written) -> str | None:
    """What somebody would be told who types it, but for data that are not there."""
    try:
        first, *more = written.words
    except ValueError as error:
        return f"no command line: {error}"
    if (written.is_pattern or not more) and not first.startswith("-"):
        commands = next(action.choices for action in parser()._actions if action.choices)
        return None if first in commands else f"there is no command {first}"
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            options = parser().parse_args(written.words)
    except SystemExit as ended:
        return said.getvalue().strip() if ended.code else None
    try:
        check(first, options, written)
    except InputError as error:
        return str(error)
    return None


def check(command: str, options: argparse.Namespace, written: Written) -> None:
    """Raises `InputError` where what is asked for makes no sense."""
    if command in SPECS:
        SPECS[command](options)
    elif command in ("study", "tune") and options.file and not options.file.startswith("var/"):
        if EARLIER in written.about:
            return
        if command == "study":
            study_file(study_request(options))
        else:
            tune_file(tune_request(options))


@pytest.mark.parametrize("path", [*DOCUMENTS, *STUDIES], ids=lambda path: path.relative_to(PROJECT_ROOT).as_posix())
def test_every_command_that_is_written_down_can_be_typed(path: Path) -> None:
    told = [(f"{path.name}:{written.line}", written.command, fault(written)) for written in written_in(path)]
    assert [wrong for wrong in told if wrong[2] is not None] == []


def test_commands_are_found_where_they_are_written() -> None:
    """In blocks, in text, in tables and in heads, with what surrounds them taken off."""
    commands = {path: [written.words for written in written_in(path)] for path in (*DOCUMENTS, *STUDIES)}
    assert len(commands[README]) > 10
    assert ["ui", "mlflow"] in commands[README]
    assert ["snapshots", "verify"] in commands[PROJECT_ROOT / "docs" / "data.md"]
    assert sum(map(len, commands.values())) > 100
    assert all(commands[path] for path in STUDIES)
    page = """
`rec-denoiser study
quick` and

| a | `rec-denoiser run --json …`, when the file was another |

```sh
X=1 .venv/bin/rec-denoiser diff A B --json > c.json   # more
.venv/bin/rec-denoiser study 'a b' \\
    --set c=1
```
"""
    found = [(written.line, written.words) for written in _of_page(page)]
    assert sorted(found) == [
        (2, ["study", "quick"]),
        (5, ["run", "--json", "…"]),
        (8, ["diff", "A", "B", "--json"]),
        (9, ["study", "a b", "--set", "c=1"]),
    ]
    assert [EARLIER in written.about for written in _of_page(page)].count(True) == 1
    head = "# Why?\n#\n#   rec-denoiser study a --set b=1\n#       --set c=2    which is more\nname: rec-denoiser\n"
    (written,) = _of_head(head)
    assert (written.line, written.words) == (3, ["study", "a", "--set", "b=1", "--set", "c=2"])


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("walk", "there is no command walk"),
        ("run --nosie 1", "there is no option --nosie"),
        ("run --methods sasrec-bce --beta 0.1", "--beta: no method of this run reads it"),
        ("study quik", "did you mean quick"),
        ("study quick --set base.model.widht=3", "widht"),
        ("tune tune-shoppers --set trails=3", "trails"),
        ("run 'log.csv", "no command line"),
    ],
)
def test_a_command_that_cannot_be_typed_is_told(command: str, told: str) -> None:
    assert told in str(fault(Written(1, f"rec-denoiser {command}")))


def test_the_tables_of_readme_are_the_figures_that_are_kept() -> None:
    text = README.read_text(encoding="utf-8")
    compared = set()
    for table in re.finditer(r"^\| *Method *\| *Noise *\|.*\n\|[-: |]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        name = re.findall(r"`studies/results/([\w.-]+\.json)`", text[: table.start()])[-1]
        kept = json.loads((PROJECT_ROOT / "studies" / "results" / name).read_text(encoding="utf-8"))["rows"]
        shown = [[cell.strip(" *") for cell in row.strip("|").split("|")] for row in table[1].splitlines()]
        assert shown == [
            [
                row["method"],
                f"{row['ratio']:.0%}",
                *(f"{value:.4f}" for value in row["means"].values()),
                f"{row['retention']:.1%}",
            ]
            for row in kept
        ]
        compared.add(name)
    assert "shoppers.json" in compared


def test_the_metrics_in_tables_are_the_figures_that_are_kept() -> None:
    """A row's metrics are the means over seeds of a method at a place: of one study, or of those together that the
    table or the text over it names, or of one by the same seeds as theirs. What names a method has that one's, and a
    figure that stands alone is of a study that is named.
    """
    studies = {path.name: cells_of(path) for path in sorted(RESULTS.glob("*.json"))}
    kept = {name: kept_means(cells) for name, cells in studies.items()}
    methods = {method for means in kept.values() for method, _ in means}
    unknown, known = [], 0
    for table in (table for path in DOCUMENTS for table in tables_in(path)):
        files = [name for name in table.files if name in studies]
        named = [cell for name in files for cell in studies[name]]
        seeds = {cell["seed"] for cell in named}
        by_their_seeds = ([cell for cell in cells if cell["seed"] in seeds] for cells in studies.values())
        alone = [kept[name] for name in files]
        possible = [*kept.values(), kept_means(named), *map(kept_means, by_their_seeds)]
        for name, figures in figures_of(table, methods):
            known += 1
            if not any(bear(means, name, figures) for means in (possible if len(figures) > 1 else alone)):
                unknown.append((table.where, name, figures))
    assert unknown == []
    assert known > 300


def test_the_tables_of_how_noise_is_told_are_the_figures_that_are_kept() -> None:
    compared = 0
    for table in tables_in(PROJECT_ROOT / "docs" / "noise.md"):
        if "estimated share" in table.head:
            shown = [[name.partition(" (")[0], *figures] for name, *figures in map(cells_in, table.rows)]
            assert shown in [told_in(RESULTS / name) for name in table.files], table.where
            compared += len(shown)
    assert compared == 18


def told_in(path: Path) -> list[list[str]]:
    """A row for each case of a benchmark of noise models, as tables write it."""

    def row(case: dict[str, Any]) -> list[str]:
        shares = {name: f"{100 * case[name]:.1f} %" for name in ("share", "estimated_share", "flagged")}
        name = f"{case['kind']} {case['ratio']:.0%}".replace("%", " %") if case["ratio"] else "none"
        area, flags = "–", "–"
        if case["ratio"]:
            value, low, high = (f"{case[name]:.3f}".removeprefix("0") for name in ("auroc", "low", "high"))
            area = f"{value} ({low} to {high})"
            flags = ", ".join(f"{case[name]:.2f}".removeprefix("0") for name in ("precision", "recall"))
        return [name, shares["share"], shares["estimated_share"], area, shares["flagged"], flags]

    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [row(case) for case in cases if case["noise_model"] == "co-occurrence"]


@dataclass(frozen=True)
class Table:
    """A table as a document has it. files: those of results that it and the text over it name."""

    where: str
    files: tuple[str, ...]
    head: list[str]
    rows: list[str]


def tables_in(path: Path) -> Iterator[Table]:
    text, end = path.read_text(encoding="utf-8"), 0
    for table in re.finditer(r"^\|(.*)\|\n\|[-: |]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        over = re.split(r"^#+ .*$", text[end : table.start()], flags=re.MULTILINE)[-1]
        end = table.end()
        files = dict.fromkeys(re.findall(r"`([\w.-]+\.json)`", over + table[0]))
        where = f"{path.name}:{text.count(chr(10), 0, table.start()) + 1}"
        yield Table(where, tuple(files), cells_in(table[1]), table[2].splitlines())


def cells_in(row: str) -> list[str]:
    return [cell.strip(" *") for cell in row.strip("|").split("|")]


def figures_of(table: Table, methods: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """What names a method and its metrics: each row, and where a metric comes twice, the second begins another place;
    a row of others' figures lacks one, or says whose it is. Under a method's name stand NDCG@10 in full ranking and,
    after a dot, among 100.
    """
    places: list[dict[str, int]] = []
    for column, heading in enumerate(table.head):
        name = heading.rpartition(": ")[2].removesuffix(" full")
        if name in KEPT:
            if not places or name in places[-1]:
                places.append({})
            places[-1][name] = column
    for row in table.rows:
        cells = cells_in(row)
        assert len(cells) == len(table.head), (table.where, row)
        for place in places:
            figures = {name: cells[column].removeprefix("0") for name, column in place.items()}
            if len(figures) > 1 and all(re.fullmatch(r"\.\d{4}", figure) for figure in figures.values()):
                yield row, figures
        for heading, cell in zip(table.head, cells, strict=True):
            if heading in methods:
                yield heading, dict(zip(("NDCG@10", "NDCG@10 s100"), re.findall(r"\.\d{4}", cell), strict=False))


def cells_of(path: Path) -> list[dict[str, Any]]:
    """The cells of a study's or a job's result, none of another's."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in told.get("cells", ()) if set(KEPT.values()) <= set(cell.get("metrics", ()))]


Means = list[tuple[str, dict[str, str]]]


def kept_means(cells: Iterable[dict[str, Any]]) -> Means:
    """The metrics `KEPT` of each method at each place, as tables write them; seeds and draws of noise are no places."""
    alike: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        noise = {f"noise.{name}": value for name, value in (cell.get("noise") or {}).items()}
        place = {**cell.get("axes", {}), **noise, **{name: cell[name] for name in cell if name.startswith("noise_")}}
        told = sorted((name, repr(place[name])) for name in place if name != "method" and not name.endswith("seed"))
        alike.setdefault(repr((cell["method"], told)), []).append(cell)
    return [
        (
            seeds[0]["method"],
            {
                name: f"{fmean(cell['metrics'][metric] for cell in seeds):.4f}".removeprefix("0")
                for name, metric in KEPT.items()
            },
        )
        for seeds in alike.values()
    ]


def bear(means: Means, name: str, figures: dict[str, str]) -> bool:
    """Whether they hold figures, of the method that what names them names, if any; plain words may be no names."""
    words = set(re.findall(r"[\w-]+", name))
    named = {method for method, _ in means if "-" in method and method in words}
    return any(figures.items() <= kept.items() and (not named or method in named) for method, kept in means)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_needs_as_much_as_its_head_says(path: Path) -> None:
    head = path.read_text(encoding="utf-8").partition("\nname:")[0]
    said = re.search(r"\b(?:needs|All) ([\d,]+) (?:cells|trainings)\b", " ".join(head.replace("#", " ").split()))
    assert said, "“It needs N cells”, or trainings"
    written = next(written for written in written_in(path) if "--set" not in written.words)
    options = parser().parse_args(written.words)
    if path in shipped():
        needed = len(study_file(study_request(options)).cells)
    else:
        tuning = tune_file(tune_request(options))
        needed = len(tuning.methods) * tuning.spec.trials * len(tuning.spec.seeds)
    assert int(said[1].replace(",", "")) == needed
