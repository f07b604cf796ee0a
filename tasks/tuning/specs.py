"""What a person may ask of a search."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator

from models.engine.metrics import SELECTION_METRIC
from tasks.data_specs import Seed, Spec
from tasks.sources.addresses import without_secrets_in
from tasks.specs import ExecutionSpec, FileRequest, Name


class SamplerSpec(Spec):
    """How a search draws the settings of its trials.

    kind: "random" draws each by itself; "tpe" learns from those that have ended (a tree-structured Parzen estimator)
    seed: of the draws; round: so many trials of a method are drawn together, before any of them is known
    startup: trials of a method that have to be known before "tpe" draws otherwise than at random
    """

    kind: Literal["random", "tpe"] = "tpe"
    seed: Seed = 0
    round: Annotated[int, Field(ge=1)] = 4
    startup: Annotated[int, Field(ge=1)] = 8


class TuneSpec(Spec):
    """A search for each method's best settings, as its file says it (`tasks.tuning.expand` makes trials of it).

    base: settings of every trial; methods: those that are searched; space: by setting, what is tried of it in every
    method that reads it; spaces: by method, the same for this method; trials: of each method, the first of which is the
    method as it comes; seeds: those that each trial is trained with; metric: of validation, the higher the better.
    """

    name: Annotated[Name, Field(max_length=50)]
    question: Annotated[str, Field(min_length=1)]
    base: dict[str, Any] = Field(default_factory=dict)
    methods: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1)]
    space: dict[str, Any] = Field(default_factory=dict)
    spaces: dict[str, Any] = Field(default_factory=dict)
    trials: Annotated[int, Field(ge=2, le=1000)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1,)
    metric: str = SELECTION_METRIC
    sampler: SamplerSpec = SamplerSpec()
    execution: ExecutionSpec = ExecutionSpec()

    @field_serializer("base")
    def _addresses_without_secrets(self, base: dict[str, Any]) -> Any:
        return without_secrets_in(base)

    @field_validator("seeds")
    @classmethod
    def _no_seed_twice(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is given twice")
        return seeds


class TuneRequest(FileRequest):
    """A search to be run."""
