"""What a person may ask for beside the data (`tasks.data_specs`): methods, experiments, jobs and studies."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from models.config import NO_GATE, NO_NOISE_MODEL, NO_ROBUST_LOSS, ModelConfig, TrainingConfig
from tasks.data_specs import (
    NO_FILTER,
    CorruptSpec,
    FilterSpec,
    NoiseKind,
    PrepareSpec,
    Ratio,
    Seed,
    SourceSpec,
    Spec,
)
from tasks.own import completed, is_own, method_name
from tasks.sources.addresses import setting_without_secrets, without_secrets_in
from tasks.sources.datasets import GENERATED, named_after, nearest

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")]
CompleteModel = Annotated[ModelConfig, AfterValidator(completed)]


def _as_text(said: Any) -> Any:
    return str(said) if isinstance(said, int) and not isinstance(said, bool) else said


RawId = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]
"""A log's id for a user or an item, as text. One that is a number may be given as one, as YAML and JSON read it."""


def _or_its_name(schema: dict[str, Any]) -> None:
    """Have the schema of a method take a name alone, too, or with what is said beside it. Prefect's server and its
    forms hold parameters to it.
    """
    whole = {**schema, "required": ["name"]}
    named = {"type": "string", "title": "Named method", "enum": list(METHODS)}
    schema.clear()
    schema |= {"anyOf": [named, whole], "description": whole["description"]}


class MethodSpec(Spec):
    """A model under the name that tables show. A name in `METHODS` stands for that method, and what is said of the
    model beside it is added to what it fixes.
    """

    model_config = ConfigDict(json_schema_extra=_or_its_name)

    name: Name
    model: CompleteModel

    @model_validator(mode="before")
    @classmethod
    def _as_its_name_says(cls, said: Any) -> Any:
        said = {"name": said} if isinstance(said, str) else said
        if not isinstance(said, Mapping) or not isinstance(name := said.get("name"), str) or name not in METHODS:
            return said
        model = said.get("model", {})
        model = model.to_dict() if isinstance(model, ModelConfig) else model
        return {**said, "model": as_named(name, model)} if isinstance(model, Mapping) else said


