"""Noise models: what they take for evidence, what they may depend on, what they find, and what is done with it."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import NOISE_MODELS, build
from models.config import ModelConfig, TrainingConfig
from models.denoising.noise import cooccurrence
from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.directions import PARTS, RANK, Directions, parts_of
from models.denoising.noise.judgement import (
    RIDGE,
    Judgement,
    logistic_regression,
    share_of_noise,
    shares_of_noise,
)
from models.denoising.noise.own_score import OwnScore
from models.denoising.noise.popularity import LIFT_FEATURES
from models.denoising.noise.seam import NoiseModel, training_events
from models.denoising.noise_aware import NoiseAware
from models.engine.batches import Batch, compacted, training_batches, windows
from models.engine.randomness import hashed_integers
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences, training_part
from models.engine.training import Training
from models.networks.attention import GateContext
from models.recommender import Recommender
from models.storage import load_model, save_model
from tests.models.builders import ITEMS, auroc, draws_for, planted_log
from tests.models.conftest import MakeLog

SMALL = ModelConfig(dim=8, heads=2, length=6)
BACKBONES = ("sasrec", "bert4rec", "tisasrec", "sse-pt")


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


def test_logistic_regression_of_one_yes_or_no_is_the_log_odds_ratio() -> None:
    column = torch.tensor([1.0] * 60 + [0.0] * 40, dtype=torch.float64)
    labels = torch.tensor([1.0] * 45 + [0.0] * 15 + [1.0] * 10 + [0.0] * 30, dtype=torch.float64)
    weights = logistic_regression(torch.stack([torch.ones_like(column), column], dim=1), labels)
    assert float(weights[0]) == pytest.approx(math.log(10 / 30), abs=0.03)
    assert float(weights.sum()) == pytest.approx(math.log(45 / 15), abs=0.03)


def test_logistic_regression_finds_the_optimum_where_evidence_lies_far_out() -> None:
    """A whole step of Newton's method overshoots there, each time further: few events are unlike all others, and one
    of two columns nearly separates them.
    """
    genuine, noisy = [840, 1, 1, 8, 130], [0, 16, 0, 0, 7]
    evidence = torch.tensor(
        [[-0.011, -0.005], [0.505, -1.326], [1.955, 2.026], [-24.235, 5.546], [1.048, 0.679]], dtype=torch.float64
    )
    kinds = torch.arange(5).repeat(2).repeat_interleave(torch.tensor([*genuine, *noisy]))
    labels = torch.cat([torch.zeros(sum(genuine)), torch.ones(sum(noisy))]).double()
    columns = evidence[kinds]
    design = torch.cat([torch.ones(len(kinds), 1).double(), (columns - columns.mean(0)) / columns.std(0)], dim=1)

    def objective(weights: Tensor) -> Tensor:
        likely = torch.nn.functional.binary_cross_entropy_with_logits(design @ weights, labels)
        return likely + RIDGE / 2 * weights @ weights

    weights = logistic_regression(design, labels).requires_grad_()
    (slope,) = torch.autograd.grad(objective(weights), weights)
    assert float(slope.abs().max()) < 1e-8


def test_a_judgement_is_a_number_where_an_event_is_noise_for_certain() -> None:
    """Also by a kind of which the log has none, whose odds would be infinite."""
    judgement = Judgement(1, kinds=2)
    judgement.weights[1] = torch.tensor([500.0, 0.1])
    judgement.shares.copy_(torch.tensor([0.0, 0.5]))
    assert judgement.keep(torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([0.5, 1 - 0.5 * math.exp(0.1)])
    judgement.shares.copy_(torch.tensor([1e-6, 0.5]))
    assert judgement.keep(torch.tensor([[1.0]])).tolist() == [0.0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_the_share_of_noise_is_that_of_a_mixture_whose_parts_are_apart(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60_000, generator=generator) + 4
    genuine = torch.randn(60_000, generator=generator)
    own = torch.randn(60_000, generator=generator) + 4
    log = torch.cat([genuine[: int(60_000 * (1 - share))], own[: int(60_000 * share)]])
    alone = torch.ones(1)
    assert float(share_of_noise(log, [noise], alone)) == pytest.approx(share, abs=0.015)
    assert float(share_of_noise(log, [noise], alone, [(torch.tensor(share), own)])) == pytest.approx(0.0, abs=0.015)


def test_what_looks_like_noise_of_two_kinds_counts_once() -> None:
    """Half of either kind looks like one half of the other, and so does a tenth of the log, which has none of the rest:
    no more than that tenth can be noise, although it would admit as much of the one and half as much of the other.
    """
    generator = torch.Generator().manual_seed(0)
    only_one, only_other, both, neither = torch.tensor([[2.0, -4.0], [-4.0, 2.0], [2.0, 2.0], [-4.0, -4.0]])
    half = [row.expand(10_000, 2) for row in (only_one, only_other, both)]
    planted = [torch.cat([half[kind], half[2]]) + 0.01 * torch.rand(20_000, 2, generator=generator) for kind in (0, 1)]
    log = torch.cat([both.expand(2_000, 2), neither.expand(18_000, 2)]) + 0.01 * torch.rand(
        20_000, 2, generator=generator
    )
    assert shares_of_noise(log, planted).tolist() == pytest.approx([0.2 / 3, 0.1 / 3], abs=0.002)


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
    monkeypatch.setattr(model, "_keep", lambda events: model.first_evidence(events)[:, :2].sum(1))
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


def test_the_own_score_finds_planted_noise_and_is_no_part_of_what_is_trained() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = build(ModelConfig.from_dict(SMALL.to_dict() | {"noise_model": "own-score"}), ITEMS, seed=1)
    training = Training(
        model, log, log, TrainingConfig(epochs=1), seed=1, evaluation_seed=0, device=torch.device("cpu")
    )
    assert isinstance(model, NoiseAware)
    assert isinstance(model.noise, OwnScore)
    part = training_part(log.sequences)
    assert auroc(1 - model.noise.verdict(log.sequences)[part], noise[part]) > 0.8
    before = {name: value.clone() for name, value in model.noise.state_dict().items()}
    training.run(checkpoint=None, on_epoch=lambda _: None)
    assert all(torch.equal(value, before[name]) for name, value in model.noise.state_dict().items())


@pytest.mark.parametrize("kind", ["uniform", "popular"])
def test_what_recurs_does_not_vouch_for_itself(kind: str) -> None:
    log, noise = recurring_log(kind=kind, share=0.2)
    model = prepared("co-occurrence", log)
    part = training_part(log.sequences)
    assert auroc(1 - model.verdict(log.sequences)[part], noise[part]) > 0.9
    assert model.share() == pytest.approx(float(noise[part].float().mean()), abs=0.03)
    clean, _ = recurring_log(kind=kind, share=0.0)
    assert prepared("co-occurrence", clean).share() < 0.01


@pytest.mark.parametrize("robust", ["truncated", "reweighted", "generalised", "symmetric", "bootstrapped"])
def test_a_robust_loss_leaves_the_targets_weights_as_they_are(robust: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model, plain = (aware(log, target_power=1.0, robust=name) for name in (robust, "none"))
    draws = draws_for(log.sequences)  # of step 0, where a truncated loss leaves nothing out yet
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    weights, expected = model.loss(batch, draws).weights, plain.loss(batch, draws).weights
    assert weights is not None
    assert expected is not None
    assert float(expected.min()) < 0.9
    torch.testing.assert_close(weights, expected)


def test_what_is_dropped_is_out_of_the_log_and_its_neighbours_meet() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = aware(log, drop_below=0.5, target_power=2.0)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    for user in (0, 17, 399):
        start = int(log.sequences.offsets[user])
        stays = [place for place in range(start, start + 28) if verdict[place] >= 0.5]
        (cells,) = torch.nonzero((batch.users == user).flatten() & (batch.segments > 0).flatten(), as_tuple=True)
        assert batch.targets is not None
        assert batch.target_keep is not None
        assert batch.targets.flatten()[cells].tolist() == log.sequences.items[stays[-6:]].tolist()
        assert torch.equal(batch.target_keep.flatten()[cells], verdict[stays[-6:]])
    loss = model.loss(batch, draws)
    assert loss.weights is not None
    assert batch.target_keep is not None
    assert torch.equal(loss.weights, batch.events(batch.target_keep) ** 2)
    told = model.diagnostics()
    dropped = (verdict < 0.5)[training_part(log.sequences)].float().mean()
    assert told["noise.dropped"] == pytest.approx(float(dropped), abs=1e-6)
    assert float(noise[verdict < 0.5].float().mean()) > 0.8


def test_a_sampled_log_has_each_event_as_often_as_it_is_likely_genuine() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = aware(log, cleaning="sampled", target_power=2.0)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    assert float(verdict.min()) < 0.1
    draws, generator = draws_for(log.sequences), torch.Generator().manual_seed(0)
    marked = replace(log.sequences, items=torch.arange(1, len(verdict) + 1, dtype=torch.int32))
    model._cleaned = (marked, replace(marked, keep=verdict))
    seen = torch.zeros(len(verdict) + 1)
    epochs = 400
    for _ in range(epochs):
        (batch,) = model.training_batches(marked, batch_size=500, generator=generator, draws=draws)
        assert batch.targets is not None
        events, targets = batch.events(batch.items), batch.events(batch.targets)
        seen[targets] += 1
        # What was left out between two events is not between them any more.
        assert bool((targets > events).all())
    last = torch.arange(len(verdict)) % 30 == 27  # the newest that is trained on, a target whenever it is there
    frequency = seen[1:][last] / epochs
    off = (frequency - verdict[last]) / (verdict[last] * (1 - verdict[last]) / epochs).sqrt().clamp(min=1e-3)
    assert float(off.abs().mean()) < 1.5
    assert float(off.abs().max()) < 5
    assert float(frequency[noise[last]].mean()) < 0.65 < 0.85 < float(frequency[~noise[last]].mean())
    assert model.loss(batch_of(model, log), draws).weights is None
    told = model.diagnostics()
    stay = float(verdict[training_part(log.sequences)].mean())
    assert told["noise.dropped"] == pytest.approx(1 - stay, abs=1e-6)
    more = aware(log, cleaning="sampled", drop_events=0.25)
    assert more.diagnostics()["noise.dropped"] == pytest.approx(1 - 0.75 * stay, abs=1e-6)


def test_dropped_events_are_others_in_each_epoch_and_as_many_as_asked_for() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = build(replace(SMALL, length=30, drop_events=0.25), ITEMS, seed=1)
    draws, generator = draws_for(log.sequences), torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(2):
        (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
        epochs.append(torch.bincount(batch.events(batch.users), minlength=400))
    before = log.sequences.train_lengths - 1
    assert not torch.equal(*epochs)
    for left in epochs:
        assert float(left.sum() / before.sum()) == pytest.approx(0.74, abs=0.01)
    both = aware(log, length=30, cleaning="sampled", drop_events=0.25)
    assert both.noise is not None
    keep = both.noise.verdict(log.sequences)[training_part(log.sequences)]
    assert len(batch_of(both, log).cells) == pytest.approx(float(0.75 * keep.sum()) - 400, rel=0.02)


def test_a_sampled_log_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    config = replace(SMALL, noise_model="co-occurrence", reach=3, cleaning="sampled")

    def weights(*, stop_at: int | None) -> list[Tensor]:
        for epochs in (stop_at, 4):
            if epochs is None:
                continue
            model = build(config, ITEMS, seed=1)
            training = Training(
                model,
                log,
                log,
                TrainingConfig(epochs=epochs, batch_size=16),
                seed=1,
                evaluation_seed=0,
                device=torch.device("cpu"),
            )
            training.run(checkpoint=None if stop_at is None else tmp_path / "there.pt", on_epoch=lambda _: None)
        return [value.detach() for value in model.parameters()]

    for one, other in zip(weights(stop_at=None), weights(stop_at=2), strict=True):
        assert torch.equal(one, other)


def test_a_history_is_ranked_with_by_what_is_left_of_it() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = aware(log, drop_below=0.5, spare=4)
    assert model.noise is not None
    batch = windows(log.sequences, torch.arange(5), torch.full((5,), 28), length=model.length, with_targets=False)
    assert model.length == 10
    keep = model.explain(batch)["genuine"]
    alone = [model.base.query(alone_in_a_row(batch.items[row][keep[row] >= 0.5][-6:])) for row in range(5)]
    torch.testing.assert_close(model.query(batch), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_ends_of_one_window_share_a_pass_over_what_is_left_of_it() -> None:
    log, _ = planted_log(kind="uniform", share=0.3)
    model = aware(log, drop_below=0.5, spare=4)
    users = torch.arange(12)
    batch = windows(log.sequences, users, torch.full((12,), 28), length=model.length, with_targets=False)
    keep = model.explain(batch)["genuine"]
    expected = []
    ways = Counter[str]()
    for row in range(12):
        kept = keep[row] >= 0.5
        left = batch.items[row][kept][-6:]
        hidden = model.base.query(replace(alone_in_a_row(left), ends=torch.arange(6 - len(left), 6)))
        for end in range(model.length):
            seen = int(kept[: end + 1].sum())
            place = len(left) - 1 - (int(kept.sum()) - seen)
            ways["together" if seen and place >= 0 else "before" if seen else "nothing"] += 1
            if seen and place >= 0:
                expected.append(hidden[place])
            else:
                items = batch.items[row, : end + 1]
                (found,) = model.base.query(alone_in_a_row(items[kept[: end + 1]] if seen else items))
                expected.append(found)
    assert min(ways["together"], ways["before"], ways["nothing"]) > 0
    found = model.query(replace(batch, ends=batch.cells))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


ATTENTIVE = {"drop_below": 0.0, "attention_power": 2.0}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_power_or_doubt_attention_is_what_it_is_to_the_bit(backbone: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=8)
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)

    def stepped(*, keep: float | None, **settings: object) -> list[Tensor]:
        chosen = {"backbone": backbone, "user_dim": 4, "noise_model": "co-occurrence", "reach": 3, "drop_below": 0.0}
        model = build(ModelConfig.from_dict(SMALL.to_dict() | chosen | settings), ITEMS, seed=1, user_count=8)
        assert isinstance(model, NoiseAware)
        if keep is not None:
            assert model.noise is not None
            model.noise.keep = lambda batch: torch.full(batch.items.shape, keep)  # type: ignore[method-assign]
            model.noise.verdict = lambda sequences: torch.full((len(sequences.items),), keep)  # type: ignore[method-assign]
        return trained(model, log)

    for keep, power in ((None, 0.0), (1.0, 2.0)):
        plain = stepped(keep=keep, target_power=0.0)
        for one, other in zip(plain, stepped(keep=keep, target_power=0.0, attention_power=power), strict=True):
            assert torch.equal(one, other)
    doubtful = stepped(keep=0.5, target_power=0.0, attention_power=2.0)
    assert not torch.equal(doubtful[0], stepped(keep=0.5, target_power=0.0)[0])


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec", "tisasrec"])
def test_an_event_that_is_surely_noise_is_no_key_and_the_rest_is_not_renormalised(backbone: str) -> None:
    """In the first layer: rows of V without the event's, mixed by the same probabilities as with it."""
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    model = build(
        ModelConfig.from_dict(
            SMALL.to_dict() | {"backbone": backbone, "noise_model": "co-occurrence", "reach": 3} | ATTENTIVE
        ),
        ITEMS,
        seed=1,
    )
    assert isinstance(model, NoiseAware)
    model.prepare(log.sequences)
    assert model.noise is not None
    batch = windows(
        log.sequences, torch.arange(3), torch.full((3,), 28), length=6, with_targets=False, appended=model.appended
    )
    noise = torch.zeros(batch.items.shape, dtype=torch.bool)
    noise[:, 2] = True
    model.noise.keep = lambda shown: torch.where(noise, 0.0, 1.0)  # type: ignore[method-assign]
    expected = model.base.query(batch, gate=lambda context: torch.where(noise, 0.0, 1.0)[:, None, None, :])
    assert torch.equal(model.query(batch), expected)
    assert not torch.equal(model.query(batch), model.base.query(batch))


