"""What a person may ask of data: which log, how it is prepared, what noise is put in and what is left out.

Steps that make data import these and nothing of methods and trainings: what is new there makes no data anew. A spec's
canonical JSON is part of the step keys, so a field that changes no result (a path's spelling, a label for the screen)
does not belong in one.
"""

from typing import Annotated, Literal

from pydantic import Field, field_serializer

from tasks.frozen import Frozen
from tasks.sources.addresses import without_secrets


class Spec(Frozen):
    """What a person may ask for: validated before anything runs."""


Ratio = Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class ShoppersSpec(Spec):
    """The generated log of shoppers (see `tasks.shoppers`)."""

    users: Annotated[int, Field(ge=10)] = 2_000
    items: Annotated[int, Field(ge=50)] = 1_000
    seed: Seed = 7


class Columns(Spec):
    """Which columns of a log hold what. `None` where the log has no such column."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None
    order: str | None = None
    rating: str | None = None
    noise: str | None = None


class SourceSpec(Spec):
    """An interaction log.

    `path` is a file, a pattern of files ("logs/2024-*.csv.gz"), an address (http, https or s3) or the name of a known
    public data set (see `tasks.sources.source`); without one the generated shoppers are used. Within a user, events are
    ordered by `columns.time`, then `columns.order`, then their place in the file. `format` is one of those in
    `tasks.sources.formats` (where it is checked), "interactions" for named columns; None where it is to be recognised.
    """

    path: str | None = None
    format: str | None = None
    columns: Columns = Columns()
    shoppers: ShoppersSpec = ShoppersSpec()

    @field_serializer("path")
    def _path_without_secrets(self, path: str | None) -> str | None:
        # Specs are written into manifests, runs and Prefect's records.
        return None if path is None else without_secrets(path)


class LeaveOneOut(Spec):
    """Of each user the last event for test, the one before it for validation, the rest to train on.

    `min_events`: a user with fewer trains and is not ranked.
    """

    kind: Literal["leave-one-out"] = "leave-one-out"
    min_events: Annotated[int, Field(ge=3)] = 3


class SessionSplit(Spec):
    """Whole users (sessions) in the order of their first events: the first part trains, the next validates, the last
    tests, and every prefix of a held-out one is a target (DreamRec's protocol is 8:1:1).
    """

    kind: Literal["sessions"] = "sessions"
    validation: Share = 0.1
    test: Share = 0.1


class TemporalSplit(Spec):
    """Two moments that part all users' events: before the first to train on, between them validation, from the second
    on test. The shares are of the events.

    `targets`: which of a user's events between the moments are predicted from all that came before them.
    """

    kind: Literal["temporal"] = "temporal"
    validation: Share = 0.1
    test: Share = 0.1
    targets: Literal["first", "last", "every"] = "first"


class UserSplit(Spec):
    """Whole users drawn by their ids: some train, others validate, others test.

    `targets`: which events of a held-out user are predicted from all that came before them.
    """

    kind: Literal["users"] = "users"
    validation: Share = 0.1
    test: Share = 0.1
    targets: Literal["last", "every"] = "last"


Split = Annotated[LeaveOneOut | SessionSplit | TemporalSplit | UserSplit, Field(discriminator="kind")]


class PrepareSpec(Spec):
    """How a log becomes sequences and targets.

    `min_rating`: events rated lower are dropped, before all else. `duplicates`: which of a user's events are dropped:
    none ("keep"), those that repeat item and time ("exact"), those that repeat the item just before ("consecutive"),
    all but the first or the last with an item. `user_core`, `item_core`: users and items with fewer events are
    dropped, again and again until none is left; 0 takes the log as given. `promotion`: the share of the users with
    validation targets whose targets decide on promotion instead; 0 for none. `seed` is that of every draw.
    """

    min_rating: Annotated[float, Field(allow_inf_nan=False)] | None = None
    duplicates: Literal["keep", "exact", "consecutive", "first", "last"] = "keep"
    user_core: Annotated[int, Field(ge=0)] = 0
    item_core: Annotated[int, Field(ge=0)] = 0
    split: Split = LeaveOneOut()
    promotion: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = 0.2
    seed: Seed = 0


NoiseKind = Literal["replace", "popular", "insert", "delete", "swap", "burst", "sharing", "bots"]


class CorruptSpec(Spec):
    """Noise put into a snapshot on purpose, never into a target nor into what follows a user's first one.

    With N open events (of each user those before the first target, all where there is none), `ratio` is for

    - replace, popular, swap, delete: the share of the N that are touched, so round(ratio * N) events, for swap in
      whole pairs;
    - insert, burst, sharing, bots: the share of noise among the open events that there are afterwards, so
      round(ratio / (1 - ratio) * N) events more.

    What is noise at a ratio is the same noise at a larger one. The kinds are the files of `tasks.corruption`.

    taken_out: all of it has been found and left out again, as by an oracle. What was put in is as if it had never been;
    what was replaced, swapped or deleted is lost all the same. A user keeps one open event, be it noise: a target has a
    history.
    """

    kind: NoiseKind = "replace"
    ratio: Ratio = 0.0
    seed: Seed = 0
    taken_out: bool = False


NO_FILTER = "none"


class FilterSpec(Spec):
    """What is left out of a log before it is trained on and ranked with.

    by: the noise model that judges each interaction that may be trained on, "none" for no filter. below: those less
    likely to be genuine are left out. reach: how many events to each side of one are its neighbours. folds: into so
    many parts users are drawn, each judged by what was learned of the others; 1 to judge a log by what was learned of
    it. seed: of that draw, and of the noise that the model learns from.
    """

    by: Literal["none", "co-occurrence", "own-score", "popularity"] = "none"
    below: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5
    reach: Annotated[int, Field(ge=1, le=1_000)] = 8
    folds: Annotated[int, Field(ge=1, le=20)] = 1
    seed: Seed = 0
