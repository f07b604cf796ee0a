"""A new model beside a champion of other data: asked on the same targets, and who is kept."""

import json
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from models.catalogue import build
from models.config import ModelConfig
from models.description import WEIGHTS_FILE
from models.engine.metrics import gains
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, load_log
from models.recommender import Recommender
from models.serving import CATALOGUE_FILE, Server
from models.storage import save_model
from models.translated import translated_ranks
from tasks import promotion
from tasks import register as registry
from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.home import Home
from tasks.ingest import ingest
from tasks.promotion import Comparison
from tasks.register import Registered, catalogue, register
from tasks.sequences import export_log
from tasks.served import served
from tasks.snapshots import Snapshot
from tasks.sources.source import log_of
from tasks.track import Tracker
from tasks.train import Trained

Rows = list[tuple[str, str]]
ITEMS = 300


def walks(length: int) -> Rows:
    """200 users who go from an item to the next of a ring, and leap now and then: longer walks begin as shorter do."""
    draws, rows = random.Random(0), []
    for user in range(200):
        place = draws.randrange(ITEMS)
        for event in range(12):
            if event < length:
                rows.append((f"u{user}", f"i{place}"))
            place = (place + 1 if draws.random() < 0.9 else draws.randrange(ITEMS)) % ITEMS
    return rows


def grown() -> Rows:
    """What the champion learned from, and two days more with items that it does not know."""
    rows = walks(12)
    return [
        (user, f"new{number % 9}" if number % 12 == 11 and not number % 5 else item)
        for number, (user, item) in enumerate(rows)
    ]


def half_of_the_users() -> Rows:
    return [row for row in walks(12) if int(row[0][1:]) % 2]


def half_of_the_rows() -> Rows:
    draws = random.Random(5)
    return [row for row in walks(12) if draws.random() < 0.5]


def half_of_the_items_shuffled() -> Rows:
    draws, rows = random.Random(5), walks(12)
    shuffled = [item for _, item in rows]
    draws.shuffle(shuffled)
    return [(user, other if draws.random() < 0.5 else item) for (user, item), other in zip(rows, shuffled, strict=True)]


def without_the_last_half() -> Rows:
    return walks(6)


@dataclass(frozen=True)
class Made:
    """A log, what was learned from it, and where the model and its ranks of the promotion targets lie."""

    snapshot: Snapshot
    log: InteractionLog
    model: Recommender
    trained: Trained
    ranks: Path

    @property
    def figure(self) -> float:
        return float(gains(self.promoted["rank_full_unseen"].to_numpy(), 10).mean())

    @property
    def promoted(self) -> pd.DataFrame:
        """The ranks of the promotion targets, in their order."""
        return pd.read_parquet(self.ranks).query("split == 'promotion'").sort_values("target")


Make = Callable[..., Made]


