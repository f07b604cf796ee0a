"""What a person may ask of an audit."""

from typing import Annotated

from pydantic import Field, model_validator

from tasks.specs import IngestSpec


class AuditSpec(IngestSpec):
    """A log to be audited.

    top: how many interactions, users and items are told of. clean_below: interactions whose probability of being
    genuine is less are left out of a snapshot that is written beside the log's own; None for no such snapshot.
    gain_epochs: a recommender is trained for so many epochs at most on each of the two, to see what cleaning gains;
    None for no training.
    """

    top: Annotated[int, Field(ge=1, le=10_000)] = 20
    clean_below: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    gain_epochs: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _gain_of_a_cleaned_log(self) -> "AuditSpec":
        if self.gain_epochs is not None and self.clean_below is None:
            raise ValueError("there is no cleaned log whose gain could be measured: say what is left out of it")
        return self
