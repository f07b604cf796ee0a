"""Noise models: what they take for evidence, what they may depend on, and what they find."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import NOISE_MODELS
from models.config import ModelConfig
from models.denoising.noise import cooccurrence
from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.directions import PARTS, RANK, Directions, parts_of
from models.denoising.noise.own_score import OwnScore
from models.denoising.noise.popularity import LIFT_FEATURES
from models.denoising.noise.seam import NoiseModel, training_events
from models.engine.batches import Batch, windows
from models.engine.randomness import hashed_integers
from models.engine.sequences import InteractionLog, Sequences, training_part
from tests.models.builders import ITEMS, auroc, planted_log
from tests.models.conftest import MakeLog


def recurring_log(*, kind: str, share: float, users: int = 400, length: int = 30) -> tuple[InteractionLog, Tensor]:
    """Users who come back to the same five things of their corner of the catalogue, with replaced items in their
    training parts; and which events are noise.
    """
    draw = np.random.default_rng(0)
    corner = np.repeat(draw.integers(6, size=users), length)
    own = draw.permuted(np.tile(np.arange(15), (users, 1)), axis=1)[:, :5]
    items = 1 + corner * 15 + own[np.repeat(np.arange(users), length), draw.integers(5, size=users * length)]
    noise = (draw.random(len(items)) < share) & (np.tile(np.arange(length), users) < length - 2)
    others = draw.integers(1, 91, len(items)) if kind == "uniform" else draw.permutation(items)
    noise &= others != items
    sequences = Sequences(
        torch.from_numpy(np.where(noise, others, items)).int(),
        torch.arange(users + 1) * length,
        torch.full((users,), length - 2),
        90,
    )
    return InteractionLog(sequences, {}), torch.from_numpy(noise)


def trained_histories(log: InteractionLog) -> list[list[int]]:
    sequences = log.sequences
    starts = zip(sequences.offsets.tolist(), sequences.train_lengths.tolist(), strict=False)
    return [sequences.items[start : start + size].tolist() for start, size in starts]


def pairs_of(items: list[int]) -> list[tuple[int, int]]:
    """The places, later and earlier, of events at most three apart."""
    return [(later, earlier) for later in range(len(items)) for earlier in range(max(later - 3, 0), later)]


def pair_of(items: list[int], later: int, earlier: int) -> tuple[int, int]:
    return min(items[later], items[earlier]), max(items[later], items[earlier])


def part_of(items: list[int]) -> int:
    """That of a history whose last counted item is the last."""
    return int(hashed_integers(PARTS, torch.tensor(items[-1])) % PARTS)


def agreement_of(
    model: CoOccurrence, items: list[int], event: int, pairs: list[tuple[int, int]], item: int | None = None
) -> float:
    """The cosine of an event's item, or of one in its place, and the sum of the items of the other events in `pairs`
    that are not its own.
    """
    vectors = model.directions.vectors[part_of(items)].double()
    item = items[event] if item is None else item
    others = [items[sum(pair) - event] for pair in pairs]
    around = sum((vectors[other] for other in others if other != items[event]), torch.zeros(RANK).double())
    length = float(vectors[item].norm() * around.norm())
    return float(vectors[item] @ around) / length if length > 1e-6 else 0.0


def prepared(name: str, log: InteractionLog, *, reach: int = 3) -> NoiseModel:
    torch.manual_seed(0)
    model = NOISE_MODELS[name](ModelConfig(reach=reach), log.sequences.item_count)
    model.prepare(log.sequences)
    return model


def test_at_first_co_occurrence_counts_the_others_in_whose_histories_a_pair_is_near(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cooccurrence, "AT_ONCE", 10)  # so that there are several portions
    log = make_log(lengths=[9, 4, 12, 5, 2], item_count=6)
    model = prepared("co-occurrence", log)
    assert isinstance(model, CoOccurrence)
    histories = trained_histories(log)
    together: Counter[tuple[int, int]] = Counter()
    for items in histories:
        together.update({pair_of(items, later, earlier) for later, earlier in pairs_of(items)})
    degree = {item: sum(n * ((item == a) + (item == b)) for (a, b), n in together.items()) for item in range(1, 7)}
    expected, surroundings = [], []
    for items in histories:
        totals = [0.0] * len(items)
        around = [[0.0, 0.0, 0.0] for _ in items]
        for later, earlier in pairs_of(items):
            chance = degree[items[later]] * degree[items[earlier]] / sum(degree.values())
            chance /= 1 + (items[later] == items[earlier])
            others = together[pair_of(items, later, earlier)] - 1
            for event in (later, earlier):
                totals[event] += math.log((others + 0.3) / (chance + 0.3))
                around[event] = [total + own for total, own in zip(around[event], (1, others, chance), strict=True)]
        expected += [[max(total, 0), min(total, 0)] for total in totals]
        surroundings += around
    events = training_events(log.sequences)
    found = model.first_evidence(events)
    torch.testing.assert_close(found[:, :2], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    told = torch.stack(model.surroundings(events), dim=1)
    torch.testing.assert_close(told, torch.tensor(surroundings), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counted", [0, 3, 99])
def test_an_owner_speaks_for_a_pair_once_and_only_where_it_was_counted(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    """Of a history that goes on after its training part, or was never in one."""
    log = make_log(lengths=[9, 8, 12, 10], item_count=4)
    sequences = replace(log.sequences, train_lengths=log.sequences.train_lengths.clamp(max=counted))
    model = prepared("co-occurrence", log)
    assert isinstance(model, CoOccurrence)
    chance = model.degrees[:, None] * model.degrees[None, :] / model.degrees.sum() / (1 + torch.eye(5))
    expected = []
    for items, trained in zip(sequences.items.split([9, 8, 12, 10]), sequences.train_lengths.tolist(), strict=True):
        history = items.tolist()
        own = {pair_of(history, later, earlier) for later, earlier in pairs_of(history[:trained])}
        totals = [0.0] * len(history)
        for later, earlier in pairs_of(history):
            pair = pair_of(history, later, earlier)
            seen = float(model.sightings[model._places(torch.tensor([pair[0] * 5 + pair[1]]))])
            affinity = math.log((max(seen - (pair in own), 0) + 0.3) / (float(chance[pair]) + 0.3))
            totals[later] += affinity
            totals[earlier] += affinity
        expected += totals
    batch = windows(sequences, torch.arange(4), torch.tensor([9, 8, 12, 10]), length=12, with_targets=False)
    monkeypatch.setattr(model, "genuine", lambda events: model.first_evidence(events)[:, :2].sum(1))
    found = batch.events(model.keep(batch))
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_a_history_of_someone_else_is_judged_as_by_a_noise_model_that_never_saw_it() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = prepared("co-occurrence", log)
    for counted in (True, False):
        known = log.sequences.train_lengths * counted
        sizes = log.sequences.train_lengths[:5]
        batch = windows(
            replace(log.sequences, train_lengths=known), torch.arange(5), sizes, length=28, with_targets=False
        )
        verdict = model.verdict(log.sequences, counted=counted)
        part = training_part(log.sequences) & (torch.arange(len(verdict)) < log.sequences.offsets[5])
        found = batch.events(model.keep(batch))
        torch.testing.assert_close(found, verdict[part])


def test_the_second_look_weighs_neighbours_and_sightings_judged_without_the_pair(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cooccurrence, "AT_ONCE", 10)
    log = make_log(lengths=[9, 4, 12, 5, 3], item_count=6)
    torch.manual_seed(0)
    model = CoOccurrence(6, reach=3)
    weights_of_all = torch.tensor([0.8, 0.5, 0.7, 0.3, 0.2])
    model.first_look.keep = lambda evidence: torch.sigmoid(evidence @ weights_of_all)  # type: ignore[method-assign]
    model.prepare(log.sequences)
    events = training_events(log.sequences)
    histories = trained_histories(log)
    chance = model.degrees[:, None] * model.degrees[None, :] / model.degrees.sum() / (1 + torch.eye(7))

    def first(items: list[int], later: int, earlier: int) -> float:
        key = model._key(torch.tensor([items[later]]), torch.tensor([items[earlier]]))
        seen = float(model.sightings[model._places(key)]) - 1
        return math.log((seen + 0.3) / (float(chance[items[later], items[earlier]]) + 0.3))

    def trusted(items: list[int], event: int, without: tuple[int, int]) -> float:
        others = [pair for pair in pairs_of(items) if event in pair and pair != without]
        fit = sum(first(items, *pair) for pair in others)
        agreement = agreement_of(model, items, event, others)
        lift = float(model.lifts[items[event]])
        found = 0.8 * max(fit, 0) + 0.5 * min(fit, 0) + 0.7 * agreement + 0.3 * max(lift, 0) + 0.2 * min(lift, 0)
        return 1 / (1 + math.exp(-found))

    trust = [{pair: [trusted(items, event, pair) for event in pair] for pair in pairs_of(items)} for items in histories]
    heaviest: list[dict[tuple[int, int], float]] = []
    for items, weights in zip(histories, trust, strict=True):
        own: dict[tuple[int, int], float] = {}
        for pair, (later, earlier) in weights.items():
            own[pair_of(items, *pair)] = max(own.get(pair_of(items, *pair), 0.0), later * earlier)
        heaviest.append(own)
    seen: Counter[tuple[int, int]] = Counter()
    for own in heaviest:
        seen.update(own)  # type: ignore[arg-type]
    degree = {item: sum(n * ((item == a) + (item == b)) for (a, b), n in seen.items()) for item in range(1, 7)}

    def affinity(one: int, other: int, own: float) -> float:
        expected = degree[one] * degree[other] / sum(degree.values()) / (1 + (one == other))
        return math.log((seen[min(one, other), max(one, other)] - own + 0.3) / (expected + 0.3))

    planted = 1 + torch.arange(len(events.items)) % 6
    for stand_ins in (None, planted):
        totals = []
        start = 0
        for items, weights, own in zip(histories, trust, heaviest, strict=True):
            there = items if stand_ins is None else stand_ins[start : start + len(items)].tolist()
            start += len(items)
            sums = [0.0] * len(items)
            for (later, earlier), (trust_later, trust_earlier) in weights.items():
                counted = own[pair_of(items, later, earlier)] if stand_ins is None else 0.0
                sums[later] += trust_earlier * affinity(there[later], items[earlier], counted)
                sums[earlier] += trust_later * affinity(items[later], there[earlier], counted)
            totals += sums
        found = model.evidence(events, stand_ins)
        torch.testing.assert_close(found[:, :2].sum(1), torch.tensor(totals), rtol=1e-4, atol=1e-4)
        agreements = []
        start = 0
        for items in histories:
            there = items if stand_ins is None else stand_ins[start : start + len(items)].tolist()
            start += len(items)
            for event, item in enumerate(there):
                pairs = [pair for pair in pairs_of(items) if event in pair]
                agreements.append(agreement_of(model, items, event, pairs, item))
        torch.testing.assert_close(found[:, 2], torch.tensor(agreements), rtol=1e-4, atol=1e-4)


def test_directions_are_the_leading_eigenvectors_of_who_is_met_beside_whom_in_other_parts(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 14, 12, 15, 10, 13, 8, 11], item_count=40)
    torch.manual_seed(0)
    model = CoOccurrence(40, reach=3)
    model.count(training_events(log.sequences), 40)
    histories = trained_histories(log)
    parts = [part_of(items) for items in histories]
    assert len(set(parts)) > 1
    for part in range(PARTS):
        met = np.zeros((41, 41))
        for items, own in zip(histories, parts, strict=True):
            if own != part:
                for one, other in {pair_of(items, *pair) for pair in pairs_of(items)}:
                    met[one, other] = met[other, one] = met[one, other] + (one != other)
        degrees = met.sum(1)
        root = np.sqrt(degrees + degrees[degrees > 0].mean())
        values, vectors = np.linalg.eigh(met / root[:, None] / root[None, :])
        leading = np.argsort(-np.abs(values))[:RANK]
        expected = vectors[:, leading] * np.abs(values[leading]) @ vectors[:, leading].T
        found = model.directions.vectors[part].double().numpy()
        np.testing.assert_allclose(found @ found.T, expected, atol=2e-2)


def test_a_history_is_compared_with_the_others_alone_also_where_it_goes_on_or_its_beginning_is_cut_off(
    make_log: MakeLog,
) -> None:
    log = make_log(lengths=[12, 9, 14, 10], item_count=30)
    sequences = log.sequences
    events = training_events(sequences)
    parts = parts_of(events.items, events.owners, events.counted)
    starts = sequences.train_lengths.cumsum(0) - sequences.train_lengths
    of_user = [part_of(items) for items in trained_histories(log)]
    assert parts[starts].tolist() == of_user
    batch = windows(sequences, torch.arange(4), sequences.offsets.diff(), length=5, with_targets=False)
    assert batch.trained is not None
    real = batch.segments > 0
    found = parts_of(batch.items[real], batch.users[real], batch.trained[real])
    assert [int(found[batch.users[real] == user][0]) for user in range(4)] == of_user
    assert not parts_of(events.items, events.owners, torch.zeros_like(events.counted)).any()


@pytest.mark.parametrize("name", NOISE_MODELS)
def test_a_judgement_is_a_probability_and_depends_on_nothing_that_it_may_not_see(name: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = prepared(name, log)
    users, stops = torch.tensor([0, 1, 2]), torch.tensor([9, 4, 5])
    batch = windows(log.sequences, users, stops, length=9, with_targets=False)
    keep = model.keep(batch)
    assert keep.shape == batch.items.shape
    assert bool(((keep >= 0) & (keep <= 1)).all())
    assert bool((keep[batch.segments == 0] == 1).all())
    long = int((batch.segments > 0).sum(1).eq(9).nonzero()[0])
    others = torch.arange(len(batch.items)) != long
    changed = replace(batch, items=torch.where(others[:, None] & (batch.segments > 0), ITEMS, batch.items))
    assert torch.equal(model.keep(changed)[long], keep[long]), "other histories have no influence"
    alone = windows(log.sequences, users[1:2], stops[1:2], length=9, with_targets=False)
    row, first = divmod(int(batch.ends[1]) - 3, 9)
    torch.testing.assert_close(model.keep(alone)[0, :4], keep[row, first:][:4])


def test_where_no_two_events_are_neighbours_popularity_alone_judges() -> None:
    items = torch.randint(1, 5, (600,), generator=torch.Generator().manual_seed(0)).int()
    log = InteractionLog(Sequences(items, torch.arange(601), torch.ones(600, dtype=torch.int64), 4), {})
    verdicts = [prepared(name, log).verdict(log.sequences) for name in ("co-occurrence", "popularity")]
    torch.testing.assert_close(*verdicts, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["uniform", "popular"])
def test_it_finds_planted_noise_and_how_much_there_is(kind: str) -> None:
    log, noise = planted_log(kind=kind, share=0.2)
    model = prepared("co-occurrence", log)
    verdict = model.verdict(log.sequences)
    part = training_part(log.sequences)
    assert bool((verdict[~part] == 1).all())
    assert auroc(1 - verdict[part], noise[part]) > 0.85
    # Of the items that are put in a place, some fit it: a quarter by chance.
    assert model.share() == pytest.approx(0.75 * float(noise[part].float().mean()), abs=0.06)
    clean, _ = planted_log(kind=kind, share=0.0)
    assert prepared("co-occurrence", clean).share() < 0.03
    assert torch.equal(verdict, prepared("co-occurrence", log).verdict(log.sequences))


def test_where_hardly_a_pair_is_seen_twice_the_company_that_items_keep_tells_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Users with seven events each from one of six corners of a hundred items, a fifth of which are replaced."""
    draw = np.random.default_rng(0)
    corner = np.repeat(draw.integers(6, size=600), 7)
    items = 1 + corner * 100 + draw.integers(100, size=4200)
    noise = draw.random(4200) < 0.2
    items[noise] = draw.integers(1, 601, noise.sum())
    sequences = Sequences(torch.from_numpy(items).int(), torch.arange(601) * 7, torch.full((600,), 7), 600)
    found, told = [], []
    for _ in range(2):
        model = prepared("co-occurrence", InteractionLog(sequences, {}), reach=6)
        found.append(auroc(1 - model.verdict(sequences), torch.from_numpy(noise)))
        told.append(model.share())
        monkeypatch.setattr(Directions, "learn", lambda *_, **__: None)
    assert found[0] > 0.85
    assert found[1] < found[0] - 0.1
    assert abs(told[0] - 0.2) < 0.06 < abs(told[1] - 0.2)


