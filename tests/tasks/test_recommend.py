"""Scoring with a registered model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.types import ParamSchema

from models.catalogue import build
from models.config import ModelConfig
from models.storage import save_model
from tasks import mlflow_store
from tasks.data_specs import LeaveOneOut, PrepareSpec, SessionSplit, SourceSpec, Split, UserSplit
from tasks.errors import InputError
from tasks.explain import held_in_registry
from tasks.home import Home
from tasks.ingest import ingest
from tasks.job import describe
from tasks.plan import Data, plan
from tasks.recommend import (
    Loaded,
    load_registered,
    offerable_by,
    raw_ids,
    read_otherwise,
    recommend_all,
    recommend_one,
    scored_by_popularity,
    training_log,
    training_snapshot,
)
from tasks.register import register
from tasks.snapshots import Snapshot
from tasks.sources.source import log_of
from tasks.specs import CellSpec, IngestSpec, RecommendSpec, named_method
from tasks.track import Tracker
from tasks.train import Trained
from tests.tasks.builders import EXECUTION
from tests.tasks.conftest import Shop


def test_one_history_of_raw_ids(shop: Shop, mlflow_home: Home) -> None:
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    assert champion.version == shop.registered.version
    known = str(champion.model.predict(pd.DataFrame({"history": [[]]}))["items"][0][0])
    answer = recommend_one(champion.model, (known,), k=4, exclude_seen=True)
    assert answer["basis"] == "history"
    assert len(answer["items"]) == len(answer["scores"]) == 4
    assert known not in map(str, answer["items"])
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


def test_items_that_the_model_does_not_know_are_named(shop: Shop, mlflow_home: Home) -> None:
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    known = str(model.predict(pd.DataFrame({"history": [[]]}))["items"][0][0])
    answer = recommend_one(model, ("4711", known, "4712"), k=4, exclude_seen=True)
    assert (answer["basis"], answer["unknown"]) == ("history", ["4711", "4712"])
    assert recommend_one(model, (known,), k=4, exclude_seen=True)["unknown"] == []
    assert recommend_one(model, ("4711",), k=4, exclude_seen=True)["basis"] == "popularity"


def test_the_least_and_the_greatest_whole_numbers_of_64_bits_are_ids() -> None:
    assert raw_ids(["-9223372036854775808", "9223372036854775807"], integers=True) == [-(2**63), 2**63 - 1]
    for beyond in ("-9223372036854775809", "9223372036854775808"):
        with pytest.raises(InputError, match=f"whole numbers of 64 bits, which '{beyond}' is not"):
            raw_ids([beyond], integers=True)


@pytest.mark.parametrize("shop", ["integer"], indirect=True)
@pytest.mark.parametrize("wrong", ["phone", "--5", "²", "", "1.5", "007", "1_0", " 1", "9" * 20])
def test_what_is_no_whole_number_is_said(shop: Shop, mlflow_home: Home, wrong: str) -> None:
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    with pytest.raises(InputError, match="whole numbers"):
        recommend_one(champion.model, ("1", wrong), k=3, exclude_seen=True)


def test_every_user_of_a_snapshot(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    folder = tmp_path / "recommendations"
    paths = [
        recommend_all(champion.model, shop.snapshot, folder, trained_on=None, k=k, exclude_seen=exclude_seen)
        for k, exclude_seen in ((3, True), (5, True), (3, False), (3, True))
    ]
    assert len(set(paths)) == len(list(folder.iterdir())) == 3
    rows = pd.read_parquet(paths[0])
    assert list(rows.columns) == ["user_id", "items", "scores", "basis"]
    assert sorted(rows["user_id"]) == sorted(f"u{user}" for user in range(12))
    assert [len(items) for items in rows["items"]] == [3] * 12
    assert [len(items) for items in pd.read_parquet(paths[1])["items"]] == [5] * 12
    for user, items in zip(rows["user_id"], rows["items"], strict=True):
        seen = {(int(user[1:]) * 3 + event * 5) % 20 for event in range(8)}
        assert not seen & {int(item) for item in items}


def test_lists_say_what_every_user_may_be_offered(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    """Against a pass over everything that each user is offered without them."""
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    spelt = "{:03}" if shop.snapshot.manifest.item_id_type == "string" else "{}"
    only, exclude = (
        [spelt.format(number) for number in numbers] for numbers in ((1, 4, 8, 11, 12, 15, 19, 99), (4, 77))
    )
    in_stock = tmp_path / "stock.txt"
    in_stock.write_text("\n".join(only), encoding="utf-8")

    def offered(k: int, **lists: Any) -> tuple[Path, pd.DataFrame]:
        offerable = offerable_by(champion, RecommendSpec.model_validate(lists))
        path = recommend_all(
            champion.model, shop.snapshot, tmp_path, trained_on=None, k=k, exclude_seen=True, offerable=offerable
        )
        return path, pd.read_parquet(path).set_index("user_id")

    _, everything = offered(20)
    path, left = offered(5, only_file=str(in_stock), exclude=exclude)
    lengths = set()
    for user, items in everything["items"].items():
        expected = [raw for raw in items if str(raw) in set(only) - set(exclude)][:5]
        assert list(left.loc[user, "items"]) == expected
        lengths.add(len(expected))
    assert min(lengths) < 5 == max(lengths)

    again, _ = offered(5, only=only, exclude=exclude)
    other, _ = offered(5, only=only)
    assert again == path
    assert len({path, other, offered(5)[0]}) == 3


def test_lists_and_a_history_together(shop: Shop, mlflow_home: Home) -> None:
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    spelt = "{:03}" if shop.snapshot.manifest.item_id_type == "string" else "{}"
    two, three, four = (spelt.format(number) for number in (2, 3, 4))
    offerable = offerable_by(champion, RecommendSpec(only=(two, three, four, "new"), exclude=(four, "4711")))
    assert [sentence.split(":")[0] for sentence in offerable.unknown] == ["--only", "--exclude"]
    unseen, everything = (
        recommend_one(champion.model, (two,), k=5, exclude_seen=exclude_seen, offerable=offerable)
        for exclude_seen in (True, False)
    )
    assert [str(raw) for raw in unseen["items"]] == [three]
    assert sorted(map(str, everything["items"])) == [two, three]
    assert len(unseen["scores"]) == 1


@pytest.mark.parametrize("shop", ["integer"], indirect=True)
def test_a_model_that_takes_no_lists_is_not_asked_with_one(
    shop: Shop, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would leave them out with a warning, and what may not be offered would be."""
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    before = [param for param in champion.model.metadata.get_params_schema() if param.name in ("k", "exclude_seen")]
    monkeypatch.setattr(champion.model.metadata.signature, "params", ParamSchema(before))
    with pytest.raises(InputError, match=r"version 1 was registered before models took lists .* registers it anew"):
        offerable_by(champion, RecommendSpec(exclude=("4",)))
    everything = offerable_by(champion, RecommendSpec())
    answer = recommend_one(champion.model, ("4",), k=3, exclude_seen=True, offerable=everything)
    assert len(answer["items"]) == 3