def test_attention_is_weighed_by_what_each_event_was_judged_in_training_and_by_its_history_in_use() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = aware(log, **ATTENTIVE)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    masks: list[Tensor] = []
    encode = model.base.backbone.encode

    def recording(batch: Batch, **options: Any) -> Tensor:
        nothing = torch.zeros(0)
        context = GateContext(q=nothing, k=nothing, attention=nothing, batch=batch, layer=1)
        masks.append(batch.events(options["gate"](context)[:, 0, 0]))
        return encode(batch, **options)

    model.base.backbone.encode = recording  # type: ignore[method-assign]
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    model.loss(batch, draws)
    users = batch.events(batch.users)
    places = log.sequences.offsets[users] + 27 - 6 + batch.events(batch.positions)
    assert torch.equal(batch.events(batch.items), log.sequences.items[places].long())
    torch.testing.assert_close(masks[0], verdict[places] ** 2)

    shown = windows(log.sequences, torch.arange(5), torch.full((5,), 20), length=6, with_targets=False)
    query = model.query(shown)
    judged = model.noise.keep(shown)
    torch.testing.assert_close(masks[1], shown.events(judged) ** 2)
    assert float(judged.min()) < 0.9
    later = log.sequences.items.clone()
    for user in range(5):
        later[user * 30 + 20 : user * 30 + 30] = ITEMS
    changed = replace(log.sequences, items=later)
    again = windows(changed, torch.arange(5), torch.full((5,), 20), length=6, with_targets=False)
    assert torch.equal(model.query(again), query), "what comes after a history has no influence"