METHODS: Mapping[str, Mapping[str, Any]] = {
    "popularity": {"backbone": "popularity"},
    "markov-chain": {"backbone": "markov-chain"},
    "v-sknn-window": {"backbone": "v-sknn"},
    "sasrec-bce": {"loss": "bce"},
    "sasrec-softmax": {"loss": "softmax"},
    "rec-denoiser": {"loss": "bce", "gate": "positional"},
    "denoised-softmax": {"loss": "softmax", "noise_model": "co-occurrence", "cleaning": "sampled"},
    "denoised-softmax-knn": {
        "loss": "softmax",
        "noise_model": "co-occurrence",
        "cleaning": "sampled",
        "neighbour_weight": 0.5,
    },
    "sasrec-softmax-knn": {"loss": "softmax", "neighbour_weight": 0.5},
    "v-sknn": {"backbone": "v-sknn", "neighbour_window": 0, "neighbours": 100},
    "rec-denoiser-published": {
        "loss": "bce",
        "gate": "positional",
        "estimator": "arm",
        "gate_logit": 0.0,
        "gate_rate": 1.0,
        "beta": 0.01,
        "beta_on": "sum",
        "gamma": 0.001,
        "jacobian_every": 1,
    },
    "contextual-gate": {
        "loss": "bce",
        "gate": "contextual",
        "estimator": "hard-concrete",
        "gate_rate": 1.0,
        "beta": 0.0,
    },
    "fixed-random-mask": {"loss": "bce", "gate": "fixed-random"},
    "head-drop": {"loss": "bce", "gate": "head-drop"},
    "layer-drop": {"loss": "bce", "gate": "layer-drop"},
    "top-k": {"loss": "bce", "gate": "top-k"},
    "sparse-transformer": {"loss": "bce", "gate": "sparse-transformer"},
    "adaptively-sparse": {"loss": "bce", "gate": "alpha-entmax"},
    "sasrec-bpr": {"loss": "bpr"},
    "sasrec-gbce": {"loss": "gbce", "negatives": 256},
    "sasrec-sampled-softmax": {"loss": "sampled-softmax", "negatives": 256},
    "denoised-bce": {"loss": "bce", "noise_model": "co-occurrence"},
    "denoised-bce-dropout": {
        "loss": "bce",
        "noise_model": "co-occurrence",
        "drop_events": 0.35,
        "target_power": 0.5,
    },
    "popularity-filter": {"loss": "bce", "noise_model": "popularity"},
    "own-score-filter": {"loss": "bce", "noise_model": "own-score"},
    "truncated-bce": {"loss": "bce", "robust": "truncated"},
    "truncated-softmax": {"loss": "softmax", "robust": "truncated"},
    "co-teaching": {"loss": "bce", "robust": "co-teaching"},
    "s-ips": {"loss": "bce", "robust": "inverse-propensity", "robust_power": 0.5},
    "corrupted-inputs": {"loss": "bce", "corrupt_inputs": 0.15},
    "event-dropout": {"loss": "softmax", "drop_events": 0.25},
    "bert4rec": {"backbone": "bert4rec", "loss": "softmax"},
    "tisasrec": {"backbone": "tisasrec", "loss": "bce"},
    "sse-pt": {"backbone": "sse-pt", "loss": "bce"},
    "cl4srec": {"loss": "bce", "contrast": 0.1},
    "fpmc": {"backbone": "fpmc", "loss": "bpr"},
    "gru4rec": {"backbone": "gru4rec", "loss": "softmax"},
    "gru4rec-bpr-max": {"backbone": "gru4rec", "loss": "bpr-max", "negatives": 256},
    "caser": {"backbone": "caser", "loss": "bce", "negatives": 3},
    "fmlp-rec": {"backbone": "fmlp-rec", "loss": "bce"},
    "fmlp-rec-causal": {"backbone": "fmlp-rec-causal", "loss": "bce"},
    "dreamrec": {"backbone": "dreamrec"},
    "diffrec": {"backbone": "diffrec", "diffrec_oldest": 1.0},
    "t-diffrec": {"backbone": "diffrec", "diffrec_oldest": 0.1},
}
"""What each named method fixes; all else is common to a job's methods. "rec-denoiser-published" is the paper's recipe
to the letter, which closes its own mask; "rec-denoiser" is the one that we repaired; "contextual-gate" sees the items
and learns from planted noise what to keep; "v-sknn" is as published, and "v-sknn-window" lets neighbours vote for what
came after the items that they share, as those of "…-knn" do, with which a network's opinion is pooled.
"""
YIELDING = ("negatives", "cleaning", "neighbours")
"""Settings of a named method that are but its defaults: what a job says of all its methods goes before them."""
PLAIN: Mapping[str, Any] = {
    "backbone": ModelConfig.backbone,
    "own": "",
    "own_noise": "",
    "gate": NO_GATE,
    "noise_model": NO_NOISE_MODEL,
    "robust": NO_ROBUST_LOSS,
    "drop_events": 0.0,
    "corrupt_inputs": 0.0,
    "contrast": 0.0,
    "neighbour_weight": 0.0,
}
"""What a named method is without, where it does not name it: with more it would no longer be what its name says. One
without a gate has no Jacobian term either."""
DEFAULT_METHODS = (
    *("popularity", "markov-chain", "v-sknn-window"),
    *("sasrec-bce", "sasrec-softmax", "rec-denoiser", "denoised-softmax", "denoised-softmax-knn"),
)
"""What a job compares where it is not told: first the baselines that a network has to beat."""


def fixed_by(name: str) -> dict[str, Any]:
    """What the method of that name fixes of its model, and its own defaults of what is `YIELDING`."""
    without = dict(PLAIN) if "gate" in METHODS[name] else {**PLAIN, "gamma": 0.0}
    return {**without, **METHODS[name]}


