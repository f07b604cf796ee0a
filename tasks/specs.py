"""What a person may ask for: validated before anything runs.

Every spec refuses unknown keys. A spec's canonical JSON is part of the step keys, so a
field that changes no result (a path's spelling, a label for the screen) does not belong in one.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Spec(BaseModel):
    """A frozen pydantic model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Ratio = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
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
    noise: str | None = None


class SourceSpec(Spec):
    """An interaction log.

    `path` is a file; without one the generated shoppers are used. Within a user, events are
    ordered by `columns.time`, then `columns.order`, then their place in the file.
    """

    path: str | None = None
    format: Literal["interactions", "movielens"] = "interactions"
    columns: Columns = Columns()
    shoppers: ShoppersSpec = ShoppersSpec()

    @model_validator(mode="after")
    def _movielens_names_its_own_columns(self) -> "SourceSpec":
        if self.format == "movielens" and self.columns != Columns():
            raise ValueError("the movielens format has fixed columns: leave the column options out")
        return self


class PrepareSpec(Spec):
    """How a log becomes sequences and targets.

    `k_core`: users and items with fewer interactions are dropped, again and again until none is
    left; 0 takes the log as given. `min_events`: a user with fewer events trains and is not ranked.
    """

    k_core: Annotated[int, Field(ge=0)] = 0
    split: Literal["leave-one-out"] = "leave-one-out"
    min_events: Annotated[int, Field(ge=3)] = 3


class CorruptSpec(Spec):
    """Noise put into the training part of a snapshot on purpose."""

    kind: Literal["replace"] = "replace"
    ratio: Ratio = 0.0
    seed: Seed = 0