def test_what_is_left_of_a_history_is_weighed_too() -> None:
    log, _ = planted_log(kind="uniform", share=0.3)
    model = aware(log, drop_below=0.5, attention_power=1.0, spare=4)
    batch = windows(log.sequences, torch.arange(12), torch.full((12,), 28), length=model.length, with_targets=False)
    keep = model.explain(batch)["genuine"]
    expected = []
    for row in range(12):
        kept = keep[row] >= 0.5
        alone = alone_in_a_row(batch.items[row][kept][-6:])
        own = torch.zeros(1, 6)
        own[0, alone.cells] = keep[row][kept][-6:]
        expected.append(model.base.query(alone, gate=lambda _, own=own: own[:, None, None, :]))  # type: ignore[misc]
    torch.testing.assert_close(model.query(batch), torch.cat(expected), rtol=1e-4, atol=1e-5)
    together = model.query(replace(batch, ends=batch.cells))
    torch.testing.assert_close(together[batch.ends], torch.cat(expected), rtol=1e-4, atol=1e-5)


def alone_in_a_row(items: Tensor) -> Batch:
    """A window of six places that holds these items."""
    history = Sequences(items.int(), torch.tensor([0, len(items)]), torch.tensor([0]), ITEMS)
    return windows(history, torch.tensor([0]), torch.tensor([len(items)]), length=6, with_targets=False)


