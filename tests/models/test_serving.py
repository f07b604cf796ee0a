"""The registered model's answers: raw ids in, raw ids and scores out."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine import ranking
from models.engine.batches import Batch, history_batches
from models.engine.sequences import Sequences, Targets
from models.recommender import Recommender
from models.serving import Server
from models.storage import save_model
from tests.models.builders import ITEMS, planted_log
from tests.models.test_ranking import Fixed

IDS = {"string": [f"{number:03}" for number in range(1, 31)], "integer": [number * 7 for number in range(1, 31)]}
CONFIG = ModelConfig(dim=8, length=6, gate="positional")


@pytest.fixture
def model() -> Recommender:
    return build(CONFIG, 30, seed=2).eval()


@pytest.fixture(params=["string", "integer"])
def ids(request: pytest.FixtureRequest) -> list[Any]:
    return IDS[request.param]


@pytest.fixture
def server(model: Recommender, ids: list[Any], tmp_path: Path) -> Server:
    """Item n of 30 has popularity 31 - n, so that popularity falls with the number."""
    save_model(model, CONFIG, tmp_path, item_count=30)
    content = {"ids": ids, "popularity": list(range(30, 0, -1))}
    (tmp_path / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
    server = Server()
    server.load(tmp_path)
    return server


def ask(server: Server, *histories: Any, **params: Any) -> list[dict[str, Any]]:
    return server.predict(None, pd.DataFrame({"history": list(histories)}), params).to_dict("records")


def scores_alone(model: Recommender, numbers: list[int]) -> torch.Tensor:
    """[30] scores of one history, as the ranking computes them."""
    log = Sequences(torch.tensor(numbers, dtype=torch.int32), torch.tensor([0, len(numbers)]), torch.tensor([0]), 30)
    targets = Targets(torch.tensor([0]), torch.tensor([1]), torch.tensor([len(numbers)]))
    (batch,) = history_batches(log, targets, length=model.length, sizes=[1])
    with torch.inference_mode():
        return (model.query(batch) @ model.item_table()[1:].T)[0]


def test_scores_are_the_models_own_whoever_else_is_asked_about(
    server: Server, model: Recommender, ids: list[Any]
) -> None:
    histories = [[3], [5, 5, 9], [], list(range(1, 31)), [8, 2] * 40]
    answers = ask(server, *([ids[number - 1] for number in history] for history in histories), k=30, exclude_seen=False)
    for history, answer in zip(histories, answers, strict=True):
        if not history:
            continue
        expected = scores_alone(model, history)
        assert answer["basis"] == "history"
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        by_id = dict(zip(answer["items"], answer["scores"], strict=True))
        assert [by_id[raw] for raw in ids] == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


def test_without_a_known_item_the_popular_ones_are_offered(server: Server, ids: list[Any]) -> None:
    unknown = 1 if isinstance(ids[0], int) else "1"  # "001" is known
    nothing = ([], None, math.nan, pd.NA, [unknown])
    for answers in (ask(server, *nothing, k=3), ask(server, [ids[4]], *nothing, k=3)[1:]):
        for answer in answers:
            assert answer == {"items": ids[:3], "scores": [30.0, 29.0, 28.0], "basis": "popularity"}


def test_unknown_items_are_passed_over(server: Server, ids: list[Any]) -> None:
    unknown = -5 if isinstance(ids[0], int) else "no such item"
    with_it, without = ask(server, [ids[2], unknown, ids[6]], [ids[2], ids[6]])
    assert with_it["items"] == without["items"]
    assert with_it["scores"] == pytest.approx(without["scores"])


@pytest.mark.parametrize("nothing", [None, math.nan, pd.NA])
def test_missing_items_are_passed_over(server: Server, ids: list[Any], nothing: Any) -> None:
    with_it, without = ask(server, [nothing, ids[2], nothing, ids[6]], [ids[2], ids[6]])
    assert with_it == without
    lists = ask(server, ids[:1], only=[*ids[2:5], nothing], exclude=[nothing, ids[3]])
    assert sorted(lists[0]["items"]) == [ids[2], ids[4]]


def test_an_id_of_another_type_is_refused(server: Server, ids: list[Any]) -> None:
    """For it may be meant to be one that the model knows."""
    others = ["7", 7.0, True, ["a"]] if isinstance(ids[0], int) else [7, 7.0, b"001", ["a"]]
    for other in others:
        with pytest.raises(ValueError, match=r"item ids are (text|whole numbers), which .* in the history of row 1 is"):
            ask(server, ids[:1], [ids[1], other])
        for name in ("only", "exclude"):
            with pytest.raises(ValueError, match=f"which .* in `{name}` is not"):
                ask(server, ids[:1], **{name: [ids[0], other]})


def test_what_was_seen_long_ago_is_left_out_too(server: Server, ids: list[Any]) -> None:
    history = ids[:12] * 3  # longer than the model looks back
    (answer,) = ask(server, history, k=30)
    assert sorted(answer["items"]) == sorted(ids[12:])
    assert np.isfinite(answer["scores"]).all()
    (everything,) = ask(server, ids, k=5)
    assert (everything["items"], everything["scores"]) == ([], [])


def test_more_than_the_catalogue_gives_the_catalogue(server: Server, ids: list[Any]) -> None:
    (answer,) = ask(server, ids[:1], k=1000, exclude_seen=False)
    assert sorted(answer["items"]) == sorted(ids)
    assert all(type(raw) is type(ids[0]) for raw in answer["items"])


def chosen_by_hand(
    scores: list[float], ids: list[Any], history: list[int], k: int, *, only: list[Any], exclude: list[Any]
) -> list[Any]:
    """Raw ids of the best unseen items that the lists leave; scores: of item 1 on, history: item numbers."""
    left = []
    for number, raw in enumerate(ids, start=1):
        is_listed = only == [None] or raw in only
        if is_listed and raw not in exclude and number not in history:
            left.append((-scores[number - 1], number, raw))
    return [raw for _, _, raw in sorted(left)[:k]]


@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_lists_say_what_may_be_offered_and_of_equals_the_lower_number_is_first(
    ids: list[Any], levels: int, k: int
) -> None:
    draw = np.random.default_rng(levels + k)
    server, model = Server(), Fixed(30, levels=levels)
    popularity = draw.integers(0, levels, 30).tolist()
    server.hold(model, ids=ids, popularity=popularity)
    unknown = [-3, -4] if isinstance(ids[0], int) else ["no such item", "neither this"]
    some = [unknown + [ids[at] for at in draw.permutation(30)[:size]] for size in (1, 8, 15, 8, 2)]
    histories = [draw.integers(1, 31, draw.integers(0, 12)).tolist() for _ in range(12)] + [list(range(1, 31))]
    asked = [[ids[number - 1] for number in history] for history in histories]
    lengths = set()
    for only, exclude in (([None], []), ([None], some[2]), (some[0], []), (some[1], some[4]), (some[2], some[3])):
        answers = ask(server, *asked, k=k, only=only, exclude=exclude)
        for history, answer in zip(histories, answers, strict=True):
            scores = model.scores[history[-1], 1:].tolist() if history else popularity
            expected = chosen_by_hand(scores, ids, history, k, only=only, exclude=exclude)
            assert answer["items"] == expected
            assert answer["scores"] == [scores[ids.index(raw)] for raw in expected]
            lengths.add(len(expected))
    assert min(lengths) == 0
    assert max(lengths) >= min(k, 20)


def test_what_was_seen_may_be_offered_again_where_it_is_listed(server: Server, ids: list[Any]) -> None:
    (answer,) = ask(server, ids[:3], k=10, exclude_seen=False, only=ids[1:5], exclude=ids[4:6])
    assert sorted(answer["items"]) == sorted(ids[1:4])
    (unseen,) = ask(server, ids[:3], k=10, only=ids[1:5], exclude=ids[4:6])
    assert unseen["items"] == ids[3:4]
    (popular,) = ask(server, [], k=2, exclude=ids[:5])
    assert popular == {"items": ids[5:7], "scores": [25.0, 24.0], "basis": "popularity"}


def test_lists_may_be_arrays(server: Server, ids: list[Any]) -> None:
    asked = {"k": 4, "only": ids[:9], "exclude": ids[7:]}
    as_arrays = {name: np.array(value) if isinstance(value, list) else value for name, value in asked.items()}
    assert ask(server, ids[:2], **as_arrays) == ask(server, ids[:2], **asked)


def test_lists_that_leave_nothing_are_refused(server: Server, ids: list[Any]) -> None:
    """An empty list of what is in stock, say, is no leave to offer everything."""
    unknown = [-3] if isinstance(ids[0], int) else ["no such item"]
    for only, exclude in (([], []), (unknown, []), ([None], ids), (ids[:2], ids[1::-1])):
        with pytest.raises(ValueError, match="`only` and `exclude` leave no item"):
            ask(server, ids[:1], only=only, exclude=exclude)


def test_arrays_and_lists_are_the_same(server: Server, ids: list[Any]) -> None:
    assert ask(server, np.array(ids[:4])) == ask(server, ids[:4])


def test_ten_by_default_and_at_least_one(server: Server, ids: list[Any]) -> None:
    assert len(ask(server, ids[:1])[0]["items"]) == 10
    for wrong in (0, -1, None, 2.5, "3", True):
        with pytest.raises(ValueError, match=f"k must be a whole number and at least 1, not {wrong!r}"):
            ask(server, ids[:1], k=wrong)
    assert len(ask(server, ids[:1], k=np.int64(3))[0]["items"]) == 3


def test_whether_what_was_seen_is_left_out_is_said_or_not_asked(server: Server, ids: list[Any]) -> None:
    for wrong in (None, 0, "no"):
        with pytest.raises(ValueError, match=f"exclude_seen must be true or false, not {wrong!r}"):
            ask(server, ids[:1], exclude_seen=wrong)


def test_many_users_at_once(server: Server, ids: list[Any]) -> None:
    histories = [[ids[number % 30]] for number in range(1100)]
    answers = ask(server, *histories, k=2)
    assert len(answers) == 1100
    assert [answer["items"] for answer in answers[:30]] == [answer["items"] for answer in answers[600:630]]


class Watched(Fixed):
    """Takes down how often a scorer was made, and how many histories were scored at a time."""

    def __init__(self, item_count: int) -> None:
        super().__init__(item_count, levels=1000)
        self.made = 0
        self.asked: list[int] = []

    def scorer(self) -> Callable[[Batch], torch.Tensor]:
        self.made += 1
        score = super().scorer()

        def watched(batch: Batch) -> torch.Tensor:
            self.asked.append(len(batch.ends))
            return score(batch)

        return watched


def test_what_does_not_change_between_requests_is_computed_once() -> None:
    """Nearest neighbours go through their whole log for it."""
    server, model = Server(), Watched(30)
    server.hold(model, ids=IDS["integer"], popularity=[1] * 30)
    for _ in range(3):
        ask(server, IDS["integer"][:2], IDS["integer"][4:6])
    assert (model.made, model.asked) == (1, [2, 2, 2])


def test_fewer_histories_of_a_large_catalogue_are_scored_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their scores take memory in proportion to both."""
    server, model = Server(), Watched(30)
    server.hold(model, ids=IDS["integer"], popularity=[1] * 30)
    histories = [IDS["integer"][number % 30 :][:3] for number in range(21)]
    whole = ask(server, *histories)
    monkeypatch.setattr(ranking, "CELLS_OF_A_BLOCK", 150)
    assert ask(server, *histories) == whole
    assert model.asked == [21, 4, 4, 4, 4, 4, 1]


