"""What a person may ask of an audit."""

from typing import Annotated

from pydantic import Field

from tasks.specs import IngestSpec


class AuditSpec(IngestSpec):
    """A log to be audited.

    top: how many interactions, users and items are told of. clean_below: interactions whose probability of being
    genuine is less are left out of a snapshot that is written beside the log's own; None for no such snapshot.
    """

    top: Annotated[int, Field(ge=1, le=10_000)] = 20
    clean_below: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