def test_what_was_not_trained_on_is_judged_so_in_the_histories_of_another_log() -> None:
    """An item that another gave way to after the training was never counted, and the rest of its history was."""
    log, _ = planted_log(kind="uniform", share=0.2, users=60, length=12)
    model = aware(log, drop_below=0.0)
    items = log.sequences.items.clone()
    items[5] = next(item for item in range(1, ITEMS + 1) if item not in items[:12])
    other = replace(log.sequences, items=items)

    def judged(histories: Sequences) -> list[float]:
        """All that is known of the first user."""
        batch = windows(histories, torch.tensor([0]), torch.tensor([12]), length=12, with_targets=False)
        assert model.noise is not None
        return batch.events(model.noise.keep(batch)).tolist()

    counted = training_part(other)
    counted[5] = False
    found = judged(other.read_after(log.sequences))
    assert found == judged(replace(other, trained=counted))
    assert judged(other)[5] < found[5] - 0.01


def test_compacting_keeps_the_last_of_what_is_left(make_log: MakeLog) -> None:
    """Of windows as they stand, and of what each of their events sees."""
    log = make_log(lengths=[9, 4, 12, 5, 3])
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)
    users, stops = torch.tensor([3, 0, 2, 4, 1]), torch.tensor([4, 7, 9, 0, 3])
    batch = windows(log.sequences, users, stops, length=9, with_targets=False)
    kept = torch.rand(batch.items.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    nothing_left = int(batch.ends[4])
    kept.view(-1)[nothing_left - 2 : nothing_left + 1] = False
    assert batch.times is not None
    for ends in (batch.ends, batch.cells):
        packed = compacted(replace(batch, ends=ends), kept, length=4)
        assert packed.times is not None
        for end, new_end in zip(ends.tolist(), packed.ends.tolist(), strict=True):
            row, segment = end // 9 * 9, int(batch.segments.view(-1)[end])
            seen = [cell for cell in range(row, end + 1) if segment and batch.segments.view(-1)[cell] == segment]
            left = ([cell for cell in seen if kept.view(-1)[cell]] or seen)[-4:]
            own = slice(new_end - len(left) + 1, new_end + 1)
            assert packed.times.view(-1)[own].tolist() == batch.times.view(-1)[left].tolist()
            assert packed.items.view(-1)[own].tolist() == batch.items.view(-1)[left].tolist()
            assert packed.positions.view(-1)[own].tolist() == list(range(4 - len(left), 4))
            assert len(set(packed.segments.view(-1)[own].tolist())) <= 1
        assert sorted(packed.cells.tolist()) == torch.nonzero(packed.segments.flatten()).squeeze(1).tolist()


def test_with_nothing_to_do_it_is_the_backbone_to_the_bit(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    idle = {"noise_model": "co-occurrence", "drop_below": 0.0, "target_power": 0.0}
    plain = trained(build(SMALL, 30, seed=3), log)
    for settings in (idle, {"robust": "truncated", "truncate": 0.0}):
        config = ModelConfig.from_dict(SMALL.to_dict() | settings)
        for one, other in zip(plain, trained(build(config, 30, seed=3), log), strict=True):
            assert torch.equal(one, other)
    judged = build(ModelConfig.from_dict(SMALL.to_dict() | idle | {"target_power": 1.0}), 30, seed=3)
    (batch,) = training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))
    sure = replace(batch, target_keep=torch.ones_like(batch.real[:, :, 0]))
    losses = [
        model.loss(shown, draws_for(log.sequences))
        for model, shown in ((build(SMALL, 30, seed=3), batch), (judged, sure))
    ]
    assert torch.equal(losses[0].objective(), losses[1].objective())


