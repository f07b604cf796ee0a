"""`rec-denoiser rerun`, `diff` and `register`: what became of runs, in words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

from tasks.home import Home
from tasks.paths import path_named
from tasks.provenance import Changes
from tasks.reporting.columns import columns
from tasks.rundiff import MetricPair, PairedTest, difference
from tasks.runs import SHOWN, HeldRun, read_run
from tasks.specs import RegisterSpec, RerunSpec
from tasks.wording import counted

DIFFERENT = 1
WIDEST = 60
CUTOFF = re.compile(r"_at_(?!10$)")
"""In the names of metrics that the table leaves to JSON."""


def run_rerun(run: str, *, folder: str | None) -> int:
    """Make a run again; 0 where all is identical, else 1."""
    home = Home.from_environment()
    held = read_run(run, home=home)
    from flows.rerun import rerun
    from flows.running import follow

    folder = None if folder is None else str(path_named(folder).resolve())
    outcome = follow(lambda: rerun(RerunSpec(run=held.run_id, folder=folder)))
    print(f"\nRun {held.run_id[:SHOWN]} ({held.name}), made again as {outcome['run'][:SHOWN]}")
    print("\n".join(told_again(outcome)))
    return 0 if outcome["identical"] else DIFFERENT


def told_again(outcome: Mapping[str, Any]) -> Iterator[str]:
    """What came out of a run made again, as lines for a terminal."""
    for warning in outcome["warnings"]:
        yield f"  warning: {warning}"
    if not outcome["warnings"]:
        yield "  with the same code, packages and machine"
    yield columns(("METRIC", "BEFORE", "AGAIN", ""), list(_figures(outcome["figures"])))
    yield _ranks(outcome)
    if unknown := sum(figure["unknown"] is not None for figure in outcome["figures"]):
        yield f"Not compared: {counted(unknown, 'figure')} that one of the two versions does not know."
    if outcome["identical"]:
        yield "Identical to the bit."
        return
    expected = "though data, settings, code and execution record are the same" if outcome["expected_identical"] else ""
    yield f"Not identical{', ' * bool(expected)}{expected}."


def run_register(run: str) -> int:
    """Offer a run's model to the registry; 0."""
    held = read_run(run, home=Home.from_environment())
    from flows.register import register
    from flows.running import follow

    outcome = follow(lambda: register(RegisterSpec(run=held.run_id)))
    print(f"\n{outcome['name']} version {outcome['version']} as {outcome['alias']}: {outcome['label']}")
    print(f"  its NDCG@10 for {outcome['decided_on']} is {outcome['value']:.4f}:")
    print(fill(outcome["told"], 100, initial_indent="  ", subsequent_indent="  "))
    return 0


def run_diff(a: str, b: str, *, as_json: bool) -> int:
    """Say what two runs say differently; 0."""
    home = Home.from_environment()
    first, second = read_run(a, home=home), read_run(b, home=home)
    found = difference(first, second, home=home)
    if as_json:
        content = {"a": _named(first), "b": _named(second), **found.to_dict()}
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return 0
    for side, run in (("A", first), ("B", second)):
        print(f"{side} is {run.run_id[:SHOWN]}: {run.spec.dataset}, {run.name}")
    for title, changes in (
        ("SPEC", found.spec),
        ("DATA", found.data),
        ("CODE", found.code),
        ("PACKAGES", found.packages),
        ("MACHINE", found.machine),
    ):
        print()
        print(columns((title, "A", "B"), list(_changed(changes))) if changes else f"{title}: the same")
    print()
    print(columns(("METRIC", "A", "B", "B − A"), list(_metrics(found.metrics)), right=("A", "B", "B − A")))
    print("(Other cutoffs: --json)\n")
    if found.untested is not None:
        print(f"No paired test: {found.untested}.")
    else:
        print("Paired over users, B against A, p by Holm over the metrics:")
        print("\n".join(f"  {test.metric}: {_verdict(test)}" for test in found.tests))
    return 0


def _figures(figures: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for figure in figures:
        before, after = figure["before"], figure["after"]
        if before == after:
            said = "identical"
        elif figure["unknown"] is not None:
            said = f"not known {figure['unknown']}"
        elif before is None or after is None:
            said = "only in one of them"
        else:
            said = f"differs by {after - before:+.3g}"
        yield figure["name"], _number(before), _number(after), said


def _ranks(outcome: Mapping[str, Any]) -> str:
    differ, targets = outcome["ranks_differ"], outcome["targets"]
    if differ is None:
        return "Ranks: of other targets than the run's"
    return f"Ranks: {'all' if not differ else f'{targets - differ:,} of'} {targets:,} targets have the same"


def _changed(changes: Changes) -> Iterator[tuple[str, str, str]]:
    for name, (a, b) in changes.items():
        yield name, _value(a), _value(b)


def _metrics(pairs: Sequence[MetricPair]) -> Iterator[tuple[str, str, str, str]]:
    for pair in pairs:
        if CUTOFF.search(pair.name):
            continue
        yield pair.name, _number(pair.a), _number(pair.b), _difference(pair)


def _difference(pair: MetricPair) -> str:
    if pair.unknown_to is not None:
        return f"not known to {pair.unknown_to}"
    if pair.difference is None:
        return "only in A" if pair.b is None else "only in B"
    return f"{pair.difference:+.6g}" if pair.difference else "identical"


def _verdict(test: PairedTest) -> str:
    p = ", ".join(
        f"{name} p = {value:.3g}"
        for name, value in (("t", test.t_p), ("Wilcoxon", test.wilcoxon_p))
        if value is not None
    )
    mean = "–" if test.difference is None else f"{test.difference:+.6f}"
    return f"{mean} over {test.users:,} users{f' ({p})' if p else ''}: {test.verdict}"


def _named(run: HeldRun) -> dict[str, str]:
    return {"run": run.run_id, "name": run.name, "dataset": run.spec.dataset}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:g}"


def _value(value: Any) -> str:
    text = "–" if value is None else f"{value:,}" if type(value) is int else str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