def test_it_learns_from_the_kinds_that_it_is_told_to_plant_and_no_others() -> None:
    log, noise = planted_log(kind="popular", share=0.2)
    part = training_part(log.sequences)
    weights, found = {}, {}
    for planted in ("all", "uniform", "popular"):
        torch.manual_seed(0)
        config = ModelConfig(noise_model="co-occurrence", planted=planted, reach=3)
        model = NOISE_MODELS["co-occurrence"](config, log.sequences.item_count)
        model.prepare(log.sequences)
        weights[planted] = model.judgement.weights
        found[planted] = auroc(1 - model.verdict(log.sequences)[part], noise[part])
    assert [weights[planted].shape[1] for planted in weights] == [2, 1, 1]
    assert not torch.equal(weights["uniform"], weights["popular"])
    assert found["uniform"] > 0.8, "noise of a kind that was never planted is found too"


def test_the_own_score_of_an_event_is_that_of_its_item_after_what_came_before_it() -> None:
    """Of a history that is longer than the network's window, after the later half of the window before at least."""
    log, _ = planted_log(kind="uniform", share=0.2, users=12, length=92)
    model = prepared("own-score", log)
    assert isinstance(model, OwnScore)
    events = training_events(log.sequences)
    stand_ins = events.items.roll(1)
    table, first = model.network.item_table(), LIFT_FEATURES
    for own, found in (
        (events.items, model.evidence(events)),
        (stand_ins, model.evidence(events, stand_ins)),
    ):
        for owner in (0, 7):
            begins = owner * 90
            for place in (1, 2, 49, 50, 51, 74, 75, 76, 89):
                start = 0 if place <= 50 else 25 if place <= 75 else 39
                window = events.items[begins + start : begins + start + 50][None]
                cells = torch.arange(50)[None]
                seen = Batch(window, cells * 0, cells, cells * 0 + 1, cells[0], cells[0, -1:])
                state = model.network.backbone.encode(seen)[0, place - 1 - start]
                score = state @ table[own[begins + place]]
                torch.testing.assert_close(found[begins + place, 0], score, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found[begins, 0], found[begins, 1:].sum())
    assert found.shape == (len(events.items), first + 1)


@pytest.mark.parametrize("kind", ["uniform", "popular"])
def test_what_recurs_does_not_vouch_for_itself(kind: str) -> None:
    log, noise = recurring_log(kind=kind, share=0.2)
    model = prepared("co-occurrence", log)
    part = training_part(log.sequences)
    assert auroc(1 - model.verdict(log.sequences)[part], noise[part]) > 0.9
    assert model.share() == pytest.approx(float(noise[part].float().mean()), abs=0.03)
    clean, _ = recurring_log(kind=kind, share=0.0)
    assert prepared("co-occurrence", clean).share() < 0.01