def test_corrupted_inputs_are_as_many_as_asked_for_and_targets_stay(make_log: MakeLog) -> None:
    settings = {"length": 60, "corrupt_inputs": 0.25}
    batch, shown = with_corrupted_inputs(ModelConfig.from_dict(SMALL.to_dict() | settings), make_log(lengths=[80] * 40))
    assert torch.equal(shown.targets, batch.targets)  # type: ignore[arg-type]
    changed = (shown.items != batch.items).float().mean()
    assert float(changed) == pytest.approx(0.25 * 29 / 30, abs=0.03)


def test_what_is_masked_stays_masked_where_inputs_are_corrupted(make_log: MakeLog) -> None:
    """Else BERT4Rec would be asked for an item where another stands, and not where none does."""
    log = make_log(lengths=[80] * 40)
    settings = {"backbone": "bert4rec", "length": 60, "corrupt_inputs": 0.25}
    batch, shown = with_corrupted_inputs(ModelConfig.from_dict(SMALL.to_dict() | settings), log)
    masked = (
        torch.zeros_like(batch.items, dtype=torch.bool).view(-1).index_fill(0, batch.cells, True).view_as(batch.items)
    )
    assert bool((shown.items == 31)[masked].all())
    assert bool((shown.items <= 30)[~masked].all())
    changed = (shown.items != batch.items)[~masked & (batch.segments > 0)].float().mean()
    assert float(changed) == pytest.approx(0.25 * 29 / 30, abs=0.04)