def as_named(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings of the method of that name with what else is said of them.

    Raises `ValueError` where that is not what the method fixes.
    """
    fixed = fixed_by(name)
    for setting, held in fixed.items():
        if setting not in YIELDING and said.get(setting, held) != held:
            raise ValueError(
                f"the method {name} fixes {setting} to {held!r}: with {said[setting]!r} it needs a name of its own"
            )
    return {**fixed, **said}


def named_method(name: str, **common: Any) -> MethodSpec:
    """The method of that name, or a recommender of a person's own as "FILE.py:NAME", over the common model settings.

    Raises `ValueError` on an unknown name or setting, and as `tasks.own.completed` does.
    """
    if is_own(name):
        return MethodSpec(name=method_name(name), model=completed(ModelConfig.from_dict({**common, "own": name})))
    if name not in METHODS:
        raise ValueError(
            f"there is no method {name!r}: choose from {', '.join(METHODS)}, or name a recommender of your own as "
            "FILE.py:NAME"
        )
    fixed = fixed_by(name).keys() - set(YIELDING)
    said = {setting: value for setting, value in common.items() if setting not in fixed}
    return MethodSpec(name=name, model=ModelConfig.from_dict(as_named(name, said)))


def effective_filter(filter: FilterSpec) -> dict[str, Any]:
    """The settings that a filter reads: two that agree in them leave the same out."""
    if filter.by == NO_FILTER:
        return {"by": NO_FILTER}
    looks_around = "reach" in ModelConfig(noise_model=filter.by).effective()
    return filter.model_dump(exclude=None if looks_around else {"reach"})


def in_percent(ratio: float) -> str:
    """A ratio in %, with all the digits that a person gave it: two that differ are not told alike."""
    return f"{100.0 * ratio:.10g}"


class InjectedNoise(Spec):
    """The noise of one experiment.

    `where`: it is in what is trained on, in the histories that targets are predicted from, or in both. `taken_out`: as
    in `CorruptSpec`, for the oracle beside which methods are measured.
    """

    kind: NoiseKind = "replace"
    ratio: Ratio = 0.0
    where: Literal["training", "histories", "both"] = "both"
    seed: Seed = 0
    taken_out: bool = False

    @property
    def corruption(self) -> CorruptSpec:
        return CorruptSpec(kind=self.kind, ratio=self.ratio, seed=self.seed, taken_out=self.taken_out)

    @property
    def kind_put_in(self) -> str:
        """The kind, "none" where there is no noise to be of it: by this runs are found and grouped."""
        return self.kind if self.ratio else "none"

    @property
    def described(self) -> str:
        """The ratio, with the kind and the place of the noise where they are not the usual ones, and whether it is
        taken out again: "20%", "20% swap in histories", "25% taken out".
        """
        usual = type(self)()
        kind = "" if self.kind == usual.kind or not self.ratio else f" {self.kind}"
        where = "" if self.where == usual.where or not self.ratio else f" in {self.where}"
        out = " taken out" if self.taken_out and self.ratio else ""
        return f"{in_percent(self.ratio)}%{kind}{where}{out}"


class NoiseSpec(Spec):
    """The noise axis of a job: one kind at several ratios, nested. `where` is that of `InjectedNoise`."""

    kind: NoiseKind = "replace"
    where: Literal["training", "histories", "both"] = "both"
    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1)] = (0.0, 0.2)
    seed: Seed = 0

    @field_validator("ratios")
    @classmethod
    def _each_once(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(ratios)) != len(ratios):
            raise ValueError("a noise ratio is given twice")
        return tuple(sorted(ratios))

    def at(self, ratio: float) -> InjectedNoise:
        return InjectedNoise(kind=self.kind, ratio=ratio, where=self.where, seed=self.seed)

    def described(self, ratio: float) -> str:
        return self.at(ratio).described


class ExecutionSpec(Spec):
    """How trainings run. `device`, `threads`, `stacked` and `compiled` can change a result in its last digits,
    `precision` in more of them.

    side_by_side: trainings at a time; None for as many as cores allow on the CPU, one on a GPU
    stacked: how many trainings, of those that differ in their data and seeds alone, are at most one stacked model
        (`models.engine.replicas`); None for what suits the device, on the CPU each alone. What a result was stacked
        with tells in its last digits; it names them.
    compiled: whether trainings whose models allow it (`ModelConfig.can_be_compiled`) have their steps compiled by
        `torch.compile`, each training alone; the others train as they are, which is said
    precision: of a training step's products of matrices (`models.config.PRECISIONS`); ranking has float32 in any case
    threads: of each training; device: "auto" takes a GPU where there is one
    time_limit_minutes: for each training; past it the job fails, and goes on from there when started again
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1)] = 1
    side_by_side: Annotated[int, Field(ge=1)] | None = None
    stacked: Annotated[int, Field(ge=1)] | None = None
    compiled: bool = False
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    time_limit_minutes: Annotated[float, Field(gt=0)] = 240.0

    @model_validator(mode="after")
    def _compiled_alone(self) -> Self:
        if self.compiled and self.stacked is not None and self.stacked > 1:
            raise ValueError("compiled trainings run each alone: leave stacked out, or compiled")
        return self


