"""What a model and a training are, in plain data: the one definition, validated on construction.

The pipeline embeds these in its specs, a checkpoint carries them as JSON, and `models.catalogue` builds from them.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

NO_GATE = "none"
NO_NOISE_MODEL = "none"
OWN_NOISE = "own"
"""The noise model that a person's own file makes (`models.own`)."""
NO_ROBUST_LOSS = "none"
CO_TEACHING = "co-teaching"
READ_WHOLE: Mapping[str, tuple[str, ...]] = {"loss": ("softmax",), "backbone": ("bert4rec", "sse-pt", "diffrec")}
"""Of `models.catalogue`, what reads the whole item table in every step of a training."""
COUNT_BASED = ("popularity", "markov-chain", "v-sknn")
"""Backbones without weights: they count the log, and there is nothing to train."""
GENERATIVE = ("dreamrec", "diffrec")
"""Backbones that generate what comes next, by an objective of their own."""
OWN_ENCODER, OWN_OBJECTIVE, OWN_COUNTS = OWN = ("own", "own-objective", "own-counts")
"""Backbones that a person's own file makes (`models.own`): an encoder, which is trained with any loss, a recommender
with an objective of its own, and one that only counts."""
DIGITS = 16
"""Of the digest by which a file's text is known."""
WITHOUT_ATTENTION = ("gru4rec", "caser", "fpmc", "fmlp-rec", "fmlp-rec-causal")
"""Backbones that have no attention, and with it neither a gate nor a Jacobian of its blocks."""
KEPT_ANSWERS = 256 * 2**20
"""Bytes that a training keeps at most of what neighbours answer its validation, where they have a say beside a network:
all answers to MovieLens-1M's 6,040 targets take 140 million."""
CONTRASTED = ("sasrec", "tisasrec", "gru4rec")
"""Backbones whose windows can be contrasted (`models.networks.cl4srec`): causal, and each hidden state a vector of its
own."""
MASKED = ("bert4rec",)
"""Backbones that rank with a mask at a history's end."""
READ_TIMES = ("tisasrec",)
"""Backbones that need the log's time stamps."""
STACKED: Mapping[str, tuple[str, ...]] = {
    "backbone": ("sasrec",),
    "gate": (NO_GATE, "fixed-random", "top-k", "sparse-transformer"),
    "noise_model": (NO_NOISE_MODEL,),
    "robust": (NO_ROBUST_LOSS,),
}
"""Of `models.catalogue`, what can be stacked (`models.engine.replicas`): a training step is one pass, sees items alone,
and draws negatives and dropout's masks and nothing else."""
COMPILED: Mapping[str, tuple[str, ...]] = {**STACKED, "gate": (NO_GATE,)}
"""Of `models.catalogue`, what can be compiled (`models.engine.compiled`); full softmax on a GPU alone, since on a CPU
it goes by blocks in a way that the compiler cannot follow."""
FULL_PRECISION = "float32"
PRECISIONS = (FULL_PRECISION, "tf32", "bf16")
"""Of the products of matrices in a training step: tf32 rounds their factors to 10 bits, on a GPU alone; bf16 has what
torch's autocast takes for safe, products of matrices above all, go in bfloat16, with 7, and with them the scores of all
items in full softmax. Other losses, weights and the optimiser stay float32, and so does ranking."""
AT_MOST_STACKED: Mapping[str, int] = {"cpu": 1, "cuda": 32}
"""By device how many trainings are stacked unless another number is asked for: one keeps a CPU as busy as many do."""
SELECTED_BY = ("full_unseen.ndcg_at_10", "full_unseen.hit_at_10", "sampled100.ndcg_at_10", "sampled100.hit_at_10")
"""What a training measures on validation, the usual first, any of which can choose its weights."""
TABLE_ROWS = ("auto", "all", "touched")
TOUCHED_FROM = 100_000
"""Items from which "auto" updates touched rows alone: below it, what that spares is about what it costs."""
TOUCHED_BETA2 = 0.9
"""The least beta2 with which rows can be left behind: with less, the mean square of one that waits fades so much faster
than its mean that Adam's epsilon, which `models.engine.adam` has no closed form for, decides how far it moves."""
ONE_PASS = ("ar", "reinforce", "straight-through", "hard-concrete")
"""Estimators that run the network once a step."""
_OF_LEARNED = ("estimator", "gate_logit", "gate_rate", "beta", "beta_on", "passes")
_OF_CONTEXTUAL = ("gate_rank", "gate_planted")
_OF_JACOBIAN = ("gamma", "jacobian_every")
_OF_EACH_CONTROL: Mapping[str, tuple[str, ...]] = {
    "fixed-random": ("gate_keep",),
    "head-drop": ("gate_keep",),
    "layer-drop": ("gate_keep",),
    "top-k": ("attention_top",),
    "sparse-transformer": ("sparse_stride", "sparse_width"),
    "alpha-entmax": ("attention_alpha",),
}
_OF_CONTROLS = tuple(dict.fromkeys(name for names in _OF_EACH_CONTROL.values() for name in names))
_OF_NOISE = ("planted", "cleaning", "drop_below", "target_power", "attention_power", "spare")
_OF_OWN_NOISE = ("own_noise", "own_noise_code")
_OF_TRUNCATED = ("truncate", "truncate_ramp")
_OF_POWERS = ("robust_power", "propensity_floor")
_OF_LOSSES = ("loss", "negatives", "gbce_t", "bpr_max_penalty")
_OF_EACH_BACKBONE: Mapping[str, tuple[str, ...]] = {
    "sasrec": ("dim", "blocks", "heads", "dropout", "norm"),
    "bert4rec": ("dim", "blocks", "heads", "dropout", "masked", "last_masked"),
    "tisasrec": ("dim", "blocks", "heads", "dropout", "norm", "max_interval"),
    "sse-pt": ("dim", "blocks", "heads", "dropout", "norm", "user_dim", "keep_users", "keep_items"),
    "gru4rec": ("dim", "blocks", "dropout"),
    "caser": ("dim", "dropout", "caser_order", "horizontal_filters", "vertical_filters"),
    "fpmc": ("dim",),
    **dict.fromkeys(("fmlp-rec", "fmlp-rec-causal"), ("dim", "blocks", "dropout")),
    "dreamrec": (
        *("dim", "blocks", "heads", "dropout", "norm"),
        *("diffusion_steps", "diffusion_schedule", "guidance", "unconditional", "generated"),
    ),
    "diffrec": (
        *("dropout", "diffrec_hidden", "diffrec_steps", "diffrec_scale", "diffrec_least", "diffrec_most"),
        *("diffrec_weights", "diffrec_oldest"),
    ),
    **dict.fromkeys(COUNT_BASED, ()),
    **dict.fromkeys(OWN, ("dim", "blocks", "heads", "dropout", "norm", "own", "own_code")),
}
_OF_NEIGHBOURS = ("neighbours", "neighbour_sample", "neighbour_window")
_OF_BACKBONES = tuple(dict.fromkeys(name for names in _OF_EACH_BACKBONE.values() for name in names))
_OF_CONTRAST = ("contrast_temperature", "contrast_crop", "contrast_mask", "contrast_reorder")
UNUSED: Mapping[tuple[str, str | float], tuple[str, ...]] = {
    **{
        ("backbone", backbone): (
            *(name for name in _OF_BACKBONES if name not in own),
            *(_OF_LOSSES if backbone in (*COUNT_BASED, *GENERATIVE, OWN_OBJECTIVE, OWN_COUNTS) else ()),
            *(("spare",) if backbone == "bert4rec" else ()),
        )
        for backbone, own in _OF_EACH_BACKBONE.items()
    },
    ("loss", "bce"): ("gbce_t", "bpr_max_penalty"),
    ("loss", "bpr"): ("gbce_t", "bpr_max_penalty"),
    ("loss", "bpr-max"): ("gbce_t",),
    ("loss", "softmax"): ("negatives", "gbce_t", "bpr_max_penalty"),
    ("loss", "sampled-softmax"): ("gbce_t", "bpr_max_penalty"),
    ("loss", "gbce"): ("bpr_max_penalty",),
    ("loss", "gbce-shared"): ("bpr_max_penalty",),
    ("gate", NO_GATE): (*_OF_LEARNED, *_OF_CONTEXTUAL, *_OF_CONTROLS),
    ("gate", "positional"): (*_OF_CONTEXTUAL, *_OF_CONTROLS),
    ("gate", "contextual"): _OF_CONTROLS,
    **{
        ("gate", control): (
            *_OF_LEARNED,
            *_OF_CONTEXTUAL,
            *_OF_JACOBIAN,
            *(name for name in _OF_CONTROLS if name not in own),
        )
        for control, own in _OF_EACH_CONTROL.items()
    },
    ("beta", 0.0): ("beta_on",),
    ("gamma", 0.0): ("jacobian_every",),
    ("contrast", 0.0): _OF_CONTRAST,
    ("noise_model", NO_NOISE_MODEL): (*_OF_NOISE, "reach", *_OF_OWN_NOISE),
    ("noise_model", "popularity"): ("reach", *_OF_OWN_NOISE),
    ("noise_model", "own-score"): ("reach", *_OF_OWN_NOISE),
    ("noise_model", "co-occurrence"): _OF_OWN_NOISE,
    ("drop_below", 0.0): ("spare",),
    ("cleaning", "sampled"): ("target_power",),
    ("robust", NO_ROBUST_LOSS): (*_OF_TRUNCATED, *_OF_POWERS),
    ("robust", "truncated"): _OF_POWERS,
    ("robust", CO_TEACHING): _OF_POWERS,
    **{
        ("robust", name): (*_OF_TRUNCATED, "propensity_floor")
        for name in ("reweighted", "generalised", "symmetric", "bootstrapped")
    },
    ("robust", "inverse-propensity"): _OF_TRUNCATED,
    **{("estimator", name): ("passes",) for name in ONE_PASS},
}
"""Which settings a model leaves unread under a choice of `models.catalogue`: (setting, value) → the other settings.
A choice that is not here may read all of them."""
UNUSED_TOGETHER: Mapping[tuple[tuple[str, str | float], ...], tuple[str, ...]] = {
    (("backbone", "bert4rec"), ("cleaning", "sampled")): ("drop_below",),
    **{
        (("backbone", backbone), ("neighbour_weight", 0.0)): _OF_NEIGHBOURS
        for backbone in _OF_EACH_BACKBONE
        if backbone != "v-sknn"
    },
}
"""Likewise, under several choices at once."""


