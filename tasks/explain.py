"""Why a model offers what it offers: the score that each event of a history lends an item, and what attention did.

An event's influence on an item is what the item's score loses when the model is asked again without the event. That is
an intervention: it says what the answer depends on. Attention weights are shown beside it, and say less.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sql
from models.config import NO_GATE
from models.description import described
from tasks.engine import engine
from tasks.errors import InputError
from tasks.home import Home
from tasks.kept import kept_training
from tasks.mlflow_store import connect, unreadable
from tasks.offerable import EVERYTHING, Offerable
from tasks.recommend import raw_ids, registered_names
from tasks.register import CHAMPION, catalogue
from tasks.runs import SHOWN, read_run
from tasks.served import read_by_this_version, served
from tasks.snapshots import Snapshot, open_snapshot, snapshot_name
from tasks.wording import moment

if TYPE_CHECKING:
    from torch import Tensor

    from models.engine.batches import Batch
    from models.explaining import Attended
    from models.serving import History, Server

HISTORIES_AT_A_TIME = 64
GENUINE = "genuine"
_NAME = re.compile(r"(?:models:/)?(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[^/@]+))?")


@dataclass(frozen=True)
class Held:
    """A model that can be asked, and what it is. snapshot: the name of the one that it was trained on."""

    server: "Server"
    title: str
    settings: dict[str, Any]
    snapshot: str


@dataclass(frozen=True)
class Event:
    """An event of the history. label: "genuine", a kind of noise, or None where nothing is known; time: microseconds
    since 1970, None where there are no times; is_known: whether the model knows the item; place: in what the model
    looks back at, from 1, None where it does not; keep: how likely a noise model in it takes the event to be genuine,
    None where it does not judge. One that is judged and has no place was left out. attention_place: likewise among the
    places of its attention, which are fewer where neighbours look at more than a network does. is_trained: whether the
    model was trained on the event.
    """

    item: str
    time: int | None
    label: str | None
    is_known: bool
    place: int | None
    keep: float | None = None
    attention_place: int | None = None
    is_trained: bool = False

    @property
    def moment(self) -> str | None:
        """The time as ISO 8601, UTC, to the second."""
        return None if self.time is None else moment(self.time, "%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class Offer:
    """An offered item. influences: by place, what its score loses without that event; None where there is no other
    event to score with.
    """

    item: str
    score: float
    influences: tuple[float | None, ...]


@dataclass(frozen=True)
class Layer:
    """What one layer's gate does with the cells that are visible in this history. mean_keep is None where the mask is
    not learned.
    """

    open_share: float
    mean_keep: float | None


@dataclass(frozen=True)
class Explanation:
    """An answer with its reasons. basis: "history", or "popularity" where the model knows no item of the history.

    attended: None where nothing was attended to, or the model has no attention; labels: the item ids of its places, a
        mask of the model's own last
    may_be_offered: how many of the model's items lists leave, seen ones among them; None without a list
    unknown_in_lists: a sentence for each list with ids that the model does not know
    """

    model: str
    settings: dict[str, Any]
    user: str | None
    basis: str
    events: tuple[Event, ...]
    offers: tuple[Offer, ...]
    layers: tuple[Layer, ...]
    labels: tuple[str, ...]
    attended: "Attended | None"
    may_be_offered: int | None = None
    unknown_in_lists: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What the model is made of: its backbone, its loss, where that is no part of the backbone, its gate, and
        neighbours, where they have a say.
        """
        named = [f"{part} {self.settings[part]}" for part in ("loss", "gate") if part in self.settings]
        pooled = (f"nearest neighbours weigh {self.neighbour_weight:g}",) if self.neighbour_weight else ()
        return (str(self.settings["backbone"]), *named, *pooled)

    @property
    def neighbour_weight(self) -> float:
        """What nearest neighbours weigh beside the network, whose attention knows nothing of them."""
        return float(self.settings.get("neighbour_weight", 0.0))

    @property
    def has_gate(self) -> bool:
        """Whether anything, learned or not, masks its attention."""
        return bool(self.settings["gate"] != NO_GATE or self.settings.get("attention_power"))

    @property
    def is_judged(self) -> bool:
        """Whether a noise model in it judges events."""
        return any(event.keep is not None for event in self.events)

    @property
    def seen(self) -> tuple[Event, ...]:
        """The events that the model looks back at, by place."""
        return tuple(event for event in self.events if event.place is not None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON; attention by layer, head, query and key, lists in lists."""
        told = {
            "model": self.model,
            "settings": self.settings,
            "user": self.user,
            "basis": self.basis,
            "may_be_offered": self.may_be_offered,
            "unknown_in_lists": list(self.unknown_in_lists),
            "events": [asdict(event) for event in self.events],
            "offers": [asdict(offer) for offer in self.offers],
            "layers": [asdict(layer) for layer in self.layers],
        }
        if self.attended is None:
            return told | {"attention": None}
        mask, keep = self.attended.mask, self.attended.keep
        attention = {
            "places": list(self.labels),
            "before": self.attended.before.tolist(),
            "mask": None if mask is None else mask.tolist(),
            "keep": None if keep is None else keep.tolist(),
            "after": self.attended.after.tolist(),
        }
        return told | {"attention": attention}


def held_in_registry(model: str, *, home: Home) -> Held:
    """A registered model, by NAME (its champion), NAME@ALIAS or NAME/VERSION, with or without `models:/` before it.

    Raises `InputError` where there is none, where MLflow cannot be read, or this version what there is.
    """
    from mlflow.exceptions import MlflowException

    named = _NAME.fullmatch(model)
    if named is None:
        raise InputError(f"--model: {model!r} is no registered model: write NAME, NAME@ALIAS or NAME/VERSION")
    name, client = named["name"], connect(home)
    try:
        if named["version"]:
            version = client.get_model_version(name, named["version"])
        else:
            version = client.get_model_version_by_alias(name, named["alias"] or CHAMPION)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise unreadable(error, home) from None
        which = f"version {named['version']}" if named["version"] else f"alias {named['alias'] or CHAMPION}"
        known = ", ".join(registered_names(home)) or "none"
        raise InputError(f"there is no registered model {name} with the {which}; registered are: {known}") from None
    found = served(name, str(version.version), home=home)
    title = f"{name} version {version.version}"
    return Held(found.server, title, _settings(found.files), snapshot_name(found.snapshot))


def held_in_run(run: str, *, home: Home) -> Held:
    """The model that an MLflow run trained, by the beginning of the run's id.

    Raises `InputError` where there is no such run, or its weights are not kept any more.
    """
    held = read_run(run, home=home)
    shown = held.run_id[:SHOWN]
    trained = kept_training(held, home=home)
    snapshot = _snapshot(snapshot_name(held.provenance.trained_on.digest), f"the run {shown}", home=home)
    ids, popularity = catalogue(snapshot)
    from models.serving import Server
    from models.storage import load_model

    server = Server()
    title = f"run {shown} ({held.name})"
    with read_by_this_version(title):
        server.hold(load_model(trained.folder), ids=ids, popularity=popularity)
    return Held(server, title, _settings(trained.folder), snapshot.name)


def history_of(user: str, held: Held, *, home: Home) -> tuple[Event, ...]:
    """The user's events in the snapshot that the model was trained on, oldest first, targets included.

    Raises `InputError` where the snapshot is gone, or has no such user, naming those whose ids are like it.
    """
    snapshot = _snapshot(held.snapshot, held.title, home=home)
    files = {name: sql.literal(str(getattr(snapshot, name))) for name in ("interactions", "users", "items")}
    with engine() as connection:
        rows = connection.execute(sql.load("explain/history", **files), {"user": user}).fetchall()
        if not rows:
            query = sql.load("snapshots/nearest_users", users=files["users"])
            near = connection.execute(query, {"user": user}).fetchall()
            similar = ", ".join(str(raw) for (raw,) in near)
            raise InputError(
                f"the snapshot {snapshot.name} of {held.title} has no user {user!r}; the nearest ids are {similar}"
            )
    genuine = GENUINE if snapshot.manifest.labelled else None
    return tuple(
        Event(
            str(item),
            None if time is None else int(time),
            kind or genuine,
            is_known=True,
            place=None,
            is_trained=bool(is_trained),
        )
        for item, time, kind, is_trained in rows
    )


def history_given(items: Sequence[str]) -> tuple[Event, ...]:
    """Events that a person names by their items, oldest first."""
    return tuple(Event(item, None, None, is_known=True, place=None) for item in items)


def explain(
    held: Held, events: Sequence[Event], *, user: str | None, k: int, offerable: Offerable = EVERYTHING
) -> Explanation:
    """The `k` items that the model offers after the events, unseen ones as in serving, and what they rest on.
    offerable: what lists leave for this model, of which alone it offers.

    Raises `InputError` where its ids are numbers and one of the events' is not.
    """
    server = held.server
    history, numbers = _known(server, events)
    read, attended_to, keeps = _read(server, history)
    places, attention_places = (
        {numbers[at]: place for place, at in enumerate(some, start=1)} for some in (read, attended_to)
    )
    judged = {numbers[at]: keep for at, keep in keeps.items()}
    known = set(numbers)
    told = tuple(
        replace(
            event,
            is_known=number in known,
            place=places.get(number),
            keep=judged.get(number),
            attention_place=attention_places.get(number),
        )
        for number, event in enumerate(events)
    )
    may_be_offered = server.offerable(**offerable.lists)
    (offered,) = server.offers([history], k, offerable=may_be_offered)
    seen = _attended(held, history) if history else None
    influences = _influences(server, history, read, [item - 1 for item, _ in offered])
    return Explanation(
        model=held.title,
        settings=held.settings,
        user=user,
        basis="history" if history else "popularity",
        events=told,
        offers=tuple(
            Offer(str(server.ids[item - 1]), score, tuple(of_event[at] for of_event in influences))
            for at, (item, score) in enumerate(offered)
        ),
        layers=() if seen is None else _layers(seen),
        labels=() if seen is None else _labels(seen, server),
        attended=seen,
        may_be_offered=int(may_be_offered.sum()) if offerable.lists else None,
        unknown_in_lists=offerable.unknown,
    )


def _known(server: "Server", events: Sequence[Event]) -> tuple["History", list[int]]:
    """The events that the model knows as it takes them, and which of the events they are."""
    ids = raw_ids([event.item for event in events], integers=bool(server.ids) and isinstance(server.ids[0], int))
    with_times = "times" in server.model.needs and all(event.time is not None for event in events)
    history: History = []
    numbers = []
    for number, (raw, event) in enumerate(zip(ids, events, strict=True)):
        own = server.known([raw], [event.time if with_times else number], int(event.is_trained))
        history += own
        numbers += [number] * len(own)
    return history, numbers


def _read(server: "Server", history: "History") -> tuple[list[int], list[int], dict[int, float]]:
    """Which of the history's events the model looks back at, and which of them its network does, oldest first, and by
    event the probability of being genuine, where a noise model gives one.
    """
    if not history:
        return [], [], {}
    batch = server.batch([history])
    window = batch.cells[: len(batch.cells) - (server.model.appended is not None)]
    first = len(history) - len(window)
    told = {name: values.flatten()[window].tolist() for name, values in _of_events(server, batch).items()}
    read = told.get("read", [True] * len(window))
    keeps = {first + at: keep for at, keep in enumerate(told.get("genuine", []))}

    def events(chosen: Sequence[bool]) -> list[int]:
        return [first + at for at, is_chosen in enumerate(chosen) if is_chosen]

    return events(told.get("looked_at", read)), events(read), keeps


def _of_events(server: "Server", batch: "Batch") -> dict[str, "Tensor"]:
    """What the model says of the batch's events [rows, length]: how likely they are genuine, which its network reads,
    and which count, where more do.
    """
    names = ("genuine", "read", "looked_at")
    return {name: values for name, values in server.model.explain(batch).items() if name in names}


def _attended(held: Held, history: "History") -> "Attended | None":
    """None where the model has no attention."""
    from models.explaining import attended, attention_layers

    if not attention_layers(held.server.model):
        return None
    (window,) = attended(held.server.model, held.server.batch([history]))
    return window


def _influences(
    server: "Server", history: "History", read: Sequence[int], columns: Sequence[int]
) -> list[tuple[float | None, ...]]:
    """[places][columns]: what each column's score loses without the event at a place, of those that are `read`. An
    event that comes into reach in its stead counts, as it would if the event had never been.
    """
    if len(history) == 1:
        return [(None,) * len(columns)]
    if not history:
        return []
    whole = server.scores([history])[0, columns]
    without = [history[:at] + history[at + 1 :] for at in read]
    told: list[tuple[float | None, ...]] = []
    for start in range(0, len(without), HISTORIES_AT_A_TIME):
        scores = server.scores(without[start : start + HISTORIES_AT_A_TIME])[:, columns]
        told += [tuple(row) for row in (whole - scores).tolist()]
    return told


def _layers(seen: "Attended") -> tuple[Layer, ...]:
    keeps = seen.mean_keeps()
    shares = seen.open_shares()
    return tuple(Layer(share, keep) for share, keep in zip(shares, keeps or (None,) * len(shares), strict=True))


def _labels(seen: "Attended", server: "Server") -> tuple[str, ...]:
    return tuple(str(server.ids[number - 1]) if number <= len(server.ids) else "[MASK]" for number in seen.items)


def _settings(folder: Path) -> dict[str, Any]:
    """What the model reads of its configuration."""
    return described(folder).config.effective()


def _snapshot(name: str, owner: str, *, home: Home) -> Snapshot:
    path = home.snapshots / name
    if not path.exists():
        raise InputError(f"the snapshot {name} that {owner} was trained on is not in {home.snapshots} any more")
    return open_snapshot(path)