def default_training(source: SourceSpec | None) -> TrainingConfig:
    """The published settings for a person's log; for the generated one, which is small, smaller batches.

    By the name alone, for a spec says the same wherever it is read and before anything is: a snapshot of the generated
    log, which does not say that it is one, has the published settings.
    """
    generated = source is None or source.path in (None, GENERATED)
    return TrainingConfig(epochs=25, batch_size=64, learning_rate=2e-3, patience=5) if generated else TrainingConfig()


class LogSpec(Spec):
    """A log, how it is prepared, and the name that its models, reports and runs have: its source's, unless it is told.

    The generated shoppers have their own name, or another where something is said of them.
    """

    dataset: Name = GENERATED
    source: SourceSpec = SourceSpec()
    prepare: PrepareSpec = PrepareSpec()

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_source(cls, said: Any) -> Any:
        if not isinstance(said, Mapping) or "dataset" in said:
            return said
        source = said.get("source")
        path = source.get("path") if isinstance(source, Mapping) else getattr(source, "path", None)
        return {**said, "dataset": named_after(path)} if isinstance(path, str) else said

    @model_validator(mode="after")
    def _of_some_log(self) -> Self:
        """Another name alone would be that of the generated shoppers: as if a person's log were theirs."""
        told = self.source.path is not None or "shoppers" in self.source.model_fields_set
        if self.reads_a_log and not told and self.dataset != GENERATED:
            like = nearest(self.dataset)
            hint = f"; is it the public data set {like}, a source by its name?" if like else ""
            raise ValueError(f"{self.dataset!r} names a data set, and no source says which log that is{hint}")
        return self

    @property
    def reads_a_log(self) -> bool:
        """Is there a log to be read for it?"""
        return True


class TrainedSpec(LogSpec):
    """A log to be trained on. What is said of the training is said over `default_training`."""

    training: TrainingConfig = Field(default_factory=lambda given: default_training(given.get("source")))

    @field_validator("training", mode="before")
    @classmethod
    def _over_the_usual(cls, said: Any, info: ValidationInfo) -> Any:
        return default_training(info.data.get("source")).to_dict() | said if isinstance(said, dict) else said


def _check_rows(training: TrainingConfig, method: str, model: ModelConfig) -> None:
    """Raises `ValueError` where touched rows alone are to be updated of a table that every step reads whole."""
    try:
        training.touches_rows(0, possible=not model.reads_whole_table)
    except ValueError as error:
        raise ValueError(f"the method {method}: {error}") from None


class CellSpec(TrainedSpec):
    """One experiment: a method, under the name that tables show, trained on one log with one noise, and ranked.

    filter: what is left out of the log that is trained on, and of the one whose histories are ranked with.
    """

    noise: InjectedNoise = InjectedNoise()
    filter: FilterSpec = FilterSpec()
    method: Name
    model: CompleteModel
    seed: Seed = 1
    evaluation_seed: Seed = 0

    @model_validator(mode="after")
    def _rows_as_asked(self) -> "CellSpec":
        _check_rows(self.training, self.method, self.model)
        return self

    @property
    def label(self) -> str:
        """What tells it from the others of a job on one log."""
        return f"{self.method}, noise {self.noise.described}, seed {self.seed}"