def test_a_stored_model_ranks_as_the_trained_one(tmp_path: Path) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    config = ModelConfig.from_dict(SMALL.to_dict() | {"noise_model": "co-occurrence", "spare": 3})
    model = build(config, ITEMS, seed=1)
    model.prepare(log.sequences)
    save_model(model, config, tmp_path, item_count=ITEMS)
    assert_same_ranks(model, load_model(tmp_path), log)


def test_a_training_goes_on_where_it_was_and_comes_out_the_same(tmp_path: Path) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    settings = {"noise_model": "co-occurrence", "robust": "truncated", "truncate_ramp": 3, "corrupt_inputs": 0.1}

    def training(epochs: int) -> Training:
        model = build(ModelConfig.from_dict(SMALL.to_dict() | settings), ITEMS, seed=1)
        return Training(
            model, log, log, TrainingConfig(epochs=epochs, batch_size=16),
            seed=1, evaluation_seed=0, device=torch.device("cpu"),
        )  # fmt: skip

    whole = training(4)
    whole.run(checkpoint=None, on_epoch=lambda _: None)
    training(2).run(checkpoint=tmp_path / "c.pt", on_epoch=lambda _: None)
    resumed = training(4)
    resumed.run(checkpoint=tmp_path / "c.pt", on_epoch=lambda _: None)
    assert [epoch.metrics["train.loss"] for epoch in whole.progress.history] == [
        epoch.metrics["train.loss"] for epoch in resumed.progress.history
    ]
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("settings", [{"cleaning": "sampled"}, {"drop_events": 0.25}], ids=["sampled", "dropped"])
def test_what_an_epoch_leaves_of_a_log_keeps_its_time_and_its_user(backbone: str, settings: dict[str, Any]) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    model = aware(log, backbone=backbone, user_dim=4, length=30, **settings)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    numbers = torch.arange(len(verdict))
    numbered = replace(log.sequences, items=numbers.int() + 1, times=numbers**2)  # each event has an item of its own
    model._cleaned = (numbered, replace(numbered, keep=verdict))
    order = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(numbered, batch_size=60, generator=order, draws=draws_for(log.sequences))
    assert batch.targets is not None
    assert batch.times is not None
    assert batch.keep is not None
    real = batch.segments > 0
    masks = backbone == "bert4rec"
    events = (batch.targets if masks else batch.items)[real] - 1
    assert 0.6 * 60 * 28 < len(set(events.tolist())) < 0.9 * 60 * 28
    assert torch.equal(batch.users[real], events // 30)
    assert torch.equal(batch.times[real], events**2)
    hidden = torch.zeros_like(real).flatten().index_fill(0, batch.cells, masks).view_as(real)[real]
    assert torch.equal(batch.keep[real], torch.where(hidden, 1.0, verdict[events]))
    assert torch.equal(batch.items[real][hidden], torch.full((int(hidden.sum()),), ITEMS + 1))
    if not masks:
        following = batch.targets[real] - 1
        assert torch.equal(following // 30, events // 30)
        goes_on = batch.segments[:, 1:] == batch.segments[:, :-1]
        assert torch.equal(batch.targets[:, :-1][goes_on & real[:, 1:]], batch.items[:, 1:][goes_on & real[:, 1:]])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    "settings", [{"robust": "symmetric"}, {"cleaning": "sampled", "drop_events": 0.25}], ids=["robust", "drawn"]
)
def test_every_backbone_trains_beside_it_and_ranks_as_stored(
    backbone: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)
    common = {"backbone": backbone, "noise_model": "co-occurrence", "user_dim": 4}
    config = ModelConfig.from_dict(SMALL.to_dict() | common | settings)
    model, untrained = (build(config, ITEMS, seed=1, user_count=30) for _ in range(2))
    training = Training(
        model, log, log, TrainingConfig(epochs=1), seed=1, evaluation_seed=0, device=torch.device("cpu")
    )
    training.run(checkpoint=None, on_epoch=lambda _: None)
    assert torch.isfinite(model.item_table()).all()
    assert not torch.equal(model.item_table(), untrained.item_table())
    save_model(model, config, tmp_path, item_count=ITEMS, user_count=30)
    assert_same_ranks(model, load_model(tmp_path), log)


def test_a_verdict_that_leaves_nothing_is_refused() -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    model = aware(log, drop_below=0.5)
    assert model.noise is not None
    model.noise.verdict = lambda sequences: torch.zeros(len(sequences.items))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="leaves no user two interactions"):
        model.prepare(replace(log.sequences))