def test_an_answer_has_the_index_of_its_question(server: Server, ids: list[Any]) -> None:
    users = pd.DataFrame({"history": [[ids[2]], [], [ids[8]]]}, index=["ann", "bob", "eve"])
    some = server.predict(None, users.loc[["eve", "bob"]], {"k": 3})
    assert list(some.index) == ["eve", "bob"]
    assert some.loc["eve", "items"] == server.predict(None, users, {"k": 3}).loc["eve", "items"]
    assert server.predict(None, users.iloc[:0]).empty


def test_what_was_trained_on_scores_as_it_was_evaluated() -> None:
    """With a noise model that takes a user's own sightings off its counts: of users that it counted, and of users held
    out, whose histories look the same.
    """
    log, _ = planted_log(kind="uniform", share=0.2, users=60, length=12)
    held_out = torch.arange(60) % 3 == 0
    sequences = replace(log.sequences, train_lengths=log.sequences.train_lengths * ~held_out)
    config = replace(CONFIG, gate="none", length=10, noise_model="co-occurrence", drop_below=0.0, attention_power=1.0)
    model = build(config, ITEMS, seed=2).eval()
    model.prepare(sequences)
    with torch.inference_mode():
        (batch,) = history_batches(sequences, log.targets["test"], length=model.length, sizes=[60])
        evaluated = (model.query(batch) @ model.item_table()[1:].T).numpy()

    server = Server()
    ids = [f"item {number}" for number in range(1, ITEMS + 1)]
    server.hold(model, ids=ids, popularity=[1] * ITEMS)
    histories = [
        [ids[item - 1] for item in sequences.items[start : start + 11]] for start in sequences.offsets[:-1].tolist()
    ]

    def served(**columns: Any) -> np.ndarray:
        table = pd.DataFrame({"history": histories, **columns})
        answer = server.predict(None, table, {"k": ITEMS, "exclude_seen": False})
        rows = zip(answer["items"], answer["scores"], strict=True)
        return np.array([pd.Series(scores, items)[ids].to_numpy() for items, scores in rows])

    counts = sequences.train_lengths.tolist()
    assert set(counts) == {0, 10}
    np.testing.assert_allclose(served(trained=counts), evaluated, rtol=1e-4, atol=1e-6)
    strangers = served()
    np.testing.assert_allclose(strangers[held_out], evaluated[held_out], rtol=1e-4, atol=1e-6)
    assert np.abs(strangers - evaluated)[~held_out].max(axis=1).min() > 1e-4
    np.testing.assert_array_equal(served(trained=[None] * 60), strangers)

    histories = [["not sold any more", *history] for history in histories]
    of_all = [count + 1 if count else 0 for count in counts]
    np.testing.assert_allclose(served(trained=of_all), evaluated, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 4, 1.5, "2"])
def test_what_cannot_have_been_trained_on_is_said(server: Server, ids: list[Any], wrong: Any) -> None:
    table = pd.DataFrame({"history": [ids[:2], ids[:3]], "trained": [2, wrong]})
    with pytest.raises(ValueError, match=rf"row 1 has 3 items in its history: .* cannot be {wrong}"):
        server.predict(None, table)


@pytest.mark.parametrize("wrong", ["007", 7])
def test_a_history_that_is_no_list_is_said(server: Server, ids: list[Any], wrong: Any) -> None:
    """A text's letters would be items that nobody knows."""
    with pytest.raises(ValueError, match=f"row 1 has {wrong!r} for its history, which is a list of items"):
        ask(server, ids[:2], wrong)