def test_the_model_takes_lists_in_the_type_of_its_ids(shop: Shop, mlflow_home: Home) -> None:
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    own, other = (4, "4") if shop.snapshot.manifest.item_id_type == "integer" else ("004", 4)
    history = pd.DataFrame({"history": [[]]})
    assert list(model.predict(history, params={"only": [own]})["items"][0]) == [own]
    assert own not in model.predict(history, params={"k": 20, "exclude": [own]})["items"][0]
    for name in ("only", "exclude"):
        with pytest.raises(MlflowException, match=f"Invalid parameters found.*{name}"):
            model.predict(history, params={name: [other]})
    with pytest.raises(ValueError, match="leave no item to be offered"):
        model.predict(history, params={"only": []})


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_a_model_that_reads_times_scores_a_log_without_them(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    config = ModelConfig(backbone="tisasrec", dim=8, length=6)
    save_model(
        build(config, shop.snapshot.counts.items, seed=3), config, tmp_path, item_count=shop.snapshot.counts.items
    )
    tracker = Tracker(mlflow_home)
    timed = register(
        Trained(tmp_path), shop.snapshot, clean=shop.snapshot, name="model-timed", key="timed", value=0.5,
        decided_on="promotion", ranks=tmp_path, tags={}, run_id=tracker.open_run("key-timed", name="timed"),
        tracker=tracker, home=mlflow_home,
    )  # fmt: skip
    model = load_registered(timed.name, alias="champion", home=mlflow_home).model
    assert "times" in model.metadata.get_input_schema().input_names()
    rows = pd.read_parquet(
        recommend_all(model, shop.snapshot, tmp_path / "scored", trained_on=None, k=3, exclude_seen=True)
    )
    assert [len(items) for items in rows["items"]] == [3] * 12


def test_a_log_read_otherwise_than_the_models_is_told(
    ingest_file: Callable[..., Snapshot], write_log: Callable[..., Path]
) -> None:
    rows = "".join(f"u{user},i{event},{1_500_000_000 + event}\n" for user in range(4) for event in range(5))
    path = write_log("user_id,item_id,ts\n" + rows)
    trained_on, plain = ingest_file(path), IngestSpec(source=SourceSpec(path=str(path)))
    assert read_otherwise(plain, ingest_file(path), trained_as=plain, trained_on=trained_on) is None
    last = plain.model_copy(update={"prepare": PrepareSpec(duplicates="last")})
    timed = ingest_file(path, time="ts", prepare=last.prepare)
    assert read_otherwise(last, timed, trained_as=plain, trained_on=trained_on) == (
        "the log is read otherwise than the one that the model learned from "
        "(times (--time-col): yes, there none; --duplicates: last, there keep)"
    )


def test_what_was_asked_for_is_compared_and_not_what_made_the_same_content_before(
    ingest_file: Callable[..., Snapshot], write_log: Callable[..., Path]
) -> None:
    """Nobody in the first log has fewer than two events; in the one that it has become, somebody has."""
    rows = [f"u{user},i{event}\n" for user in range(4) for event in range(5)]
    path = write_log("user_id,item_id\n" + "".join(rows))
    plain = IngestSpec(source=SourceSpec(path=str(path)))
    cored = plain.model_copy(update={"prepare": PrepareSpec(user_core=2)})
    trained_on = ingest_file(path, prepare=cored.prepare)
    assert ingest_file(path) == trained_on, "of equal content, and the manifest is the first request's"
    path.write_text("user_id,item_id\n" + "".join([*rows, "new,i0\n"]), encoding="utf-8")
    grown = ingest_file(path)
    assert read_otherwise(plain, grown, trained_as=plain, trained_on=trained_on) is None
    told = read_otherwise(plain, grown, trained_as=cored, trained_on=trained_on)
    assert told is not None
    assert "(--user-core: 0, there 2)" in told


def test_what_a_champion_was_asked_to_learn_from_is_what_its_run_says(
    shop: Shop, mlflow_home: Home, tracker: Tracker
) -> None:
    champion = load_registered(shop.registered.name, alias="champion", home=mlflow_home)
    assert training_log(champion, home=mlflow_home) is None, "its run holds no spec"
    spec = CellSpec(
        source=SourceSpec(path="shop.csv"),
        prepare=PrepareSpec(user_core=2),
        method="sasrec-bce",
        model=named_method("sasrec-bce").model,
    )
    (cell,) = plan([spec], lambda _: Data(shop.snapshot, shop.snapshot), EXECUTION)
    run_id = tracker.open_run("trained", name="trained")
    describe(tracker, run_id, cell, EXECUTION)
    tracker.close_run(run_id, "FINISHED")
    assert training_log(Loaded(champion.model, champion.version, run_id), home=mlflow_home) == spec


def test_the_model_is_told_what_it_was_trained_on(
    shop: Shop, mlflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own snapshot each user's training part; in another the first events that are still those."""
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    asked: list[pd.DataFrame] = []
    predict = model.predict

    def hearing(table: pd.DataFrame, **options: Any) -> Any:
        asked.append(table)
        return predict(table, **options)

    monkeypatch.setattr(model, "predict", hearing)

    def told(snapshot: Snapshot, trained_on: Snapshot | None) -> dict[str, int]:
        path = recommend_all(model, snapshot, tmp_path, trained_on=trained_on, k=3, exclude_seen=True)
        table = asked.pop()
        counts = table["trained"] if "trained" in table else [0] * len(table)
        return dict(zip(pd.read_parquet(path)["user_id"], counts, strict=True))

    trained_on = training_snapshot(model, home=mlflow_home)
    assert trained_on == shop.snapshot
    users = pd.read_parquet(shop.snapshot.users)
    assert set(users["train_length"]) == {6}
    assert told(shop.snapshot, trained_on) == dict.fromkeys(users["user_id"], 6)
    assert told(shop.snapshot, None) == dict.fromkeys(users["user_id"], 0)

    rows = [(f"u{user}", (user * 3 + event * 5) % 20) for user in range(12) for event in range(9)]
    rows[9 + 3] = ("u1", 19)  # the fourth of its events is another one
    rows += [("new", 1), ("new", 2), ("new", 3), ("new", 4)]
    item = "{:03}" if shop.snapshot.manifest.item_id_type == "string" else "{}"
    log = tmp_path / "later.csv"
    log.write_text("\n".join(["user_id,item_id", *(f"{user},{item.format(raw)}" for user, raw in rows)]) + "\n")
    later = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=mlflow_home)
    assert told(later, trained_on) == dict.fromkeys(users["user_id"], 6) | {"u1": 3, "new": 0}


def test_who_is_offered_what_is_popular_is_counted(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    log = tmp_path / "strangers.csv"
    rows = [(user, 9000 + event) for user in ("x", "y") for event in range(4)] + [("z", 1), ("z", 2), ("z", 3)]
    spelt = "{:03}" if shop.snapshot.manifest.item_id_type == "string" else "{}"
    log.write_text("user_id,item_id\n" + "".join(f"{user},{spelt.format(item)}\n" for user, item in rows))
    strangers = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=mlflow_home)
    for snapshot, count in ((strangers, 2), (shop.snapshot, 0)):
        path = recommend_all(model, snapshot, tmp_path, trained_on=None, k=3, exclude_seen=True)
        assert scored_by_popularity(path) == count


@pytest.mark.parametrize("shop", ["integer"], indirect=True)
@pytest.mark.parametrize("split", [LeaveOneOut(), SessionSplit(), UserSplit()])
def test_users_of_one_or_two_events_are_scored_though_nobody_can_be_ranked(
    shop: Shop, mlflow_home: Home, tmp_path: Path, split: Split
) -> None:
    """Yesterday's visitors, say: to be scored takes no split."""
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\nu,4\nv,5\nv,6\n")
    snapshot = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(split=split), home=mlflow_home)
    path = recommend_all(model, snapshot, tmp_path / "scored", trained_on=shop.snapshot, k=3, exclude_seen=True)
    offered = pd.read_parquet(path).set_index("user_id")
    for user, history in (("u", ("4",)), ("v", ("5", "6"))):
        alone = recommend_one(model, history, k=3, exclude_seen=True)
        assert list(offered.loc[user, "items"]) == list(alone["items"])
        assert offered.loc[user, "scores"] == pytest.approx(alone["scores"])