def assert_same_ranks(one: Recommender, other: Recommender, log: InteractionLog) -> None:
    """In every protocol, and not all the same."""
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    ranks, others = (rank(model, log.sequences, targets, protocol) for model in (one, other))
    assert len(set(ranks["full_unseen"].tolist())) > 1
    for name, values in ranks.items():
        np.testing.assert_array_equal(values, others[name])


def batch_of(model: NoiseAware, log: InteractionLog) -> Batch:
    """A training batch of all users."""
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(
        log.sequences, batch_size=log.sequences.user_count, generator=generator, draws=draws_for(log.sequences)
    )
    return batch


def aware(log: InteractionLog, **settings: Any) -> NoiseAware:
    config = {"noise_model": "co-occurrence", "reach": 3, "spare": 0, "target_power": 0.0, **settings}
    users = log.sequences.user_count
    model = build(ModelConfig.from_dict(SMALL.to_dict() | config), ITEMS, seed=1, user_count=users)
    assert isinstance(model, NoiseAware)
    model.prepare(log.sequences)
    return model


def with_corrupted_inputs(config: ModelConfig, log: InteractionLog) -> tuple[Batch, Batch]:
    """A training batch of all users, and what the backbone is shown of it."""
    model = build(config, 30, seed=3)
    assert isinstance(model, NoiseAware)
    shown: list[Batch] = []
    encode = model.base.backbone.encode

    def recording(batch: Batch, **options: Any) -> Tensor:
        shown.append(batch)
        return encode(batch, **options)

    model.base.backbone.encode = recording  # type: ignore[method-assign]
    batch = batch_of(model, log)
    model.loss(batch, draws_for(log.sequences))
    return batch, shown[0]


def trained(model: Recommender, log: InteractionLog) -> list[Tensor]:
    """The queries and weights after a step of Adam."""
    model.prepare(log.sequences)
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=8, generator=generator, draws=draws)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2))
    model.loss(batch, draws).objective().backward()
    optimizer.step()
    return [model.query(batch).detach(), *(value.detach() for value in model.parameters())]