class RobustnessSpec(TrainedSpec):
    """The main job: methods × noise ratios × seeds on one log, filtered or not."""

    noise: NoiseSpec = NoiseSpec()
    filter: FilterSpec = FilterSpec()
    methods: Annotated[tuple[MethodSpec, ...], Field(min_length=1)] = tuple(
        named_method(name) for name in DEFAULT_METHODS
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1,)
    evaluation_seed: Seed = 0
    execution: ExecutionSpec = ExecutionSpec()

    @model_validator(mode="after")
    def _no_cell_twice(self) -> "RobustnessSpec":
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError("two methods have the same name")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is given twice")
        for method in self.methods:
            _check_rows(self.training, method.name, method.model)
        return self

    def cells(self) -> tuple[CellSpec, ...]:
        """Every method × ratio × seed."""
        return tuple(
            CellSpec(
                dataset=self.dataset,
                source=self.source,
                prepare=self.prepare,
                noise=self.noise.at(ratio),
                filter=self.filter,
                method=method.name,
                model=method.model,
                training=self.training,
                seed=seed,
                evaluation_seed=self.evaluation_seed,
            )
            for ratio in self.noise.ratios
            for seed in self.seeds
            for method in self.methods
        )


class StudySpec(Spec):
    """A question and the experiments that answer it, as its file says it (`tasks.study` makes cells of it).

    base: settings of every cell; axes: by setting, or by a name of one's own, the values to be crossed; include,
    exclude: cells more and less; reference: the method, or the values of axes, that the others are compared with.
    """

    name: Name
    question: Annotated[str, Field(min_length=1)]
    base: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    include: tuple[dict[str, Any], ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()
    reference: str | dict[str, Any]
    execution: ExecutionSpec = ExecutionSpec()

    @field_serializer("base", "axes", "include", "exclude", "reference")
    def _addresses_without_secrets(self, part: Any) -> Any:
        return without_secrets_in(part)


class FileRequest(Spec):
    """What a file describes to be run: the file, or the name of one in `studies/`, and what is set over it (as
    "base.training.epochs=5").
    """

    file: Annotated[str, Field(min_length=1)]
    overrides: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """What is set over the file, as it may be shown and kept."""
        return tuple(map(setting_without_secrets, self.overrides))

    @field_serializer("overrides")
    def _overrides_without_secrets(self, overrides: tuple[str, ...]) -> tuple[str, ...]:
        return self.shown


class StudyRequest(FileRequest):
    """A study to be run."""


class IngestSpec(LogSpec):
    """A log to be made into a checked snapshot."""


class OfferableSpec(Spec):
    """Which items may be offered.

    `only`: the raw ids of the items that alone may be offered, all of them without it; `exclude`: those of the items
    that may not. Either may lie in a file instead, one id a line, which is read when something is to be offered.
    """

    only: tuple[RawId, ...] | None = None
    only_file: Annotated[str, Field(min_length=1)] | None = None
    exclude: tuple[RawId, ...] | None = None
    exclude_file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _each_list_once(self) -> Self:
        for ids, name in ((self.only, "only"), (self.exclude, "exclude")):
            if ids is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name} and {name}_file are one list said twice: leave one of them out")
        return self


class RecommendSpec(LogSpec, OfferableSpec):
    """Users to be scored by a registered model.

    `history`: one user's raw item ids, oldest first; without it every user of the log is scored.
    """

    alias: Annotated[str, Field(min_length=1)] = "champion"
    history: tuple[RawId, ...] | None = None
    k: Annotated[int, Field(ge=1)] = 10
    exclude_seen: bool = True

    @property
    def reads_a_log(self) -> bool:
        return self.history is None


class RerunSpec(Spec):
    """A run to be made again: the beginning of its id in MLflow, and where its training and ranking are kept; they are
    thrown away where no folder is given.
    """

    run: Annotated[str, Field(min_length=1)]
    folder: str | None = None


class RegisterSpec(Spec):
    """A run whose model is offered to the registry: the beginning of its id in MLflow."""

    run: Annotated[str, Field(min_length=1)]


def registered_name(dataset: str) -> str:
    """The registered model of a dataset."""
    return f"rec-denoiser-{dataset}"