def test_an_item_that_can_be_none_of_the_models_is_passed_over(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    """Else one new item whose id is no number would cost everybody their recommendations."""
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    spelt = "{:03}" if shop.snapshot.manifest.item_id_type == "string" else "{}"
    log = tmp_path / "log.csv"

    def offered(*items: str) -> pd.DataFrame:
        rows = [("u", item) for item in items] + [("v", spelt.format(number)) for number in (1, 2, 3)]
        log.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
        snapshot = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=mlflow_home)
        path = recommend_all(model, snapshot, tmp_path, trained_on=None, k=3, exclude_seen=True)
        return pd.read_parquet(path).set_index("user_id")

    known = [spelt.format(number) for number in (4, 5, 6)]
    without, beside = offered(*known), offered(known[0], "brand-new", *known[1:])
    assert list(beside.loc["u", "items"]) == list(without.loc["u", "items"])
    assert beside.loc["u", "scores"] == pytest.approx(without.loc["u", "scores"])


def test_a_log_of_which_the_model_knows_nothing_is_refused(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    model = load_registered(shop.registered.name, alias="champion", home=mlflow_home).model
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\n" + "".join(f"u{n % 4},{n % 9}.0\n" for n in range(40)))
    snapshot = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=mlflow_home)
    folder = tmp_path / "scored"
    with pytest.raises(InputError, match="knows no item of this log"):
        recommend_all(model, snapshot, folder, trained_on=None, k=3, exclude_seen=True)
    assert list(folder.iterdir()) == []


