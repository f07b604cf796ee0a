"""Why a model offers what it offers: influences by asking again, attention before and after the gate, on a page."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from models.config import COUNT_BASED, WITHOUT_ATTENTION
from models.denoising.noise_aware import NoiseAware
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.networks.pooled import Pooled
from tasks.errors import InputError
from tasks.explain import Offer, explain, held_in_registry, history_given, history_of
from tasks.home import Home
from tasks.offerable import EVERYTHING, resolved
from tasks.recommend import load_registered, offerable_by, recommend_one
from tasks.reporting.explanation import carriers, gate_words, write_explanation
from tasks.reporting.scales import signless
from tasks.specs import RecommendSpec
from tests.tasks.conftest import Shop
from tests.tasks.explanations import ITEMS, held
from tests.tasks.reading import content_of, rows_of, words_of


def test_an_influence_is_what_the_score_loses_without_the_event(shop: Shop, mlflow_home: Home) -> None:
    own = held_in_registry(shop.registered.name, home=mlflow_home)
    events = history_of("u7", own, home=mlflow_home)
    items = [event.item for event in events]
    spelt = "{:03}" if own.server.ids[0] == "000" or isinstance(own.server.ids[0], str) else "{}"
    assert items == [spelt.format((7 * 3 + event * 5) % 20) for event in range(8)]
    assert [event.is_trained for event in events] == [True] * 6 + [False] * 2

    told = explain(own, events, user="u7", k=4)
    pyfunc = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    answer = recommend_one(pyfunc, tuple(items), k=4, exclude_seen=True)
    assert [offer.item for offer in told.offers] == [str(item) for item in answer["items"]]
    assert [offer.score for offer in told.offers] == pytest.approx(answer["scores"], abs=1e-6)

    def scores(history: list[str]) -> dict[str, float]:
        again = recommend_one(pyfunc, tuple(history), k=20, exclude_seen=False)
        return dict(zip(map(str, again["items"]), again["scores"], strict=True))

    assert [event.place for event in told.events] == [None, None, 1, 2, 3, 4, 5, 6]
    whole = scores(items)
    for place, event in enumerate(range(2, 8)):
        without = scores(items[:event] + items[event + 1 :])
        for offer in told.offers:
            assert offer.influences[place] == pytest.approx(whole[offer.item] - without[offer.item], abs=1e-5)


def test_under_lists_what_is_recommended_is_explained_and_scores_are_the_same(shop: Shop, mlflow_home: Home) -> None:
    own = held_in_registry(shop.registered.name, home=mlflow_home)
    events = history_of("u7", own, home=mlflow_home)
    free = explain(own, events, user="u7", k=20)
    ranked = [offer.item for offer in free.offers]
    spec = RecommendSpec(only=tuple(ranked[1:6]), exclude=(ranked[2],))
    loaded = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    answer = recommend_one(
        loaded.model,
        tuple(event.item for event in events),
        k=3,
        exclude_seen=True,
        offerable=offerable_by(loaded, spec),
    )
    told = explain(own, events, user="u7", k=3, offerable=resolved(spec, own.server.ids))
    assert [offer.item for offer in told.offers] == [str(item) for item in answer["items"]] == [ranked[1], *ranked[3:5]]
    assert told.offers == (free.offers[1], *free.offers[3:5]), "scores and influences know nothing of lists"
    assert (told.may_be_offered, free.may_be_offered) == (4, None)
    assert told.to_dict()["may_be_offered"] == 4


def test_a_page_says_how_many_items_lists_leave(tmp_path: Path) -> None:
    lists = resolved(RecommendSpec(only=tuple(ITEMS[:6]), exclude=(ITEMS[5],)), ITEMS)
    for offerable, history, told in (
        (lists, ITEMS[:3], "5 items may be offered"),
        (lists, ITEMS[:6], "The history holds every item that may be offered, so nothing is."),
        (EVERYTHING, ITEMS[:3], None),
    ):
        found = explain(held(), history_given(history), user=None, k=9, offerable=offerable)
        assert {offer.item for offer in found.offers} <= set(ITEMS[3:5] if offerable is lists else ITEMS[3:])
        page = words_of(content_of(write_explanation(found, tmp_path / "why.html")[0]))
        assert told in page if told else "may be offered" not in page


@pytest.mark.parametrize("model", ["absent", "model-string@nobody", "models:/model-string/99"])
def test_a_model_that_is_not_there_is_said_with_those_that_are(shop: Shop, mlflow_home: Home, model: str) -> None:
    with pytest.raises(InputError, match=r"there is no registered model .*registered are: .*model-string"):
        held_in_registry(model, home=mlflow_home)


def test_what_cannot_be_a_name_and_who_is_not_there_are_said(shop: Shop, mlflow_home: Home) -> None:
    with pytest.raises(InputError, match="write NAME, NAME@ALIAS or NAME/VERSION"):
        held_in_registry("a@b@c", home=mlflow_home)
    own = held_in_registry(f"models:/{shop.registered.name}/{shop.registered.version}", home=mlflow_home)
    with pytest.raises(InputError, match="no user 'u77'; the nearest ids are u7"):
        history_of("u77", own, home=mlflow_home)
    with pytest.raises(InputError, match=r"is not in .* any more"):
        history_of("u7", replace(own, snapshot="gone"), home=mlflow_home)


def test_unknown_items_are_passed_over_as_in_serving() -> None:
    own = held()
    told = explain(own, history_given([ITEMS[3], "nothing we sell", ITEMS[8]]), user=None, k=3)
    alone = explain(own, history_given([ITEMS[3], ITEMS[8]]), user=None, k=3)
    assert told.offers == alone.offers
    assert [(event.is_known, event.place) for event in told.events] == [(True, 1), (False, None), (True, 2)]
    cold = explain(own, history_given(["nothing we sell"]), user=None, k=3)
    assert (cold.basis, cold.attended, cold.layers) == ("popularity", None, ())
    assert [(offer.item, offer.influences) for offer in cold.offers] == [(item, ()) for item in ITEMS[:-4:-1]]
    one = explain(own, history_given(ITEMS[:1]), user=None, k=1)
    assert one.offers[0].influences == (None,)
    assert carriers(one.offers[0], one.seen) == "–"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"backbone": "bert4rec", "estimator": "arm"},
        {"gate": "contextual"},
        {"gate": "contextual", "estimator": "hard-concrete"},
        {"gate": "top-k"},
    ],
)
def test_the_page_draws_visible_cells_and_the_numbers_add_up(settings: dict[str, Any], tmp_path: Path) -> None:
    """Of more places than are drawn, the newest; in the files beside the page all."""
    told = explain(held(**settings), history_given(ITEMS[:38]), user=None, k=2)
    page, influence, attention = write_explanation(told, tmp_path / "why.html")
    assert "item <" not in page.read_text(encoding="utf-8"), "ids are escaped"
    charts = content_of(page).findall(".//svg[@role='img']")
    maps = 4 if settings.get("gate") == "top-k" else 2
    assert len(charts) == 1 + maps + 8
    drawn = 30 * 30 if settings.get("backbone") == "bert4rec" else 30 * 31 // 2
    assert {len(list(chart.iter("rect"))) for chart in charts[1:]} == {drawn}

    rows = pd.read_csv(attention)
    assert len(rows) == 4 * (35 * 35 if settings.get("backbone") == "bert4rec" else 35 * 36 // 2)
    totals = rows.groupby(["layer", "head", "query_place"])["before"].sum()
    assert totals.to_numpy() == pytest.approx(1.0, abs=1e-5)
    assert (rows["before"] * rows["mask"] - rows["after"]).abs().max() < 1e-7
    assert rows["keep"].notna().all() == (settings.get("gate") != "top-k")
    for number, layer in enumerate(told.layers, start=1):
        own = rows[rows["layer"] == number]
        assert layer.open_share == pytest.approx(float((own["mask"] != 0).mean()))
    assert 0 < told.layers[0].open_share < 1
    newest = rows[(rows["query_place"] > 5) & (rows["key_place"] > 5)]
    by_head = [part for _, part in newest.groupby(["layer", "head"])]
    gate = "mask" if maps == 4 else "keep"
    expected = [(part, gate, rows[gate].max() if maps == 4 else 1.0) for part in by_head[:: 4 // maps]]
    for part in by_head:
        own = rows[rows["layer"] == part["layer"].iloc[0]]
        expected += [(part, column, own[["before", "after"]].max(axis=None)) for column in ("before", "after")]
    for chart, (part, column, full) in zip(charts[1:], expected, strict=True):
        cells = list(chart.iter("rect"))
        numbers = [float(cell.findtext("title", "").rpartition(": ")[2]) for cell in cells]
        assert numbers == pytest.approx(part[column].tolist(), rel=6e-3)
        shade = part[column] / full
        fullness = (shade if column == gate else shade**0.5).clip(lower=0.02)
        assert [float(cell.get("fill-opacity", "")) for cell in cells] == pytest.approx(fullness.tolist(), abs=6e-3)
        strokes = [stroke for group in chart.iter("g") if group.get("class") == "shut" for stroke in group]
        assert len(strokes) == (0 if column == "before" else (part["mask"] == 0).sum())
    lent = pd.read_csv(influence)
    assert len(lent) == 2 * len(told.seen)
    with influence.open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["offered"] == told.offers[0].item
    assert json.loads(json.dumps(told.to_dict()))["attention"]["places"] == list(told.labels)


def test_the_page_names_what_carries_an_item_and_what_is_looked_at(tmp_path: Path) -> None:
    told = explain(held(), history_given(ITEMS[:38]), user=None, k=2)
    content = content_of(write_explanation(told, tmp_path / "why.html")[0])
    first, names = told.offers[0], told.labels
    question = content.find(".//p[@class='question']")
    assert question is not None
    assert words_of(question) == f"{first.item} comes first. It is carried most by: {strongest(first, names)}."
    assert [(row["Item"], row["Score"], row["Carried by"]) for row in rows_of(content, "offered")] == [
        (offer.item, signless(f"{offer.score:.4f}"), strongest(offer, names)) for offer in told.offers
    ]
    assert told.attended is not None
    looked_at = told.attended.after[:, :, -1].mean((0, 1)).tolist()
    history = [row for row in rows_of(content, "history") if row["Place"] != "–"]
    assert [(row["Item"], row["Influence"], row["Attention"]) for row in history] == [
        (name, signed(value), f"{share:.3f}")
        for name, value, share in zip(names, first.influences, looked_at, strict=True)
    ]


def test_the_pictures_show_influences_by_their_sign_and_where_the_last_place_looks_most(tmp_path: Path) -> None:
    told = explain(held(), history_given(ITEMS[:38]), user=None, k=2)
    influence, *maps = content_of(write_explanation(told, tmp_path / "why.html")[0]).findall(".//svg[@role='img']")
    names = told.labels[-30:]
    lent = [
        (offer.item, name, value)
        for offer in told.offers
        for name, value in zip(names, offer.influences[-30:], strict=True)
    ]
    values = [value for _, _, value in lent]
    assert influence.findtext("desc") == f"2 items by 30 events; from {signed(min(values))} to {signed(max(values))}."
    heading = f"blue: the event lends the item score, orange: it costs score; fullest {max(map(abs, values)):.3g}"
    assert influence.findtext("text[@class='axis']") == heading
    assert [(cell.findtext("title"), cell.get("class")) for cell in influence.iter("rect")] == [
        (f"{item} without {name}: its score loses {signed(value)}", "cell" if value >= 0 else "cell less")
        for item, name, value in lent
    ]
    assert told.attended is not None
    assert told.attended.keep is not None
    before, after = (values.flatten(0, 1) for values in (told.attended.before, told.attended.after))
    shown = [*told.attended.keep[:, 0], *(part for pair in zip(before, after, strict=True) for part in pair)]
    assert [chart.findtext("desc") for chart in maps] == [
        f"30 places. The last row is greatest at {names[row.argmax()]}, {row.max():.3g}."
        for row in (part[-1, -30:] for part in shown)
    ]


def strongest(offer: Offer, names: Sequence[str]) -> str:
    """The three events that lend an item most, each with what it lends; names: of the events."""
    most = sorted(zip(offer.influences, names, strict=True), reverse=True)[:3]
    return ", ".join(f"{name} {signed(value)}" for value, name in most if value > 0)


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def test_an_item_that_no_event_lends_score_is_carried_by_none() -> None:
    told = explain(held(), history_given(ITEMS[:5]), user=None, k=1)
    for influences in ((-0.1,) * 5, (0.0, -0.1, -0.1, -0.1, 0.0)):
        assert carriers(replace(told.offers[0], influences=influences), told.seen) == "none: no event lends it score"


def test_numbers_stay_beside_the_names_that_they_are_of_in_any_script(tmp_path: Path) -> None:
    """A name in Hebrew would pull the number after it to its other side, next to the name before it."""
    told = explain(held(), history_given(ITEMS[:5]), user="a\u202eb", k=2)
    hebrew = replace(told, events=tuple(replace(event, item="שלום") for event in told.events))
    first = strongest(hebrew.offers[0], [f"\u2068שלום\u2069 (place {place})" for place in range(1, 6)])
    assert carriers(hebrew.offers[0], hebrew.seen) == first
    page = write_explanation(hebrew, tmp_path / "why.html")[0].read_text(encoding="utf-8")
    assert f"carried most by: {first}." in page
    assert "What user \u2068a\u202eb\u2069 is offered" in page
    assert "\u2068" not in carriers(told.offers[0], told.seen), "others stay as they are"


@pytest.mark.parametrize("backbone", [*WITHOUT_ATTENTION, "diffrec", *COUNT_BASED])
def test_a_model_without_attention_is_explained_by_influences_alone(backbone: str, tmp_path: Path) -> None:
    own = held(backbone=backbone, gate="none")
    history = ITEMS[:6]
    told = explain(own, history_given(history), user=None, k=2)
    assert (told.attended, told.layers, len(told.offers)) == (None, (), 2)
    numbers = [ITEMS.index(item) + 1 for item in history]
    for offer in told.offers:
        column = ITEMS.index(offer.item)
        for place, influence in enumerate(offer.influences):
            without = [(item, 0, 0) for at, item in enumerate(numbers) if at != place]
            left = float(own.server.scores([without])[0, column])
            assert influence == pytest.approx(offer.score - left, abs=1e-5)
    page, influences = write_explanation(told, tmp_path / "why.html")
    assert influences.name == "why-influence.csv"
    assert "ttention" not in "".join(content_of(page).itertext()).replace("the model’s attention", "")


def test_what_a_noise_model_takes_from_attention_is_told() -> None:
    settings = {"gate": "none", "noise_model": "popularity", "drop_below": 0.0, "attention_power": 1.0}
    told = explain(held(**settings), history_given(ITEMS[:5]), user=None, k=2)
    assert list(gate_words(told)) == [f"Layer {layer}: 100.0% of the visible cells are open" for layer in (1, 2)]
    assert told.attended is not None
    assert told.attended.mask is not None


def test_a_noise_model_judges_what_it_has_counted_as_where_it_is_evaluated() -> None:
    """A user's training part, one event of which is left out for its influence; a stranger's history has none."""
    own = held(gate="none", noise_model="co-occurrence", drop_below=0.0, attention_power=1.0, length=12)
    items = 1 + torch.randint(len(ITEMS), (300,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    log = Sequences(items, torch.arange(31) * 10, torch.full((30,), 8), len(ITEMS))
    own.server.model.prepare(log)
    batch = windows(log, torch.tensor([4]), torch.tensor([10]), length=12, with_targets=False)
    judged = batch.events(own.server.model.explain(batch)["genuine"]).tolist()
    history = history_given([ITEMS[item - 1] for item in items[40:50]])
    events = [replace(event, is_trained=place < 8) for place, event in enumerate(history)]

    told, strange = (explain(own, each, user=None, k=1) for each in (events, history))
    assert [event.keep for event in told.events] == pytest.approx(judged, abs=1e-6)
    assert max(abs(event.keep - keep) for event, keep in zip(strange.events, judged, strict=True)) > 0.01
    without = explain(own, events[:2] + events[3:], user=None, k=len(ITEMS))
    (left,) = (offer.score for offer in without.offers if offer.item == told.offers[0].item)
    assert told.offers[0].influences[2] == pytest.approx(told.offers[0].score - left, abs=1e-5)


def test_what_a_noise_model_leaves_out_has_no_place_and_no_part(tmp_path: Path) -> None:
    """Every third item is taken for noise: the places are those of what is left, attention's as the influences'."""
    own = held(gate="none", noise_model="popularity", drop_below=0.5, spare=2, length=4)
    model = own.server.model
    assert isinstance(model, NoiseAware)
    assert model.noise is not None
    model.noise.keep = lambda batch: torch.where(batch.items % 3 == 0, 0.25, 0.75)  # type: ignore[method-assign]
    told = explain(own, history_given(ITEMS[:9]), user=None, k=2)
    assert [event.place for event in told.events] == [None, None, None, 1, 2, None, 3, 4, None]
    assert [event.keep for event in told.events] == [None, None, None, 0.75, 0.75, 0.25, 0.75, 0.75, 0.25]
    assert told.labels == tuple(ITEMS[number] for number in (3, 4, 6, 7))
    left = explain(own, history_given([ITEMS[number] for number in (3, 4, 6, 7)]), user=None, k=2)
    assert [offer.score for offer in told.offers] == pytest.approx([offer.score for offer in left.offers], abs=1e-6)
    assert len(told.offers[0].influences) == 4
    assert told.attended is not None
    assert told.attended.before.shape == (2, 2, 4, 4)
    page, *_ = write_explanation(told, tmp_path / "why.html")
    assert "likelier noise is left out" in page.read_text(encoding="utf-8")


def test_neighbours_beside_a_network_look_at_what_its_noise_model_leaves_out(tmp_path: Path) -> None:
    settings = {"gate": "none", "noise_model": "popularity", "drop_below": 0.5, "spare": 2, "length": 4}
    own = held(**settings, neighbour_weight=0.5)
    model = own.server.model
    assert isinstance(model, Pooled)
    assert isinstance(model.network, NoiseAware)
    assert model.network.noise is not None
    items = 1 + torch.randint(len(ITEMS), (300,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    model.prepare(Sequences(items, torch.arange(31) * 10, torch.full((30,), 8), len(ITEMS)))
    own.server.hold(model, ids=ITEMS, popularity=[0] * len(ITEMS))
    model.network.noise.keep = lambda batch: torch.where(batch.items % 3 == 0, 0.25, 0.75)  # type: ignore[method-assign]
    told = explain(own, history_given(ITEMS[:9]), user=None, k=5)
    assert [event.place for event in told.events] == [None, None, None, 1, 2, 3, 4, 5, 6]
    assert told.labels == tuple(ITEMS[number] for number in (3, 4, 6, 7))
    assert [event.attention_place for event in told.events] == [None, None, None, 1, 2, None, 3, 4, None]
    left_out = [event.place - 1 for event in told.events if event.place and event.keep == 0.25]
    assert any(offer.influences[place] for offer in told.offers for place in left_out)
    assert "nearest neighbours weigh 0.5" in told.parts
    assert list(gate_words(told))[1].startswith("It is the network's alone")
    page, *_ = write_explanation(told, tmp_path / "why.html")
    text = page.read_text(encoding="utf-8")
    assert "nearest neighbours weigh 0.5" in text
    assert "left out of what the network reads, and not of what neighbours do" in text


def test_without_a_gate_there_is_nothing_to_tell_of_one(tmp_path: Path) -> None:
    told = explain(held(gate="none"), history_given(ITEMS[:5]), user=None, k=2)
    assert list(gate_words(told)) == ["The model has no gate: attention is what it is."]
    page, _, attention = write_explanation(told, tmp_path / "why.html")
    text = page.read_text(encoding="utf-8")
    assert "before the gate" not in text
    assert 'id="gate"' not in text
    rows = pd.read_csv(attention)
    assert rows["mask"].isna().all()
    assert (rows["before"] == rows["after"]).all()
