"""The tables of a study."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from models.engine.offers import OFFER_METRICS
from tasks.reporting.analysis import (
    FULL,
    HITS,
    PAIR,
    YARDSTICK,
    axis_label,
    is_loudest,
    noise_of,
    repetition,
    value_label,
)
from tasks.reporting.grid import Column, Frame, Grid, Item, Number
from tasks.reporting.methods import AS_IT_IS, log_words
from tasks.reporting.scales import signless
from tasks.reporting.sights import (
    HEADINGS,
    ROUNDING,
    Sight,
    by_dataset,
    cells_of,
    interval_words,
    judged,
    leading,
    noise_words,
    offer_means,
    oracles,
    over_words,
    place_words,
    setting_words,
    share_limits,
    sights,
    signed,
)
from tasks.reporting.trainings import MEBIBYTE
from tasks.reporting.words import both
from tasks.statistics.comparison import Against, Row
from tasks.statistics.estimates import Estimate
from tasks.statistics.paired import Effect
from tasks.study.result import Dataset, Place, StudyResult

DASH = "–"
OFFER_FORMS = ("{:.3f}", "{:.2f}", "{:.3f}")
"""How coverage, novelty and Gini index are written."""

OTHERS = (
    "p_wilcoxon",
    "p_wilcoxon_holm",
    "p_over_seeds",
    "p_wilcoxon_over_seeds",
    "d_z",
    "rank_biserial",
    "superiority",
    "share_better",
    "share_tied",
    "share_worse",
)
"""Of a comparison, what its verdict does not rest on."""

SHARES: tuple[Callable[[Effect], float], ...] = (
    lambda size: size.superiority,
    lambda size: size.better,
    lambda size: size.tied,
    lambda size: size.worse,
)


def comparisons(result: StudyResult) -> Iterator[Grid]:
    """The main tables, one a dataset and metric: every method at every place, under both protocols."""
    found = sights(result)
    several = len({sight.place.dataset for sight in found}) > 1
    for name, metrics in (("comparison", PAIR), ("hits", HITS)):
        for number, (dataset, held) in enumerate(by_dataset(found), start=1):
            yield _comparison(
                result,
                held,
                metrics=metrics,
                name=name if number == 1 else f"{name}-{number}",
                about=f" of {dataset}" if several else "",
            )


def comparison_frame(result: StudyResult) -> Frame:
    """All numbers of the comparisons, a row a method, place and metric."""
    rows: list[tuple[Number, ...]] = []
    for sight in sights(result):
        place = sight.place
        for metric, table in sight.tables.items():
            for row in table.rows:
                over, seeds, against = row.over_users, row.over_seeds, row.against
                told: tuple[Number, ...] = (None,) * (10 + len(OTHERS))
                if against is not None:
                    adjusted = against.t_adjusted
                    told = (
                        *_limits(against.shown_difference),
                        *_limits(against.shown_gain),
                        *(against.t.p, None if against.over_both is None else against.over_both.t.p),
                        *((None, None) if adjusted is None else (adjusted.p, int(adjusted.significant))),
                        *_others(against),
                    )
                rows.append(
                    (
                        place.dataset,
                        *_noise_numbers(place),
                        setting_words(place),
                        metric,
                        row.method,
                        table.reference,
                        table.targets,
                        table.users,
                        over.value,
                        over.low,
                        over.high,
                        len(row.seeds),
                        seeds.value,
                        seeds.low,
                        seeds.high,
                        *told,
                        against.verdict if against else None,
                    )
                )
    return Frame(
        (
            "dataset",
            "noise_kind",
            "noise_ratio",
            "noise_where",
            "setting",
            "metric",
            "method",
            "reference",
            "targets",
            "users",
            "mean",
            "low_users",
            "high_users",
            "seeds",
            "mean_seeds",
            "low_seeds",
            "high_seeds",
            "difference",
            "difference_low",
            "difference_high",
            "gain_percent",
            "gain_low",
            "gain_high",
            "p_over_users",
            "p_over_users_and_seeds",
            "p_holm",
            "significant",
            *OTHERS,
            "verdict",
        ),
        tuple(rows),
    )


def effects(result: StudyResult) -> Grid | None:
    """How large each difference is, and what other tests make of it: a row a place, method and protocol."""
    rows: list[tuple[Item, ...]] = []
    breaks = set()
    for sight in sights(result):
        for method in sight.methods:
            pair = sight.against(method)
            if pair is None:
                continue
            breaks.add(len(rows))
            for metric, against in zip(PAIR, pair, strict=True):
                size, adjusted = against.effect, against.wilcoxon_adjusted
                rows.append(
                    (
                        Item(place_words(sight.place, result), value=_ratio(sight.place)),
                        Item(method),
                        Item(HEADINGS[metric]),
                        _signed(size.d_z if size else None),
                        _signed(size.rank_biserial if size else None),
                        *(_percent(share(size) if size else None) for share in SHARES),
                        _p(against.t.p, against.t.reason),
                        _p(adjusted.p if adjusted else None, against.wilcoxon.reason),
                        _p(against.t_over_seeds.p, against.t_over_seeds.reason),
                    )
                )
    if not rows:
        return None
    repeated = repetition(result)
    is_repeated = any(row[-1].value is not None for row in rows)
    over_seeds = (
        f", and of the t test over {repeated}s, which has as many pairs as both have {repeated}s" if is_repeated else ""
    )
    return Grid(
        name="effects",
        caption=(
            "Each difference to the reference by user, its size and what other tests make of it; verdicts do not rest "
            "on them. d: mean over standard deviation of the differences. r: rank-biserial, from −1 to 1, of the users "
            "that differ; where most tie, a large one may rest on a handful. Superiority: the share of users for whom "
            "the method is the better, ties by half. p: of the t test over users and of Wilcoxon’s, that one corrected "
            f"by Holm{over_seeds}."
        ),
        columns=(
            Column("Place"),
            Column("Method", names=True),
            Column("Metric"),
            Column("d", numeric=True),
            Column("r", numeric=True),
            Column("Superiority", numeric=True),
            Column("Better", numeric=True),
            Column("Tied", numeric=True),
            Column("Worse", numeric=True),
            Column("p, users", numeric=True),
            Column("p, Wilcoxon", numeric=True),
            *([Column(f"p, {repeated}s", numeric=True)] if is_repeated else []),
        ),
        rows=tuple(row if is_repeated else row[:-1] for row in rows),
        breaks=frozenset(breaks),
    )


def kinds(result: StudyResult) -> Iterator[Grid]:
    """Kinds of noise × methods, where the study has several kinds: NDCG@10 in the full ranking at the most noise."""
    loud = [sight for sight in sights(result) if sight.place.noise and is_loudest(result, sight.place)]
    groups: dict[str, list[Sight]] = {}
    for sight in loud:
        groups.setdefault(repr((sight.place.dataset, sight.place.setting)), []).append(sight)
    for number, held in enumerate(groups.values()):
        if len(held) < 2:
            continue
        methods = list(dict.fromkeys(method for sight in held for method in sight.methods))
        about = ", ".join(part for part in (held[0].place.dataset, setting_words(held[0].place)) if part)
        yield Grid(
            name="kinds" if number == 0 else f"kinds-{number + 1}",
            caption=(
                f"Kinds of noise and methods on {about}: NDCG@10 in the full ranking, and the share kept of the value "
                "without noise. ▲ and ▼: significantly better or worse than the reference; ○: not significant."
            ),
            columns=(Column("Method"), *(Column(noise_words(sight.place.noise), numeric=True) for sight in held)),
            rows=tuple((Item(method), *(_kind(result, sight, method) for sight in held)) for method in methods),
        )


def gaps(result: StudyResult) -> Iterator[Grid]:
    """How much of the distance to the oracle methods close; the reason where there is none to close."""
    shares: dict[tuple[str, str], dict[str, Estimate]] = {}
    places: dict[str, Place] = {}
    for held in result.gaps:
        places[repr(held.place)] = held.place
        for gap in held.gaps:
            shares.setdefault((repr(held.place), gap.method), {})[held.metric] = gap.shown
    if shares:
        yield Grid(
            name="gap-closed",
            caption=(
                f"Gap closed, with 95 % intervals {over_words(result)}: 0 % is no better than the reference trained on "
                "the noise, 100 % as good as the oracle, which knows what is noise. There is none where the two are "
                "within two standard errors of each other."
            ),
            columns=(
                Column("Noise"),
                Column("Method", names=True),
                Column("NDCG@10, full ranking", numeric=True),
                Column("NDCG@10, 100 negatives", numeric=True),
                Column("Hit@10, 100 negatives", numeric=True),
            ),
            rows=tuple(
                (
                    Item(place_words(places[place], result), value=_ratio(places[place])),
                    Item(method),
                    *(_share(by_metric.get(metric)) for metric in YARDSTICK),
                )
                for (place, method), by_metric in shares.items()
            ),
        )


def offers(result: StudyResult) -> Grid | None:
    """What is recommended, a row a method and place: means over trainings, and the share of those without noise."""
    found = sights(result)
    means = {
        (repr(sight.place), method): offer_means(result, sight, method) for sight in found for method in sight.methods
    }
    if not any(means.values()):
        return None
    quiet = {_but_noise(sight.place): sight.place for sight in found if sight.place.noise is None}
    rows: list[tuple[Item, ...]] = []
    breaks = set()
    for sight in found:
        breaks.add(len(rows))
        base = quiet.get(_but_noise(sight.place)) if sight.place.noise else None
        for method in sight.methods:
            own, without = means[repr(sight.place), method], means.get((repr(base), method), {})
            rows.append(
                (
                    Item(place_words(sight.place, result), value=_ratio(sight.place)),
                    Item(method),
                    *(
                        _offered(own.get(metric), without.get(metric), form)
                        for metric, form in zip(OFFER_METRICS, OFFER_FORMS, strict=True)
                    ),
                )
            )
    return Grid(
        name="offers",
        caption=(
            "What is recommended, right or wrong: the first 10 items of each test target’s list, in the catalogue less "
            "what its user had interacted with. Coverage: the share of the catalogue that is in at least one list. "
            "Novelty: how few users of the clean training log have what is in the lists, the mean of −log2 of their "
            "share, in bits. Gini: how unevenly the lists take the catalogue’s items, 0 where all are taken equally "
            f"often, 1 where one alone is. Means over {repetition(result)}s; small print: the share of the value "
            "without noise. Nothing here was tested, so that a difference may be chance."
        ),
        columns=(
            Column("Place"),
            Column("Method", names=True),
            Column("Coverage@10", numeric=True),
            Column("Novelty@10, bits", numeric=True),
            Column("Gini@10", numeric=True),
        ),
        rows=tuple(rows),
        breaks=frozenset(breaks),
    )


def datasets(held: Sequence[Dataset]) -> Grid:
    """The snapshots with digests and counts."""
    names = list(dict.fromkeys(name for dataset in held for name in dataset.counts))
    shown = [name for name in names if any(dataset.counts.get(name) for dataset in held)]
    left = [log_words(taken_out=dataset.taken_out, left_by=dataset.filter) for dataset in held]
    told = any(words != AS_IT_IS for words in left)
    return Grid(
        name="datasets",
        caption="Snapshots: the digest names the content, so that the same one is the same data to the last row.",
        columns=(
            Column("Dataset"),
            Column("Noise"),
            *([Column("Holds")] if told else []),
            Column("Digest"),
            *(Column(name.replace("_", " "), numeric=True) for name in shown),
        ),
        rows=tuple(
            (
                Item(dataset.name),
                Item(noise_words(dataset.noise), value=dataset.noise.ratio if dataset.noise else 0.0),
                *([Item(words)] if told else []),
                Item(dataset.digest[:16]),
                *(_count(dataset, name) for name in shown),
            )
            for dataset, words in zip(held, left, strict=True)
        ),
    )


def sources(result: StudyResult) -> Grid | None:
    """The files that the snapshots were made of."""
    files = {(dataset.name, file.name): file for dataset in result.datasets for file in dataset.sources}
    if not files:
        return None
    return Grid(
        name="sources",
        caption="Files of the raw logs.",
        columns=(Column("Dataset"), Column("File"), Column("Bytes", numeric=True), Column("SHA-256")),
        rows=tuple(
            (Item(name), Item(file.name), Item(f"{file.bytes:,}", value=file.bytes), Item(file.sha256))
            for (name, _), file in files.items()
        ),
    )


def costs(result: StudyResult) -> Grid | None:
    """What trainings took, a row a method and place."""
    rows: list[tuple[Item, ...]] = []
    breaks = set()
    for sight in sights(result):
        breaks.add(len(rows))
        for method in sight.methods:
            held = [cell.figures for cell in cells_of(result, sight.place, method)]
            seconds = [figures.seconds for figures in held if figures.seconds is not None]
            epochs = [figures.epochs for figures in held if figures.epochs is not None]
            best = [figures.best_epoch for figures in held if figures.best_epoch is not None]
            speeds = [figures.seconds / figures.epochs for figures in held if figures.seconds and figures.epochs]
            parameters = [figures.parameters for figures in held if figures.parameters is not None]
            memory = [figures.peak_memory_bytes / MEBIBYTE for figures in held if figures.peak_memory_bytes is not None]
            rows.append(
                (
                    Item(place_words(sight.place, result), value=_ratio(sight.place)),
                    Item(method),
                    _mean(seconds, "{:,.1f}"),
                    _mean(epochs, "{:,.1f}"),
                    _mean(best, "{:,.1f}"),
                    _mean(speeds, "{:,.2f}"),
                    _mean(parameters, "{:,.0f}"),
                    _mean(memory, "{:,.0f}"),
                )
            )
    if not any(item.value is not None for row in rows for item in row[2:]):
        return None
    return Grid(
        name="costs",
        caption="What a training took, means over trainings.",
        columns=(
            Column("Place"),
            Column("Method", names=True),
            Column("Seconds", numeric=True),
            Column("Epochs", numeric=True),
            Column("Chosen epoch", numeric=True),
            Column("Seconds an epoch", numeric=True),
            Column("Parameters", numeric=True),
            Column("Peak MiB", numeric=True),
        ),
        rows=tuple(rows),
        breaks=frozenset(breaks),
    )


def failures(result: StudyResult) -> Grid | None:
    """The cells that failed, and why."""
    failed = [cell for cell in result.cells if cell.status == "failed"]
    if not failed:
        return None
    return Grid(
        name="failures",
        caption="Cells that failed; no other cell depends on them.",
        columns=(Column("Cell"), Column("Noise"), Column("Seed", numeric=True), Column("What went wrong")),
        rows=tuple(
            (
                Item(cell.label),
                Item(noise_words(noise_of(cell))),
                Item(str(cell.seed), value=cell.seed),
                Item(cell.failure or "no reason was recorded"),
            )
            for cell in failed
        ),
    )


def _comparison(result: StudyResult, held: Sequence[Sight], *, metrics: tuple[str, ...], name: str, about: str) -> Grid:
    axes = list(dict.fromkeys(axis for sight in held for axis in sight.place.setting))
    retained = {(repr(kept.place), kept.metric): kept.retentions for kept in result.retained}
    with_retention = any((repr(sight.place), FULL) in retained for sight in held)
    main = metrics == PAIR
    rows: list[tuple[Item, ...]] = []
    breaks = set()
    for sight in held:
        breaks.add(len(rows))
        kept = {entry.method: entry.shown for entry in retained.get((repr(sight.place), FULL), ())}
        for method in sight.methods:
            values = [(sight.row(metric, method), _is_best(result, sight, method, metric)) for metric in metrics]
            seeds = len(sight.row(FULL, method).seeds)
            rows.append(
                (
                    Item(noise_words(sight.place.noise), value=_ratio(sight.place)),
                    *(_axis(sight.place.setting.get(axis)) for axis in axes),
                    Item(method),
                    *(item for row, best in values for item in (_value(row, best=best), _gain(row))),
                    *((Item(both(sight, method)),) if main else ()),
                    *((_share(kept.get(method)),) if main and with_retention else ()),
                    Item(str(seeds), value=seeds),
                )
            )
    references = " or ".join(dict.fromkeys(sight.reference for sight in held))
    oracle = " except the oracle's" if oracles(result) else ""
    first, second = (HEADINGS[metric] for metric in metrics)
    repeated = repetition(result)
    return Grid(
        name=name,
        caption=(
            f"{first.split(',', 1)[0]} on the test targets{about}, under both protocols. Small print: 95 % intervals "
            f"over users; ± is the half-width of the one over {repeated}s, where these differ. Bold: the highest of "
            f"its place{oracle}. ▲ ▼: significantly better or worse than {references} (t test {over_words(result)}, "
            "Holm over all comparisons of the metric on the dataset); ○: not significant."
        ),
        columns=(
            Column("Noise"),
            *(Column(axis_label(axis)) for axis in axes),
            Column("Method", names=True),
            Column(first, numeric=True),
            Column("Gain, %", numeric=True),
            Column(second, numeric=True),
            Column("Gain, %", numeric=True),
            *((Column("Both protocols"),) if main else ()),
            *((Column("Retention", numeric=True),) if main and with_retention else ()),
            Column(f"{repeated.capitalize()}s", numeric=True),
        ),
        rows=tuple(rows),
        breaks=frozenset(breaks),
    )


def _others(against: Against) -> tuple[Number, ...]:
    """In the order of `OTHERS`."""
    size, adjusted = against.effect, against.wilcoxon_adjusted
    tests = (against.t_over_seeds.p, against.wilcoxon_over_seeds.p)
    return (
        *(against.wilcoxon.p, None if adjusted is None else adjusted.p, *tests),
        *((None, None) if size is None else (size.d_z, size.rank_biserial)),
        *(None if size is None else share(size) for share in SHARES),
    )


def _limits(found: Estimate) -> tuple[Number, ...]:
    return found.value, found.low, found.high


def _is_best(result: StudyResult, sight: Sight, method: str, metric: str) -> bool:
    """Whether a method has the highest value of its place, and rivals there."""
    return len(set(sight.methods) - oracles(result)) > 1 and method in leading(sight, metric, result)


def _value(row: Row, *, best: bool) -> Item:
    over, seeds = row.over_users, row.over_seeds
    value = over.value or 0.0
    half = (seeds.high - seeds.low) / 2.0 if seeds.low is not None and seeds.high is not None else 0.0
    told = f" ± {half:.4f}" if half > ROUNDING else ""
    return Item(f"{value:.4f}{told}", value=value, note=interval_words(over), best=best)


def _gain(row: Row) -> Item:
    if row.against is None:
        return Item(DASH)
    gain = row.against.shown_gain
    if gain.value is None:
        return Item(DASH, note=gain.reason or "")
    return Item(signed(gain.value), value=gain.value, note=interval_words(gain, "{:+.1f}"), mark=judged(row.against))


def _kind(result: StudyResult, sight: Sight, method: str) -> Item:
    if method not in sight.methods:
        return Item(DASH)
    row = sight.row(FULL, method)
    value = row.over_users.value or 0.0
    kept = next((held.retentions for held in result.retained if (held.place, held.metric) == (sight.place, FULL)), ())
    share = next((entry.share.value for entry in kept if entry.method == method), None)
    return Item(
        f"{value:.4f}",
        value=value,
        note="" if share is None else f"{100.0 * share:.1f} % kept",
        mark=judged(row.against) if row.against is not None else "",
        best=_is_best(result, sight, method, FULL),
    )


def _share(share: Estimate | None) -> Item:
    """A share in %, or why there is none."""
    if share is None or share.value is None:
        return Item(DASH, note="" if share is None else share.reason or "")
    return Item(f"{signless(f'{100.0 * share.value:.1f}')} %", value=share.value, note=share_limits(share))


def _offered(value: float | None, without: float | None, form: str) -> Item:
    """A mean, and its share of the one without noise."""
    if value is None:
        return Item(DASH)
    note = f"{100.0 * value / without:.1f} %" if without else ""
    return Item(form.format(value), value=value, note=note)


def _but_noise(place: Place) -> str:
    return repr((place.dataset, place.setting))


def _p(p: float | None, reason: str | None) -> Item:
    """A p-value, or why there is none."""
    return Item(DASH, note=reason or "") if p is None else Item("< .001" if p < 0.001 else f"{p:.3f}", value=p)


def _signed(value: float | None) -> Item:
    return Item(DASH) if value is None else Item(signed(value, 3), value=value)


def _percent(value: float | None) -> Item:
    return Item(DASH) if value is None else Item(f"{100.0 * value:.1f} %", value=value)


def _axis(value: object) -> Item:
    return Item(value_label(value), value=value if isinstance(value, int | float) else None)


def _mean(values: Sequence[float] | Sequence[int], form: str) -> Item:
    if not values:
        return Item(DASH)
    mean = fmean(values)
    return Item(form.format(mean), value=mean)


def _count(dataset: Dataset, name: str) -> Item:
    value = dataset.counts.get(name)
    return Item(DASH) if value is None else Item(f"{value:,}", value=value)


def _ratio(place: Place) -> float:
    return place.noise.ratio if place.noise else 0.0


def _noise_numbers(place: Place) -> tuple[Number, ...]:
    noise = place.noise
    return (None, 0.0, None) if noise is None else (noise.kind, noise.ratio, noise.where)