def test_an_mlflow_that_does_not_answer_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(mlflow_store, "SECONDS_FOR_AN_ANSWER", 0.1)
    for ask in (
        lambda: load_registered("rec-denoiser-shop", alias="champion", home=home),
        lambda: held_in_registry("rec-denoiser-shop", home=home),
    ):
        with pytest.raises(InputError, match=r"no MLflow server answers at http://127\.0\.0\.1:9"):
            ask()


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_a_version_whose_files_are_gone_is_not_called_absent(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    client = Tracker(mlflow_home).client
    client.create_registered_model("rec-denoiser-gone")
    version = client.create_model_version("rec-denoiser-gone", (tmp_path / "nowhere").as_uri(), run_id=shop.run_id)
    client.set_registered_model_alias("rec-denoiser-gone", "champion", version.version)
    for ask in (
        lambda: load_registered("rec-denoiser-gone", alias="champion", home=mlflow_home),
        lambda: held_in_registry("rec-denoiser-gone", home=mlflow_home),
    ):
        with pytest.raises(InputError, match="the files of rec-denoiser-gone version 1 are gone"):
            ask()


@pytest.mark.parametrize(("name", "alias"), [("absent", "champion"), ("model-string", "absent"), ("absent", "no such")])
def test_a_model_that_is_not_there_is_said(shop: Shop, mlflow_home: Home, name: str, alias: str) -> None:
    with pytest.raises(InputError, match=r"run the main job .* those that are registered: .*model-string"):
        load_registered(name, alias=alias, home=mlflow_home)