class WrongChoice(ValueError):
    """A part of a model that does not exist, or does not go with the others: `setting` is what it was given for."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


class _Config:
    """Shared by the configurations: to and from JSON-like dictionaries."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises `ValueError` on keys that the configuration does not have."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{cls.__name__} has no {', '.join(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True)
class ModelConfig(_Config):
    """A backbone, its objective and, where `gate` is not "none", a denoiser; or, of `COUNT_BASED`, a baseline that has
    neither, or, of `GENERATIVE`, one whose objective is its own; or, of `OWN`, what a person's own file makes.

    backbone, loss, gate, estimator: names in `models.catalogue`
    dim: width; blocks: attention blocks, of GRU4Rec its recurrent layers, of FMLP-Rec its filters; heads: attention
        heads; length: how many past events it sees
    norm: where SASRec's blocks, which TiSASRec and SSE-PT take over, have their layer norms ("authors", "pre", "post")
    masked, last_masked: BERT4Rec's share of items that are masked, and how many windows more have but their last item
        masked, as a share of the others
    max_interval: TiSASRec's longest interval, in units of a user's smallest gap
    user_dim: width of SSE-PT's user embeddings, which stand beside the items' `dim`
    keep_users, keep_items: SSE-PT's probabilities that a user or an item is not replaced in training
    caser_order: how many last items Caser convolves; horizontal_filters: its filters of each height, from 1 to that;
        vertical_filters: those of all of it
    diffusion_steps, diffusion_schedule: the steps in which DreamRec adds noise to items and takes it away, and how much
        each adds, a name in `models.networks.diffusion`
    guidance: the weight w with which DreamRec draws what it generates away from what it would without a history;
        unconditional: the share of training targets that it is to tell without one; generated: how many vectors it
        generates for a history and averages, 0 for the mean of all that it could
    neighbour_weight: what V-SKNN's opinion weighs where a network's is pooled with it, 0 for no neighbours, beside
        1 − neighbour_weight for the network's (`models.networks.pooled`)
    neighbours: how many histories V-SKNN lets vote; neighbour_sample: of how many of each item, the most recent;
        neighbour_window: how many events after an item that is shared each votes for, 0 for its whole history, as
        published
    diffrec_hidden: width of DiffRec's hidden layer, whatever `dim` is; diffrec_steps: the steps in which it adds noise
        to a user's vector and takes it away; diffrec_scale, diffrec_least, diffrec_most: the noise's variance is the
        first of these times what rises from the second to the third; diffrec_weights: of the steps' losses, "equal"
        ones, or those of the evidence's lower bound ("snr"); diffrec_oldest: what the oldest of a window's events
        weighs where the newest weighs 1, of T-DiffRec less than 1
    own: what makes a backbone of `OWN`, as "FILE.py:NAME" or "FILE.py:NAME(setting=1)"; own_code: the text of that
        file, without which such a configuration is not complete yet (`tasks.own`)
    negatives: how many negatives: each position's own (bce, bpr, gbce), or a batch's (bpr-max, sampled-softmax,
        gbce-shared)
    gbce_t: gBCE's calibration, from 0 (plain binary cross-entropy) to 1; bpr_max_penalty: BPR-max's weight of the
        squares of the negatives' scores
    gate_logit: the gate's initial logit Φ₀ (σ(2) = .88 of cells open)
    gate_rate: the gate's learning rate over the network's
    gate_rank: the rank of the contextual gate's query–key term; gate_planted: the share of items that give way to known
        noise in the copy from which it learns to tell noise, 0 for none (`models.denoising.contextual`)
    beta: weight of the keep-probability of visible cells in the loss; beta_on: of their "sum", as published, or "mean"
    passes: how an estimator of two passes runs them ("apart" or "stacked"), see `models.denoising.denoised`
    gamma: weight of the blocks' squared Jacobians (`models.denoising.jacobian`), with or without a gate
    gate_keep: share of cells, heads or layers that a control without parameters keeps (`models.denoising.controls`)
    attention_top: how many cells of a row top-k attention keeps
    sparse_stride, sparse_width: positions of a block of Sparse Transformer's fixed pattern, and how many of them, its
        last ones, the other blocks see
    attention_alpha: the α at which every head of α-entmax attention begins, between 1.05 and 2
    jacobian_every: steps between those that have that term, which is as many times as strong there
    noise_model: what tells genuine interactions from noise (`models.denoising.noise`); own_noise, own_noise_code: what
        makes one of a person's own, as of `own`; planted: the kind of noise that
        it learns from, of `models.denoising.noise.planting`, or "all"; reach: how many events to each side of an event
        it is compared with
    cleaning: what of the log is trained on: "threshold" leaves out what is below `drop_below`, once; "sampled" draws
        anew in each epoch which events stay, each with its probability to be genuine
    drop_below: events less likely to be genuine are left out, 0 for none; spare: how many more of a history are read
        for that
    target_power: a target's weight is its probability to be genuine, to this power; attention_power: likewise what
        attention pays to an event, 0 for all that it would
    robust: a loss that trusts some targets less (`models.denoising.robust`), or two networks that choose for each other
        (`models.denoising.co_teaching`); truncate, truncate_ramp: the share of the largest losses that is left out by
        either, and the steps in which it rises to that; robust_power: the others' power, or weight; propensity_floor:
        the least propensity by which a target's loss is divided
    drop_events: the share of events that are left out of the log, others in each epoch; corrupt_inputs: the share of
        inputs that are replaced by any item in training
    contrast: CL4SRec's λ, the weight of its contrastive loss, 0 for none (`models.networks.cl4srec`);
        contrast_temperature: what that divides inner products by; contrast_crop, contrast_mask, contrast_reorder: the
        shares of a window's events that an augmentation leaves (η), masks (γ) or shuffles (β)
    """

    backbone: str = "sasrec"
    loss: str = "bce"
    dim: int = 50
    blocks: int = 2
    heads: int = 2
    length: int = 50
    dropout: float = 0.2
    norm: Literal["authors", "pre", "post"] = "authors"
    masked: float = 0.2
    last_masked: float = 0.1
    max_interval: int = 256
    user_dim: int = 50
    keep_users: float = 0.08
    keep_items: float = 0.9
    caser_order: int = 5
    horizontal_filters: int = 16
    vertical_filters: int = 4
    diffusion_steps: int = 500
    diffusion_schedule: Literal["linear", "cosine", "exponential"] = "exponential"
    guidance: float = 2.0
    unconditional: float = 0.1
    generated: int = 1
    neighbour_weight: float = 0.0
    neighbours: int = 500
    neighbour_sample: int = 1000
    neighbour_window: int = 10
    diffrec_hidden: int = 200
    diffrec_steps: int = 5
    diffrec_scale: float = 0.1
    diffrec_least: float = 0.001
    diffrec_most: float = 0.01
    diffrec_weights: Literal["equal", "snr"] = "equal"
    diffrec_oldest: float = 1.0
    own: str = ""
    own_code: str = ""
    negatives: int = 1
    gbce_t: float = 0.75
    bpr_max_penalty: float = 1.0
    gate: str = NO_GATE
    estimator: str = "arm-per-token"
    gate_logit: float = 2.0
    gate_rate: float = 10.0
    gate_rank: int = 8
    gate_planted: float = 0.15
    beta: float = 0.06
    beta_on: Literal["sum", "mean"] = "mean"
    passes: Literal["apart", "stacked"] = "apart"
    gamma: float = 0.0
    jacobian_every: int = 1
    gate_keep: float = 0.85
    attention_top: int = 10
    sparse_stride: int = 8
    sparse_width: int = 2
    attention_alpha: float = 1.5
    noise_model: str = NO_NOISE_MODEL
    own_noise: str = ""
    own_noise_code: str = ""
    planted: str = "all"
    reach: int = 8
    cleaning: Literal["threshold", "sampled"] = "threshold"
    drop_below: float = 0.5
    spare: int = 25
    target_power: float = 1.0
    attention_power: float = 0.0
    robust: str = NO_ROBUST_LOSS
    truncate: float = 0.2
    truncate_ramp: int = 500
    robust_power: float = 0.2
    propensity_floor: float = 0.1
    drop_events: float = 0.0
    corrupt_inputs: float = 0.0
    contrast: float = 0.0
    contrast_temperature: float = 1.0
    contrast_crop: float = 0.6
    contrast_mask: float = 0.3
    contrast_reorder: float = 0.6

    def effective(self) -> dict[str, Any]:
        """The settings that this model reads, of a file's text its digest: two configurations that agree in them are
        the same model.
        """
        values = self.to_dict()
        unread = {name for (part, choice), names in UNUSED.items() if values[part] == choice for name in names}
        for choices, names in UNUSED_TOGETHER.items():
            if all(values[part] == choice for part, choice in choices):
                unread.update(names)
        for name in ("own_code", "own_noise_code"):
            if values[name]:
                values[name] = hashlib.sha256(values[name].encode()).hexdigest()[:DIGITS]
        return {name: value for name, value in values.items() if name not in unread}

    @property
    def reads_whole_table(self) -> bool:
        """Does a training step read every row of the item table?"""
        return any(getattr(self, part) in names for part, names in READ_WHOLE.items())

    @property
    def is_count_based(self) -> bool:
        """Is it done with counting the log, so that nothing is trained?"""
        return self.backbone in (*COUNT_BASED, OWN_COUNTS)

    @property
    def needs_times(self) -> bool:
        """Does it read the times of events?"""
        return self.backbone in READ_TIMES

    @property
    def can_be_stacked(self) -> bool:
        """Can several of it be trained as one stacked model?"""
        parts = all(getattr(self, part) in names for part, names in STACKED.items())
        return parts and self._is_one_pass

    def can_be_compiled(self, device: str) -> bool:
        """Can its training step be compiled on a "cpu" or "cuda"?"""
        parts = all(getattr(self, part) in names for part, names in COMPILED.items())
        blocks = self.loss == "softmax" and device == "cpu"
        return parts and not blocks and self._is_one_pass

    @property
    def _is_one_pass(self) -> bool:
        """Is a step of it, beside its `STACKED` parts, one pass over the batch as it is?"""
        return not (self.gamma or self.drop_events or self.corrupt_inputs or self.contrast or self.neighbour_weight)

    def __post_init__(self) -> None:
        _finite(self)
        _at_least(self, 1, "dim", "blocks", "heads", "length", "negatives", "max_interval", "user_dim")
        _at_least(self, 1, "jacobian_every", "attention_top", "sparse_stride", "sparse_width", "reach")
        _at_least(self, 1, "truncate_ramp", "gate_rank", "caser_order", "horizontal_filters", "vertical_filters")
        _at_least(self, 1, "diffusion_steps", "diffrec_hidden", "diffrec_steps", "neighbours", "neighbour_sample")
        if self.sparse_width > self.sparse_stride:
            raise ValueError(f"sparse_width ({self.sparse_width}) is more than sparse_stride ({self.sparse_stride})")
        if not 1.05 < self.attention_alpha < 2:
            raise ValueError(f"attention_alpha must lie between 1.05 and 2, not {self.attention_alpha}")
        if (self.backbone in OWN) != bool(self.own_code):
            raise ValueError(
                f"the backbone {self.backbone} goes with the text of a file as own_code, which comes of itself where a "
                "model says `own: FILE.py:NAME` and no backbone"
            )
        if (self.noise_model == OWN_NOISE) != bool(self.own_noise_code):
            raise ValueError(
                f"the noise model {self.noise_model} goes with the text of a file as own_noise_code, which comes of "
                "itself where a model says `own_noise: FILE.py:NAME` and no noise_model"
            )
        if self.dim % self.heads and self.backbone not in OWN and "heads" in self.effective():
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if self.backbone == "sse-pt" and (self.dim + self.user_dim) % self.heads:
            raise ValueError(
                f"dim and user_dim together ({self.dim} + {self.user_dim}) must be a multiple of heads ({self.heads})"
            )
        if self.backbone == "dreamrec" and self.guidance and not self.unconditional:
            raise ValueError(
                f"a guidance of {self.guidance} needs targets that are told without a history: unconditional is 0"
            )
        if self.diffrec_least > self.diffrec_most:
            raise ValueError(f"diffrec_least ({self.diffrec_least}) is more than diffrec_most ({self.diffrec_most})")
        if not 0 < self.diffrec_scale * self.diffrec_least <= self.diffrec_scale * self.diffrec_most < 1:
            raise ValueError(
                "the noise's variance, diffrec_scale times diffrec_least to diffrec_most, must lie between 0 and 1, "
                f"not {self.diffrec_scale} times {self.diffrec_least} to {self.diffrec_most}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), not {self.dropout}")
        _in_unit_interval(self, "masked", "last_masked", "keep_users", "keep_items", "gbce_t")
        _at_least(self, 0, "beta", "gamma", "spare", "target_power", "attention_power", "bpr_max_penalty", "contrast")
        _in_unit_interval(self, "contrast_mask", "contrast_reorder", "diffrec_oldest")
        _at_least(self, 0, "guidance", "generated", "neighbour_window")
        for name in (
            *("drop_below", "truncate", "drop_events", "corrupt_inputs", "gate_planted", "unconditional"),
            "neighbour_weight",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        for name in ("robust_power", "propensity_floor", "gate_keep", "contrast_crop"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], not {getattr(self, name)}")
        for name in ("gate_rate", "contrast_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name, known in (
            ("beta_on", ("sum", "mean")),
            ("passes", ("apart", "stacked")),
            ("planted", ("all", "uniform", "popular")),
            ("cleaning", ("threshold", "sampled")),
            ("diffusion_schedule", ("linear", "cosine", "exponential")),
            ("diffrec_weights", ("equal", "snr")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class TrainingConfig(_Config):
    """How a model is trained.

    epochs: at most so many; batch_size: users a step
    weight_decay: decoupled (AdamW), of all but biases, norms, a gate's logits and a control's; clip: the longest
        gradient, 0 for any
    warmup: steps in which the learning rate rises from 0; decay: the share of it that is lost, linearly, from there to
        the last of `epochs` (1: down to 0)
    table_rows: of an item table, "touched" has a step update the rows that it reads alone, so that its price does not
        grow with the catalogue: the others catch up when they are read (`models.engine.adam`), so that both are Adam;
        "auto" takes "touched" from `TOUCHED_FROM` items on, where loss and backbone allow it
    select_by: the validation metric that chooses the weights and stops the training; between trainings, and on
        promotion, NDCG@10 in full ranking decides in any case
    validate_every: epochs between validations; patience: validations without a better one before it stops; min_steps:
        optimiser steps that it takes in any case, since on a small log a network ranks by popularity alone for some 150
        steps before it learns more, and does no better at any of them
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    beta2: float = 0.98
    weight_decay: float = 0.0
    clip: float = 0.0
    warmup: int = 0
    decay: float = 0.0
    table_rows: Literal["auto", "all", "touched"] = "auto"
    select_by: str = SELECTED_BY[0]
    validate_every: int = 1
    patience: int = 10
    min_steps: int = 250

    def __post_init__(self) -> None:
        _finite(self)
        _at_least(self, 1, "epochs", "batch_size", "validate_every", "patience")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2 must lie in [0, 1), not {self.beta2}")
        _at_least(self, 0, "weight_decay", "clip", "warmup", "min_steps")
        _in_unit_interval(self, "decay")
        for name, known in (("table_rows", TABLE_ROWS), ("select_by", SELECTED_BY)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, not {getattr(self, name)!r}")

    def of(self, model: ModelConfig) -> Self:
        """The training that `model` has under this configuration: where it only counts, one epoch without a step, after
        which it is validated, and whatever is said of rows to update, for it has none.
        """
        return replace(self, epochs=1, table_rows="auto") if model.is_count_based else self

    def touches_rows(self, item_count: int, *, possible: bool) -> bool:
        """Does a training with a catalogue of this size update the touched rows of its item table alone?

        `possible`: its loss and backbone allow it. Raises `ValueError` where that is asked for and not possible.
        """
        if self.table_rows == "touched" and self.beta2 < TOUCHED_BETA2:
            raise ValueError(f"table_rows is touched, which takes a beta2 of {TOUCHED_BETA2} or more, not {self.beta2}")
        if self.table_rows == "touched" and not possible:
            raise ValueError(
                "table_rows is touched, but this loss or backbone reads the whole item table in every step: take a "
                "loss that samples (bce, bpr, bpr-max, gbce, gbce-shared, sampled-softmax) with another backbone than "
                f"{', '.join(READ_WHOLE['backbone'])}, or all rows"
            )
        if self.table_rows == "auto":
            return possible and item_count >= TOUCHED_FROM and self.beta2 >= TOUCHED_BETA2
        return self.table_rows == "touched"


def _finite(config: _Config) -> None:
    for name, value in config.to_dict().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, not {value}")


def _in_unit_interval(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], not {value}")


def _at_least(config: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