@pytest.fixture(scope="module")
def make(mlflow_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`make(rows)` ingests a log and counts its Markov chain, once a log; with `backbone`, another, untrained model."""

    def made(
        rows: Rows, *, backbone: str = "markov-chain", spelt: str = "{}", promotion: float = 0.5, timed: bool = False
    ) -> Made:
        folder = tmp_path_factory.mktemp("made")
        path = folder / "log.csv"
        lines = [f"{user},{spelt.format(item)},{1_000_000 + number}" for number, (user, item) in enumerate(rows)]
        path.write_text("user_id,item_id,ts\n" + "\n".join(lines) + "\n", encoding="utf-8")
        source = SourceSpec(path=str(path), columns=Columns(time="ts") if timed else Columns())
        snapshot = ingest(log_of(source, path), PrepareSpec(promotion=promotion), home=mlflow_home)
        log = load_log(export_log(snapshot, home=mlflow_home))
        config = ModelConfig(backbone=backbone, dim=8, length=6)
        model = build(config, snapshot.counts.items, seed=1, user_count=snapshot.counts.users)
        if backbone == "markov-chain":
            model.prepare(log.sequences)
        save_model(model, config, folder, item_count=snapshot.counts.items, user_count=snapshot.counts.users)
        targets = log.targets["promotion"]
        ranks = rank(model, log.sequences, targets, Protocol.of(log.sequences, targets, seed=0))["full_unseen"]
        numbers = np.arange(len(targets))[::-1]
        columns = {
            "target": numbers,
            "split": "promotion",
            "user": targets.users[numbers.copy()],
            "rank_full_unseen": ranks[numbers],
        }
        other = {"target": [10**6], "split": ["test"], "user": [0], "rank_full_unseen": np.zeros(1, dtype=np.float32)}
        pd.concat([pd.DataFrame(columns), pd.DataFrame(other)]).to_parquet(folder / "ranks.parquet")
        return Made(snapshot, log, model, Trained(folder), folder / "ranks.parquet")

    return made


@pytest.fixture(scope="module")
def old(make: Make) -> Made:
    return make(walks(10))


@pytest.fixture(scope="module")
def log_once(mlflow_home: Home) -> Callable[[Made], str]:
    """The id of a model's files in MLflow, which are put there once, as `register` does."""
    tracker, _log_model = Tracker(mlflow_home), registry._log_model
    found: dict[Path, str] = {}

    def logged(made: Made) -> str:
        folder = made.trained.folder
        if folder not in found:
            run_id = tracker.open_run(f"key-{folder}", name="logged")
            found[folder] = _log_model(
                made.trained,
                made.snapshot,
                name="walks",
                called="walks",
                run_id=run_id,
                tracker=tracker,
                home=mlflow_home,
            )
        return found[folder]

    return logged


Offer = Callable[..., Registered]


@pytest.fixture
def offer(mlflow_home: Home, log_once: Callable[[Made], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """`offer(key, made)` registers under a name of the test's own. Who is no champion is never asked: its files in
    MLflow are those that the champion has.
    """
    tracker = Tracker(mlflow_home)
    run_id = tracker.open_run(f"key-{tmp_path.name}", name=tmp_path.name)
    first: list[Made] = []

    def run(key: str, made: Made, *, split: str = "promotion", **how: Any) -> Registered:
        first.append(made)
        monkeypatch.setattr(registry, "_log_model", lambda *_, **__: log_once(first[0]))
        return register(
            made.trained, made.snapshot, clean=made.snapshot, name=f"walks-{tmp_path.name}", key=key, value=made.figure,
            decided_on=split, ranks=made.ranks, tags={}, run_id=run_id, tracker=tracker, home=mlflow_home, **how,
        )  # fmt: skip

    return run


def test_where_the_log_has_grown_the_model_that_is_as_good_takes_over(offer: Offer, make: Make, old: Made) -> None:
    assert offer("old", old).reason == "first"
    new = make(grown())
    registered = offer("new", new)
    assert (registered.version, registered.alias, registered.reason) == ("2", "champion", "as good")
    compared = registered.comparison
    assert compared is not None
    assert compared.version == "1"
    assert compared.value == pytest.approx(new.figure, abs=1e-12)
    assert compared.champion_value is not None
    assert compared.champion_value > 0.5, "the champion is asked in its own numbers"
    assert compared.learned == 0
    assert "is not significantly better on the same targets: " in registered.told
    assert f"version 1 has {compared.champion_value:.4f}, the difference is" in registered.told


@pytest.mark.parametrize(
    "rows", [half_of_the_users, half_of_the_rows, half_of_the_items_shuffled, without_the_last_half]
)
def test_a_model_of_a_broken_log_does_not_take_the_champions_place(
    offer: Offer, make: Make, old: Made, mlflow_home: Home, rows: Callable[[], Rows]
) -> None:
    offer("old", old)
    broken = make(rows())
    registered, learned = offer("broken", broken), learned_by(old, broken)
    assert (learned > 0) == (rows in (half_of_the_rows, without_the_last_half))
    compared = registered.comparison
    assert compared is not None
    assert (registered.version, registered.alias, registered.reason) == ("2", "challenger", "worse")
    assert compared.low is not None
    assert compared.high is not None
    assert compared.value is not None
    assert compared.champion_value is not None
    assert compared.low < compared.value - compared.champion_value < compared.high < 0
    assert compared.learned == learned
    assert f"95 % interval −{-compared.low:.4f} to −{-compared.high:.4f}, {compared.users} users" in registered.told
    assert ("it was trained on" in registered.told) == bool(learned)
    client = Tracker(mlflow_home).client
    assert str(client.get_model_version_by_alias(registered.name, "champion").version) == "1"


def test_a_worse_model_of_a_log_that_has_grown_does_not_take_the_champions_place(
    offer: Offer, make: Make, old: Made
) -> None:
    offer("old", old)
    assert offer("worse", make(grown(), backbone="sasrec")).reason == "worse"
    assert offer("better", make(grown())).reason == "as good", "it is compared with the champion, not the challenger"
    assert offer("worse", make(grown(), backbone="sasrec")).reason == "not better"


def test_a_rerun_asks_no_champion_again(offer: Offer, make: Make, old: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    offer("old", old)
    new, broken = make(grown()), make(half_of_the_users())
    kept = offer("broken", broken)
    with monkeypatch.context() as killed:
        killed.setattr(registry, "_give", killed_here)
        with pytest.raises(KeyboardInterrupt):
            offer("new", new)
    monkeypatch.setattr(registry, "compared", never)
    assert offer("broken", broken) == kept
    taken_over = offer("new", new)
    assert (taken_over.reason, taken_over.alias) == ("as good", "champion")
    assert offer("new", new) == replace(taken_over, reason="standing", comparison=None)
    assert offer("broken", broken).reason == "older", "it lost against another champion"


def test_of_two_at_once_the_second_finds_the_first_as_the_champion(offer: Offer, make: Make, old: Made) -> None:
    offer("old", old)
    new = make(grown())
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda key: offer(key, new), ["one", "other"]))
    assert sorted((registered.reason, registered.alias) for registered in both) == [
        ("as good", "champion"),
        ("not better", "challenger"),
    ]


def test_a_persons_word_wins_and_a_rerun_leaves_it(
    offer: Offer, make: Make, old: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer("old", old)
    new, broken = make(grown()), make(half_of_the_users())
    assert offer("new", new).alias == "champion"
    monkeypatch.setattr(registry, "compared", never)
    back = offer("old", old, offered_by="person")
    assert (back.version, back.alias, back.reason, back.comparison) == ("1", "champion", "by hand", None)
    rerun = offer("new", new)
    assert (rerun.alias, rerun.reason) == ("challenger", "older"), "though it had taken its place before"
    assert offer("broken", broken, offered_by="person").alias == "champion"


def test_without_promotion_targets_the_new_one_takes_over_and_says_so(offer: Offer, make: Make, old: Made) -> None:
    offer("old", old)
    new = make(grown(), promotion=0)
    assert len(new.log.targets["promotion"]) == 0
    registered = offer("new", replace(new, ranks=old.ranks), split="validation")
    assert (registered.alias, registered.reason) == ("champion", "not compared")
    assert registered.told == (
        "it takes the place of version 1, of other data, which was not compared: this log has no promotion targets"
    )


@pytest.mark.parametrize(
    ("spelt", "told"),
    [
        ("other-{}", "it knows no item of this log"),
        ("numbers", "it knows items by text, and this log by whole numbers"),
    ],
)
def test_a_champion_of_other_ids_does_not_block(offer: Offer, make: Make, old: Made, spelt: str, told: str) -> None:
    offer("old", old)
    rows = [(user, item[1:]) for user, item in walks(12)] if spelt == "numbers" else walks(12)
    registered = offer("new", make(rows, spelt="{}" if spelt == "numbers" else spelt))
    assert (registered.alias, registered.reason) == ("champion", "not compared")
    assert registered.told.endswith(f"not compared: {told}")


def test_a_champion_that_reads_times_does_not_block_a_log_without(offer: Offer, make: Make) -> None:
    timed = make(walks(10), backbone="tisasrec", timed=True)
    offer("timed", timed)
    registered = offer("new", make(walks(12)))
    assert (registered.alias, registered.reason) == ("champion", "not compared")
    assert registered.told.endswith("not compared: it reads times, which this log does not have")


@pytest.mark.parametrize("lost", [WEIGHTS_FILE, CATALOGUE_FILE, "all"])
def test_a_champion_whose_files_are_gone_does_not_block(offer: Offer, make: Make, mlflow_home: Home, lost: str) -> None:
    name = offer("gone", make(walks(9))).name
    files = served(name, "1", home=mlflow_home).files
    held = {path: path.read_bytes() for path in files.iterdir() if lost in (path.name, "all")}
    folder = files.parent.parent
    moved = folder.with_name("moved")
    if lost == "all":
        folder.rename(moved)
    for path in held:
        path.unlink(missing_ok=True)
    try:
        registered = offer("new", make(walks(12)))
    finally:
        if lost == "all":
            moved.rename(folder)
        for path, content in held.items():
            path.write_bytes(content)
    assert (registered.alias, registered.reason) == ("champion", "not compared")
    assert f"the files of {name} version 1 are gone" in registered.told or "has lost a file" in registered.told


@pytest.mark.parametrize("damage", ["another version", "nothing", "half"])
def test_a_champion_that_this_version_cannot_read_does_not_block(
    offer: Offer, make: Make, mlflow_home: Home, damage: str
) -> None:
    name = offer("odd", make(walks(8))).name
    weights = served(name, "1", home=mlflow_home).files / WEIGHTS_FILE
    content = weights.read_bytes()
    if damage == "another version":
        torch.save({"of another version": torch.zeros(1)}, weights)
    else:
        weights.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    try:
        registered = offer("new", make(walks(12)))
    finally:
        weights.write_bytes(content)
    assert (registered.alias, registered.reason) == ("champion", "not compared")
    told = "has a damaged file" if damage == "half" else "was saved by another version of this project"
    assert f"version 1 {told}" in registered.told


def test_a_champion_whose_scores_are_not_finite_does_not_block(offer: Offer, make: Make, mlflow_home: Home) -> None:
    name = offer("diverged", make(walks(11), backbone="sasrec")).name
    weights = served(name, "1", home=mlflow_home).files / WEIGHTS_FILE
    content = weights.read_bytes()
    torch.save({key: each * torch.nan for key, each in torch.load(weights).items()}, weights)
    try:
        registered = offer("new", make(walks(12)))
    finally:
        weights.write_bytes(content)
    assert registered.told.endswith("it cannot be asked any more: the model's scores are not finite: "
                                    "the training has diverged")  # fmt: skip


def test_the_registry_is_told_what_came_of_it(offer: Offer, make: Make, old: Made, mlflow_home: Home) -> None:
    offer("old", old)
    registered = offer("broken", make(half_of_the_users()))
    version = Tracker(mlflow_home).client.get_model_version(registered.name, "2")
    assert Comparison(**json.loads(version.tags["rec_denoiser.compared"])) == registered.comparison
    as_json = json.loads(json.dumps(registered.to_dict()))
    assert as_json["told"] == registered.told
    assert as_json["comparison"]["champion_value"] == registered.comparison.champion_value  # type: ignore[union-attr]


@pytest.mark.parametrize("backbone", ["markov-chain", "sasrec", "bert4rec", "sse-pt", "tisasrec"])
def test_the_champion_is_ranked_as_it_serves(make: Make, backbone: str) -> None:
    """Against its answers to one history after the other, in raw ids, without its ties told apart."""
    champion = make(walks(10)[:700], backbone=backbone, timed=True)
    rows = [("stranger", "i0"), *(("nobody", f"unknown{number}") for number in range(5)), *grown()[:900]]
    rows += [("nobody", "i7"), ("nobody", "i8"), ("nobody", "i9"), *(("back", f"i{n % 3}") for n in range(6))]
    log = make(rows, timed=True)
    trained = torch.arange(log.log.sequences.user_count) % 4
    found = asked(champion, log, trained=trained)
    assert len(found) == len(log.log.targets["promotion"]) > 20
    expected = slowly(champion, log, trained)
    assert np.isinf(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    # Of scores that are equal but for rounding the order is either's.
    np.testing.assert_allclose(found[np.isfinite(found)], expected[np.isfinite(expected)], atol=1.0)
    assert (found == expected).mean() > 0.95


@pytest.mark.parametrize("backbone", ["markov-chain", "sasrec"])
def test_on_its_own_log_a_champion_has_the_ranks_of_its_evaluation(make: Make, backbone: str) -> None:
    made = make(walks(10), backbone=backbone)
    found = asked(made, made, trained=made.log.sequences.train_lengths)
    np.testing.assert_array_equal(found, made.promoted["rank_full_unseen"])


def test_the_interval_is_that_of_the_users_and_the_same_each_time(make: Make, old: Made, offer: Offer) -> None:
    offer("old", old)
    new = make(half_of_the_users())
    name = offer("new", new).name
    again = promotion.compared(
        name, "1", clean=new.snapshot, ids=catalogue(new.snapshot)[0], ranks=new.ranks, decided_on="promotion",
        home=Home(old.snapshot.path.parent.parent),
    )  # fmt: skip
    assert again == offer("new", new).comparison
    champion = gains(asked(old, new), 10)
    assert again.champion_value == pytest.approx(champion.mean(), abs=1e-12)
    paired = gains(new.promoted["rank_full_unseen"].to_numpy(), 10) - champion
    half = 1.96 * paired.std(ddof=1) / len(paired) ** 0.5
    assert again.low == pytest.approx(paired.mean() - half, abs=0.04)
    assert again.high == pytest.approx(paired.mean() + half, abs=0.04)


def test_the_champion_is_told_on_which_first_events_it_was_trained(make: Make, old: Made) -> None:
    new = make(grown())
    lengths = promotion._trained(new.snapshot, old.snapshot)
    assert lengths.tolist() == [8] * 200
    assert promotion._trained(new.snapshot, None).tolist() == [0] * 200


def learned_by(champion: Made, about: Made) -> int:
    """Of how many promotion targets the champion's training part has the event, by counting one after the other."""
    there, here = raw_histories(champion), raw_histories(about)
    targets, found = about.log.targets["promotion"], 0
    raw, _ = catalogue(about.snapshot)
    users = raw_users(about)
    for number, item, length in zip(targets.users, targets.items, targets.histories, strict=True):
        user = users[int(number)]
        trained = there[user][: int(champion.log.sequences.train_lengths[raw_users(champion).index(user)])]
        wanted = raw[int(item) - 1]
        found += trained.count(wanted) > here[user][: int(length)].count(wanted)
    return found


def raw_users(made: Made) -> list[str]:
    return list(pd.read_parquet(made.snapshot.users).sort_values("user")["user_id"])


def raw_histories(made: Made) -> dict[str, list[str]]:
    raw, log = catalogue(made.snapshot)[0], made.log.sequences
    items = [raw[number - 1] for number in log.items.tolist()]
    begins = log.offsets.tolist()
    return {user: items[begins[number] : begins[number + 1]] for number, user in enumerate(raw_users(made))}


def asked(champion: Made, about: Made, *, trained: torch.Tensor | None = None) -> NDArray[np.float32]:
    if trained is None:
        trained = torch.zeros(about.log.sequences.user_count, dtype=torch.int64)
    ids, _ = catalogue(about.snapshot)
    return translated_ranks(
        serving(champion), about.log.sequences, about.log.targets["promotion"], ids=ids, trained=trained
    )


def serving(made: Made) -> Server:
    server = Server()
    ids, popularity = catalogue(made.snapshot)
    server.hold(made.model.eval(), ids=ids, popularity=popularity)
    return server


def slowly(champion: Made, about: Made, trained: torch.Tensor) -> NDArray[np.float32]:
    server, log, targets = serving(champion), about.log.sequences, about.log.targets["promotion"]
    raw, _ = catalogue(about.snapshot)
    assert log.times is not None
    ranks = []
    for user, item, length in zip(
        targets.users.tolist(), targets.items.tolist(), targets.histories.tolist(), strict=True
    ):
        begin = int(log.offsets[user])
        history = [raw[number - 1] for number in log.items[begin : begin + length].tolist()]
        table = pd.DataFrame({"history": [history], "trained": [min(int(trained[user]), length)]})
        table["times"] = [log.times[begin : begin + length].tolist()]
        answer = server.predict(None, table, {"k": len(server.ids), "exclude_seen": False})
        scores = dict(zip(answer["items"][0], answer["scores"][0], strict=True))
        target = raw[item - 1]
        rivals = [scores[other] for other in others(raw, history, target) if other in scores]
        own = scores.get(target)
        ranks.append(
            np.inf if own is None else sum(each > own for each in rivals) + sum(each == own for each in rivals) / 2
        )
    return np.array(ranks, dtype=np.float32)


def others(raw: Sequence[str], history: Sequence[str], target: str) -> set[str]:
    """What of a log competes with a target."""
    return set(raw) - set(history) - {target}


def killed_here(*_: Any) -> None:
    raise KeyboardInterrupt


def never(*_: Any, **__: Any) -> Comparison:
    raise AssertionError("a champion is asked")
