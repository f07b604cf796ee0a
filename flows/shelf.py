"""`rec-denoiser snapshots`: what lies in the state folder, in words."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tasks.dotted import flat
from tasks.errors import InputError
from tasks.home import Home
from tasks.leases import lease
from tasks.reporting.columns import columns
from tasks.shelf.diff import Changed, Difference, OnlyInOne, diff, lineage, made_by
from tasks.shelf.entries import Entry, faults, find, indented, opened, read_shelf, standing_on
from tasks.shelf.forget import Forgotten, Remains, forget, holders, ids_in, remains
from tasks.shelf.references import References, last_references
from tasks.shelf.removal import Removal, carry_out, plan_named, plan_unused
from tasks.snapshots import Snapshot, snapshot_name
from tasks.sources.shelved import address_of
from tasks.wording import counted, on_one_line

DAMAGED = 1
HEADINGS = ("SNAPSHOT", "MADE (UTC)", "FROM", "ROWS", "USERS", "ITEMS", "SPLIT", "NOISE", "SIZE", "USED BY")
RIGHT = frozenset({"ROWS", "USERS", "ITEMS", "SIZE"})
LISTED = 5
"""How many runs, models or files are named before the rest are counted."""


def run_snapshots(options: argparse.Namespace) -> int:
    """One action; exit status. Raises `InputError` where it cannot be done."""
    home = Home.from_environment()
    if options.forget_user is not None:
        if options.action is not None:
            raise InputError("--forget-user stands alone: name the snapshot with `forget NAME --user ID`")
        return _forget(_holder(options.forget_user, home), options.forget_user, home)
    match options.action:
        case "show":
            return _show(options.name, home, as_json=options.json)
        case "verify":
            return _verify(options.names, home)
        case "diff":
            return _diff(options.a, options.b, home)
        case "remove":
            return _remove(options, home)
        case "forget":
            return _forget(opened(find(options.name, read_shelf(home))), options.user, home)
    return _list(home)


# --- list and show ----------------------------------------------------------------------------------------


def _list(home: Home) -> int:
    entries = read_shelf(home)
    if not entries:
        print(_none_in(home))
        return 0
    used, unknown = _references_or_why_not(entries, home)
    by_name = {entry.name: entry.snapshot for entry in entries}
    rows = [
        _row(depth, entry, used.get(entry.name), parent=by_name.get(entry.parent or ""))
        for depth, entry in indented(entries)
        if entry.snapshot
    ]
    if rows:
        print(columns(HEADINGS, rows, right=RIGHT))
    for entry in entries:
        if entry.snapshot is None:
            print(f"{'Foreign' if entry.is_foreign else 'Not readable'}: {entry.fault}")
    if unknown:
        print(f"Who uses them is not known: {unknown}")
    return 0


def _row(depth: int, entry: Entry, used: References | None, *, parent: Snapshot | None) -> tuple[str, ...]:
    snapshot = opened(entry)
    counts = snapshot.counts
    return (
        "  " * depth + entry.name,
        f"{entry.made:%Y-%m-%d %H:%M}",
        ", ".join(source.name for source in snapshot.manifest.sources),
        f"{counts.interactions:,}",
        f"{counts.users:,}",
        f"{counts.items:,}",
        _split(snapshot),
        made_by(snapshot, parent) or "–",
        _size(entry.bytes),
        "?" if used is None else _used_by(used),
    )


def _show(name: str, home: Home, *, as_json: bool) -> int:
    entries = read_shelf(home)
    entry = find(name, entries)
    snapshot = opened(entry)
    made_of_it = standing_on(entry.name, entries)
    used, unknown = _references_or_why_not([entry], home)
    docs = home.docs / entry.name / "index.html"
    found = used.get(entry.name)
    if as_json:
        content = {
            "path": str(entry.path),
            "made": entry.made.isoformat(timespec="seconds"),
            "bytes": entry.bytes,
            "docs": str(docs) if docs.exists() else None,
            "manifest": snapshot.manifest.model_dump(mode="json"),
            "noisy": [other.name for other in made_of_it],
            "references": None if found is None else asdict(found),
        }
        print(json.dumps(content, indent=1, ensure_ascii=False, default=str))
        return 0
    manifest = snapshot.manifest
    facts = {
        "Snapshot": f"{entry.name}   ({entry.path})",
        "Digest": manifest.digest,
        "Made": f"{entry.made:%Y-%m-%d %H:%M} UTC, snapshot format {manifest.schema_version}, {_size(entry.bytes)}",
        "Lineage": _ancestry(snapshot, entries),
        "Made of it": "; ".join(map(_made, made_of_it)) or "none",
        "Rows": f"{counted(snapshot.counts.interactions, 'interaction')} · {counted(snapshot.counts.users, 'user')} · "
        f"{counted(snapshot.counts.items, 'item')}",
        "Counts": ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in snapshot.counts),
        "Ids": f"users {manifest.user_id_type}, items {manifest.item_id_type}",
        "Times": "yes" if manifest.has_times else "none: the order of the log counts",
        "Noise": "labelled" if manifest.labelled else "not labelled",
        "Data Docs": str(docs) if docs.exists() else "none: they are written when a flow checks the snapshot",
    }
    if manifest.realised_ratio is not None:
        facts["Realised"] = f"{manifest.realised_ratio:.4%} of the positions open to noise"
    if manifest.changes is not None:
        facts["Changes"] = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in manifest.changes if count)
    print("\n".join(f"{title:<11} {text}" for title, text in facts.items()))
    _print_list("Sources", [f"{file.name}   {_size(file.bytes)}   {file.sha256}" for file in manifest.sources])
    _print_list("Spec", [f"{field} = {_value(value)}" for field, value in flat(manifest.spec)])
    _print_list("Files", [f"{file}   {checksum}" for file, checksum in sorted(manifest.files.items())])
    if found is None:
        print(f"Who refers to it is not known: {unknown}")
    else:
        _print_references(found)
    return 0


def _ancestry(snapshot: Snapshot, entries: Sequence[Entry]) -> str:
    """What the snapshot was made from, back to the log."""
    by_name = {entry.name: entry for entry in entries}
    text, current = [], snapshot
    while current.manifest.parent is not None:
        parent = snapshot_name(current.manifest.parent)
        known = by_name[parent].snapshot if parent in by_name else None
        text.append(f"{parent}{'' if known else ' (not here any more)'} {made_by(current, known)}")
        if known is None:
            break
        current = known
    return " ← ".join(text) or "made from its sources"


def _print_references(found: References) -> None:
    _print_list("Models", _models(found), few=LISTED)
    _print_list("Runs", _runs(found), few=LISTED)
    _print_list("Scored users", [str(path) for path in found.scored], few=LISTED)
    if not found:
        print("Nothing refers to it: no run, no model, no scored users.")


# --- verify and diff --------------------------------------------------------------------------------------


def _verify(names: Sequence[str], home: Home) -> int:
    entries = read_shelf(home)
    chosen = [find(name, entries) for name in names] or list(entries)
    status = 0
    for entry in chosen:
        found = faults(entry)
        for fault in found:
            print(fault)
        if found:
            status = DAMAGED
        else:
            print(f"{entry.name} is whole: every byte, and what the tables say")
    if not chosen:
        print(f"There are no snapshots in {home.snapshots}.")
    return status


def _diff(name_a: str, name_b: str, home: Home) -> int:
    entries = read_shelf(home)
    a, b = opened(find(name_a, entries)), opened(find(name_b, entries))
    print(f"A is {a.name}, B is {b.name}. {lineage(a, b)}")
    if a.digest == b.digest:
        return 0
    with lease(home=home):
        found = diff(a, b, home=home)
    _print_list("Asked for differently", [f"{field}: {_arrow(values)}" for field, values in found.spec.items()])
    _print_list("Rows", [f"{table.replace('_', ' ')}: {_arrow(pair)}" for table, pair in found.counts.items()])
    for title, only in (("Users", found.users), ("Items", found.items)):
        _print_list(title, list(_only(only)) or ["the same"])
    _print_list("Events", list(_events(found)) or ["the same"])
    _print_list("Targets", list(_targets(found)))
    _print_list("Noise labels", [f"{kind}: {_arrow(pair)}" for kind, pair in found.labels.items()] or ["none"])
    return 0


def _only(only: OnlyInOne) -> Iterator[str]:
    for side, count, first in (("A", only.only_a, only.first_a), ("B", only.only_b, only.first_b)):
        if count:
            more = ", …" if count > len(first) else ""
            yield f"only in {side}: {count:,} ({', '.join(first)}{more})"


def _events(found: Difference) -> Iterator[str]:
    for change, changed in found.changes.items():
        yield f"{change}: {counted(changed.events, 'event')} of {counted(changed.users, 'user')}"
        yield from (f"  {line}" for line in _examples(changed))


def _examples(changed: Changed) -> Iterator[str]:
    for example in changed.first:
        sides = ((example.item_a, example.noise_a), (example.item_b, example.noise_b))
        held = [(item, noise or "unlabelled") for item, noise in sides if item is not None]
        items, labels = (list(dict.fromkeys(told)) for told in zip(*held, strict=True))
        # What is in one snapshot alone has a label there or none; of what is in both, the same is not told twice.
        is_told = labels != ["unlabelled"] if len(held) == 1 else len(labels) == 2
        noise = f" ({' → '.join(labels)})" if is_told else ""
        yield f"user {example.user}, position {example.position}: {' → '.join(items)}{noise}"
    if changed.events > len(changed.first):
        yield "…"


def _targets(found: Difference) -> Iterator[str]:
    targets = found.targets
    yield f"{targets.in_both:,} in both"
    for text, count in (
        ("only in A", targets.only_a),
        ("only in B", targets.only_b),
        ("with a longer history in B", targets.longer),
        ("with a shorter history in B", targets.shorter),
        ("with another number in B", targets.renumbered),
    ):
        if count:
            yield f"{count:,} {text}"


# --- remove and forget ------------------------------------------------------------------------------------


def _remove(options: argparse.Namespace, home: Home) -> int:
    def plan() -> Removal:
        return plan_unused(home=home) if options.unused else plan_named(options.names, home=home)

    removal = plan()
    if not removal.entries:
        print("Every snapshot is in use: there is nothing to remove." if read_shelf(home) else _none_in(home))
        return 0
    if removal.objections and not options.force:
        raise InputError("; ".join(removal.objections) + ": --force removes all the same")
    for entry in removal.entries:
        print(f"{entry.name}   {_size(entry.bytes)}   {_sources(entry)}")
    for path in removal.derived:
        print(f"  derived: {path}")
    for objection in removal.objections:
        print(f"  in spite of this: {objection}")
    what = f"{counted(len(removal.entries), 'snapshot')}, {_size(removal.bytes)}"
    if not options.yes and not _agreed(f"Remove {what}?"):
        print("Nothing was removed.")
        return 0
    carry_out(removal, plan=plan, home=home)
    print(f"Removed {what}.")
    return 0


def _agreed(question: str) -> bool:
    """Does the person at the terminal say yes? Raises `InputError` where there is no terminal."""
    if not sys.stdin.isatty():
        raise InputError("nothing was removed, for there is no terminal to ask at: --yes answers beforehand")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def _holder(text: str, home: Home) -> Snapshot:
    """The only clean snapshot with a user whom `text` names. Raises `InputError` where there is none or several."""
    found = holders(text, home=home)
    if not found:
        raise InputError(f"no clean snapshot has a user {text!r}: ids are compared letter by letter")
    if len(found) > 1:
        names = ", ".join(f"{snapshot.name} ({_files(snapshot)})" for snapshot in found)
        raise InputError(f"several snapshots have such a user: name one with `forget NAME --user ID`: {names}")
    return found[0]


def _forget(snapshot: Snapshot, text: str, home: Home) -> int:
    ids = ids_in(text, snapshot)
    with lease(home=home):
        done = forget(snapshot, ids, home=home)
        _print_forgotten(done)
        _print_remains(done, remains(snapshot, ids, home=home))
    return 0


def _print_forgotten(done: Forgotten) -> None:
    old, new = done.old.counts, done.new.counts
    print(f"Snapshot {done.new.path}")
    print(f"  is {done.old.name} without {counted(done.users, 'user')}, their {_rows(old, new)}")
    print("  The k-core was not applied again; the other users' targets and training parts are what they were.")


def _rows(old: Any, new: Any) -> str:
    targets = sum(value for name, value in old if name.startswith("targets_"))
    left = sum(value for name, value in new if name.startswith("targets_"))
    return (
        f"{counted(old.interactions - new.interactions, 'event')}, {counted(targets - left, 'target')} and "
        f"{counted(old.items - new.items, 'item')} that nobody else had"
    )


def _print_remains(done: Forgotten, left: Remains) -> None:
    """Say what has to be done for the person to be gone everywhere."""
    print("\nStill with them:")
    _print_list("Snapshots", [done.old.name, *map(_made, left.made_of_it)])
    others = [f"{other.name} ({_files(other)})" for other in left.others]
    _print_list("Snapshots of the same files, made another way: forget there too", others)
    _print_list("Source files: take the rows out, or the next ingest brings them back", _sources_of(done.old))
    _print_list("Scored users: delete the files, or score again", [str(path) for path in left.scored])
    _print_list("Audits: delete the folders, or audit again", [str(path) for path in left.audits])
    shown = "Data Docs of logs that show such an id, as does what Prefect keeps of these checks: delete the folders"
    _print_list(shown, [str(path) for path in left.docs])
    if left.used is None:
        print(f"Models and runs: not known, for {left.unknown}")
    else:
        _print_list("Models: train again on a log without them", _models(left.used))
        runs = "MLflow runs: train again, and delete these, whose files stay until `mlflow gc` takes them"
        _print_list(runs, _runs(left.used))
    _print_list("What these runs trained and ranked: delete the folders", [str(path) for path in left.kept])
    print("\nThis trains without them:")
    for dataset in _datasets(left) or [""]:
        named = f" --dataset {dataset}" if dataset else ""
        print(f"  rec-denoiser run --source {address_of(done.new)}{named}")
    print("\nWhen that is done, this removes the snapshots, with what was derived from them:")
    forced = " --force" if left.used is None or left.used or left.scored else ""
    names = [done.old.name, *(entry.name for entry in left.made_of_it)]
    print(f"  rec-denoiser snapshots remove {' '.join(names)}{forced}")


def _datasets(left: Remains) -> list[str]:
    """The data sets under which the forgotten were trained on. (A job on several names all of them at once.)"""
    named = (run.dataset for run in left.used.runs) if left.used else ()
    return list(dict.fromkeys(name for name in named if name and "," not in name))


# --- words ------------------------------------------------------------------------------------------------


def _none_in(home: Home) -> str:
    return f"There are no snapshots in {home.snapshots}: `rec-denoiser ingest` makes one."


def _references_or_why_not(entries: Sequence[Entry], home: Home) -> tuple[Mapping[str, References], str | None]:
    """What refers to the entries; nothing and the reason where that cannot be read."""
    try:
        return last_references([entry.name for entry in entries], home=home), None
    except InputError as error:
        return {}, str(error)


def _models(found: References) -> list[str]:
    return [
        f"{model.name} version {model.version}" + (f" ({', '.join(model.aliases)})" if model.aliases else "")
        for model in found.models
    ]


def _runs(found: References) -> list[str]:
    return [f"{run.run_id}   {run.dataset}: {run.name} ({run.status.lower()})" for run in found.runs]


def _used_by(used: References) -> str:
    parts = [
        counted(len(found), word)
        for found, word in ((used.runs, "run"), (used.models, "model"), (used.scored, "scoring"))
        if found
    ]
    return ", ".join(parts) or "–"


def _split(snapshot: Snapshot) -> str:
    split = snapshot.manifest.spec.get("prepare", {}).get("split", "?")
    return str(split.get("kind", "?") if isinstance(split, Mapping) else split)


def _sources(entry: Entry) -> str:
    return _files(entry.snapshot) if entry.snapshot else "not readable"


def _made(entry: Entry) -> str:
    """A snapshot that stands on another, and what was done: "b8f1… with 20 % replace (seed 0)"."""
    return f"{entry.name} {made_by(opened(entry), None)}"


def _files(snapshot: Snapshot) -> str:
    return ", ".join(file.name for file in snapshot.manifest.sources)


def _sources_of(snapshot: Snapshot) -> list[str]:
    return [f"{file.name} ({_size(file.bytes)}, SHA-256 {file.sha256[:16]}…)" for file in snapshot.manifest.sources]


def _arrow(values: tuple[Any, Any]) -> str:
    a, b = values
    return f"{_value(a)} → {_value(b)}" if a != b else _value(a)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _print_list(title: str, lines: Sequence[str], *, few: int | None = None) -> None:
    """A title and what stands under it; nothing where there is nothing."""
    if not lines:
        return
    print(f"{title}:")
    for line in lines[:few]:
        print(f"  {on_one_line(line)}")
    if few is not None and len(lines) > few:
        print(f"  … and {len(lines) - few:,} more")
