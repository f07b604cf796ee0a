"""`rec-denoiser explain`: what an answer rests on, in words, as a page and as numbers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.running import refuse_unwritable
from tasks.explain import Event, Explanation, Held, explain, held_in_registry, held_in_run, history_given, history_of
from tasks.home import Home
from tasks.offerable import resolved
from tasks.reporting.columns import columns
from tasks.reporting.explanation import carriers, gate_words, influence_note, lists_words, write_explanation
from tasks.specs import OfferableSpec, RecommendSpec, registered_name
from tasks.wording import counted, on_one_line

EVENTS = 30
"""How many events of a long history the terminal shows: the newest."""


def run_explain(
    *,
    model: str | None,
    run: str | None,
    dataset: str | None,
    user: str | None,
    history: Sequence[str] | None,
    k: int,
    lists: OfferableSpec,
    page: str | None,
    json_path: str | None,
) -> int:
    """Explain one answer; exit status."""
    home = Home.from_environment()
    for option, path in (("--out", page), ("--json", json_path)):
        if path is not None:
            refuse_unwritable(Path(path), option=option)
    held = _held(model, run, dataset, home)
    events = history_given(history or ()) if user is None else history_of(user, held, home=home)
    explanation = explain(held, events, user=user, k=k, offerable=resolved(lists, held.server.ids))
    print("\n".join(_told(explanation)))
    if page is not None:
        for written in write_explanation(explanation, Path(page)):
            print(f"Written: {written}")
    if json_path is not None:
        content = json.dumps(explanation.to_dict(), ensure_ascii=False, indent=1)
        Path(json_path).write_text(content + "\n", encoding="utf-8")
        print(f"Written: {json_path}")
    return 0


def _held(model: str | None, run: str | None, dataset: str | None, home: Home) -> Held:
    if run is not None:
        return held_in_run(run, home=home)
    return held_in_registry(model or registered_name(dataset or RecommendSpec().dataset), home=home)


def _told(explanation: Explanation) -> Iterator[str]:
    events, seen = explanation.events, explanation.seen
    whom = "a history" if explanation.user is None else f"user {on_one_line(explanation.user)}"
    yield f"\n{explanation.model}: {', '.join(explanation.parts)}"
    told = [f"{whom} of {counted(len(events), 'event')}, the newest last", _looked_back_at(explanation)]
    yield f"{'; '.join([*told, *lists_words(explanation)])}\n"
    older = len(events) - EVENTS
    if older > 0:
        yield f"… {older:,} older events"
    headings = ("PLACE", "ITEM", "TIME", "LABEL", *(["GENUINE"] if explanation.is_judged else []))
    shown = [_event(event)[: len(headings)] for event in events[-EVENTS:]]
    yield columns(headings, shown, right=("PLACE", "GENUINE"))
    yield ""
    if explanation.basis == "popularity":
        yield "The model knows none of these items: what is popular is offered, and rests on no event."
    if explanation.offers:
        yield columns(
            ("SCORE", "OFFERED", "CARRIED BY"),
            [(f"{offer.score:.4f}", offer.item, carriers(offer, seen)) for offer in explanation.offers],
            right=("SCORE",),
        )
        if note := influence_note(explanation):
            yield f"\n{note}"
    else:
        yield "Nothing is offered: the history holds every item that may be offered."
    yield from explanation.unknown_in_lists
    if explanation.layers:
        yield "\n".join(["", *gate_words(explanation), ""])


def _looked_back_at(explanation: Explanation) -> str:
    seen = len(explanation.seen)
    if not explanation.is_judged:
        return f"the model looks back at the last {seen} it knows"
    left_out = sum(event.keep is not None and event.place is None for event in explanation.events)
    told = f"{left_out} out, likelier noise or older than what fits" if left_out else "none out for noise"
    return f"the model looks back at {seen}, and leaves {told}"


def _event(event: Event) -> tuple[str, ...]:
    label = event.label or "–"
    return (
        "–" if event.place is None else str(event.place),
        event.item,
        event.moment or "–",
        label if event.is_known else "unknown to the model",
        "–" if event.keep is None else f"{event.keep:.2f}",
    )
