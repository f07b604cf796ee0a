"""Every backbone, objective, gate and estimator by name: a new one is a new file and one entry here.

One that does not read every setting says so in `models.config.UNUSED`.
"""

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches

import torch

from models import own
from models.config import (
    CO_TEACHING,
    CONTRASTED,
    MASKED,
    NO_GATE,
    NO_NOISE_MODEL,
    NO_ROBUST_LOSS,
    ONE_PASS,
    OWN,
    OWN_COUNTS,
    OWN_ENCODER,
    OWN_NOISE,
    OWN_OBJECTIVE,
    WITHOUT_ATTENTION,
    ModelConfig,
    WrongChoice,
)
from models.denoising.co_teaching import CoTeaching
from models.denoising.contextual import ContextualGate
from models.denoising.controls import Control, Controlled, FixedRandom, HeadDrop, LayerDrop, TopK
from models.denoising.denoised import Denoised
from models.denoising.estimators import (
    Ar,
    Arm,
    BatchCredit,
    Estimator,
    HardConcrete,
    Reinforce,
    StraightThrough,
    TokenCredit,
)
from models.denoising.gates import Gate, PositionalGate
from models.denoising.jacobian import JacobianPenalty
from models.denoising.noise.cooccurrence import CoOccurrence
from models.denoising.noise.own_score import OwnScore
from models.denoising.noise.popularity import Popularity
from models.denoising.noise.seam import NoiseModel
from models.denoising.noise_aware import NoiseAware
from models.denoising.robust import (
    Bootstrapped,
    Generalised,
    InversePropensity,
    Reweighted,
    Robust,
    Symmetric,
    Truncated,
)
from models.denoising.sparse import AdaptivelySparse, FixedPattern
from models.engine.losses import (
    BayesianPersonalisedRanking,
    BinaryCrossEntropy,
    BprMax,
    FullSoftmax,
    GeneralisedBinaryCrossEntropy,
    Objective,
    SampledSoftmax,
    SharedGeneralisedBinaryCrossEntropy,
)
from models.networks.backbone import Backbone, NextItem
from models.networks.bert4rec import BERT4Rec
from models.networks.caser import Caser
from models.networks.cl4srec import CL4SRec, Shares
from models.networks.count_based import CountBased
from models.networks.diffrec import DiffRec
from models.networks.diffusion import SCHEDULES, Diffusion, linear_variance
from models.networks.dreamrec import DreamRec, HistoryEncoder
from models.networks.fmlp_rec import CausalFMLPRec, FMLPRec
from models.networks.fpmc import FPMC
from models.networks.gru4rec import GRU4Rec
from models.networks.markov_chain import MarkovChain
from models.networks.pooled import Pooled
from models.networks.popularity import MostPopular
from models.networks.sasrec import SASRec
from models.networks.sse_pt import SSEPT
from models.networks.tisasrec import TiSASRec
from models.networks.v_sknn import VSKNN
from models.recommender import Recommender

BACKBONES: Mapping[str, Callable[[ModelConfig, int, int], Backbone]] = {
    "sasrec": lambda config, item_count, user_count: SASRec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
    ),
    "bert4rec": lambda config, item_count, user_count: BERT4Rec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        masked=config.masked,
        last_masked=config.last_masked,
    ),
    "tisasrec": lambda config, item_count, user_count: TiSASRec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
        max_interval=config.max_interval,
    ),
    "sse-pt": lambda config, item_count, user_count: SSEPT(
        item_count,
        user_count,
        length=config.length,
        dim=config.dim,
        user_dim=config.user_dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
        keep_users=config.keep_users,
        keep_items=config.keep_items,
    ),
    "gru4rec": lambda config, item_count, user_count: GRU4Rec(
        item_count, length=config.length, dim=config.dim, layers=config.blocks, dropout=config.dropout
    ),
    "caser": lambda config, item_count, user_count: Caser(
        item_count,
        user_count,
        length=config.length,
        dim=config.dim,
        order=config.caser_order,
        horizontal=config.horizontal_filters,
        vertical=config.vertical_filters,
        dropout=config.dropout,
    ),
    "fpmc": lambda config, item_count, user_count: FPMC(item_count, user_count, length=config.length, dim=config.dim),
    "fmlp-rec": lambda config, item_count, user_count: FMLPRec(
        item_count, length=config.length, dim=config.dim, blocks=config.blocks, dropout=config.dropout
    ),
    "fmlp-rec-causal": lambda config, item_count, user_count: CausalFMLPRec(
        item_count, length=config.length, dim=config.dim, blocks=config.blocks, dropout=config.dropout
    ),
}
COUNT_BASED: Mapping[str, Callable[[ModelConfig, int], CountBased]] = {
    "popularity": lambda config, item_count: MostPopular(item_count, length=config.length),
    "markov-chain": lambda config, item_count: MarkovChain(item_count, length=config.length),
    "v-sknn": lambda config, item_count: _neighbours(config, item_count),
}
"""Baselines in a backbone's place, that have no objective."""
GENERATIVE: Mapping[str, Callable[[ModelConfig, int], Recommender]] = {
    "dreamrec": lambda config, item_count: DreamRec(
        HistoryEncoder(
            item_count,
            length=config.length,
            dim=config.dim,
            blocks=config.blocks,
            heads=config.heads,
            dropout=config.dropout,
            norm=config.norm,
        ),
        Diffusion(SCHEDULES[config.diffusion_schedule](config.diffusion_steps)),
        guidance=config.guidance,
        unconditional=config.unconditional,
        generated=config.generated,
    ),
    "diffrec": lambda config, item_count: DiffRec(
        item_count,
        Diffusion(
            linear_variance(
                config.diffrec_steps,
                scale=config.diffrec_scale,
                least=config.diffrec_least,
                most=config.diffrec_most,
            )
        ),
        length=config.length,
        hidden=config.diffrec_hidden,
        dropout=config.dropout,
        oldest=config.diffrec_oldest,
        weights=config.diffrec_weights,
    ),
}
"""Recommenders in a backbone's place that generate what comes next, by an objective of their own."""
LOSSES: Mapping[str, Callable[[ModelConfig], Objective]] = {
    "bce": lambda config: BinaryCrossEntropy(negatives=config.negatives),
    "bpr": lambda config: BayesianPersonalisedRanking(negatives=config.negatives),
    "bpr-max": lambda config: BprMax(negatives=config.negatives, penalty=config.bpr_max_penalty),
    "softmax": lambda config: FullSoftmax(),
    "sampled-softmax": lambda config: SampledSoftmax(negatives=config.negatives),
    "gbce": lambda config: GeneralisedBinaryCrossEntropy(negatives=config.negatives, t=config.gbce_t),
    "gbce-shared": lambda config: SharedGeneralisedBinaryCrossEntropy(negatives=config.negatives, t=config.gbce_t),
}
GATES: Mapping[str, Callable[[ModelConfig, int, Backbone], Gate]] = {
    "positional": lambda config, item_count, backbone: PositionalGate(
        layers=backbone.layers, length=backbone.length, initial_logit=config.gate_logit
    ),
    "contextual": lambda config, item_count, backbone: ContextualGate(
        backbone.item_embeddings,
        dim=config.dim,
        rank=config.gate_rank,
        item_count=item_count,
        initial_logit=config.gate_logit,
        planted=config.gate_planted,
    ),
}
CONTROLS: Mapping[str, Callable[[ModelConfig, Backbone], Control]] = {
    "fixed-random": lambda config, backbone: FixedRandom(
        layers=backbone.layers, length=backbone.length, keep=config.gate_keep
    ),
    "head-drop": lambda config, backbone: HeadDrop(keep=config.gate_keep),
    "layer-drop": lambda config, backbone: LayerDrop(keep=config.gate_keep),
    "top-k": lambda config, backbone: TopK(count=config.attention_top),
    "sparse-transformer": lambda config, backbone: FixedPattern(stride=config.sparse_stride, width=config.sparse_width),
    "alpha-entmax": lambda config, backbone: AdaptivelySparse(
        layers=backbone.layers, heads=config.heads, alpha=config.attention_alpha
    ),
}
"""Masks that need no estimator, in a gate's place."""
LIBRARIES: Mapping[str, tuple[str, ...]] = {"alpha-entmax": ("entmax",)}
"""What a gate or control imports beside torch and numpy."""
TABLELESS = ("contextual",)
"""Gates whose logits are each window's own: no mask can be drawn for a whole batch."""
ESTIMATORS: Mapping[str, Callable[[ModelConfig], Estimator]] = {
    "arm": lambda config: Arm(BatchCredit()),
    "arm-per-token": lambda config: Arm(TokenCredit()),
    "ar": lambda config: Ar(BatchCredit()),
    "reinforce": lambda config: Reinforce(BatchCredit()),
    "straight-through": lambda config: StraightThrough(),
    "hard-concrete": lambda config: HardConcrete(),
}
OF_A_BATCH = ("arm", "ar", "reinforce")
"""Estimators that draw one mask for a whole batch."""
NOISE_MODELS: Mapping[str, Callable[[ModelConfig, int], NoiseModel]] = {
    "popularity": lambda config, item_count: Popularity(item_count, planted=config.planted),
    "own-score": lambda config, item_count: OwnScore(item_count, planted=config.planted),
    "co-occurrence": lambda config, item_count: CoOccurrence(item_count, reach=config.reach, planted=config.planted),
}
ROBUST: Mapping[str, Callable[[ModelConfig], Robust]] = {
    "truncated": lambda config: Truncated(share=config.truncate, ramp=config.truncate_ramp),
    "reweighted": lambda config: Reweighted(power=config.robust_power),
    "generalised": lambda config: Generalised(power=config.robust_power),
    "symmetric": lambda config: Symmetric(power=config.robust_power),
    "bootstrapped": lambda config: Bootstrapped(power=config.robust_power),
    "inverse-propensity": lambda config: InversePropensity(power=config.robust_power, floor=config.propensity_floor),
}
"""Losses that trust some targets less, made of any of `LOSSES`."""


def check(config: ModelConfig) -> None:
    """Raises `WrongChoice` where the configuration names something unknown, with the nearest name or all of them, or
    parts that do not go together.
    """
    _entry((*BACKBONES, *COUNT_BASED, *GENERATIVE, *OWN), "backbone", config.backbone)
    if config.is_count_based:
        _check_alone(config, "counts the log, and there is nothing in it to train")
        return
    if config.backbone in GENERATIVE:
        _check_alone(config, "generates what comes next, and has its own objective and none of these parts")
        return
    if config.backbone == OWN_OBJECTIVE:
        _check_alone(config, "has its own objective and none of these parts")
        return
    _entry(LOSSES, "loss", config.loss)
    if config.backbone in WITHOUT_ATTENTION or (config.backbone == OWN_ENCODER and not own.has_attention(config)):
        _check_without_attention(config)
    if config.gate != NO_GATE and config.gate not in CONTROLS:
        _entry((NO_GATE, *GATES, *CONTROLS), "gate", config.gate)
        _entry(ESTIMATORS, "estimator", config.estimator)
        if config.gate in TABLELESS and config.estimator in OF_A_BATCH:
            others = ", ".join(name for name in ESTIMATORS if name not in OF_A_BATCH)
            raise WrongChoice(
                "estimator",
                f"the estimator {config.estimator} draws one mask for a whole batch, which the gate {config.gate} has "
                f"not, whose logits are each window's own: choose from {others}",
            )
    altered = config.drop_events > 0 or config.corrupt_inputs > 0
    noisy = config.noise_model != NO_NOISE_MODEL, config.robust != NO_ROBUST_LOSS, altered
    if noisy[0]:
        _entry((*NOISE_MODELS, OWN_NOISE), "noise_model", config.noise_model)
    if noisy[1]:
        _entry((*ROBUST, CO_TEACHING), "robust", config.robust)
    if config.robust == CO_TEACHING and (noisy[0] or noisy[2]):
        raise WrongChoice(
            "robust",
            "co-teaching is for two plain networks: without a noise model, dropped events and corrupted inputs",
        )
    if any(noisy) and (config.gate != NO_GATE or config.gamma):
        raise WrongChoice(
            "gate" if config.gate != NO_GATE else "gamma",
            "a noise model, a robust loss, dropped events and corrupted inputs are for a backbone without a gate and "
            f"Jacobian term: take the gate {NO_GATE} and a gamma of 0",
        )
    if config.contrast:
        _check_contrasted(config, beside=any(noisy) or config.gate != NO_GATE or config.gamma > 0)
    if config.neighbour_weight:
        _check_pooled(config)


def _check_contrasted(config: ModelConfig, *, beside: bool) -> None:
    """Raises `WrongChoice` where windows are to be contrasted whose model is not made for it, or is more than plain."""
    if config.backbone not in CONTRASTED:
        raise WrongChoice(
            "contrast",
            f"the backbone {config.backbone} has no contrastive loss, which compares what a causal encoder makes of a "
            f"window's last event, by that vector alone: choose from {', '.join(CONTRASTED)}, or take a contrast of 0",
        )
    if beside:
        raise WrongChoice(
            "contrast",
            "the contrastive loss is for a plain network: without a gate, a Jacobian term, a noise model, a robust "
            "loss, dropped events and corrupted inputs; or take a contrast of 0",
        )


def _check_pooled(config: ModelConfig) -> None:
    """Raises `WrongChoice` where what is to be pooled with nearest neighbours cannot be."""
    if config.backbone in MASKED:
        raise WrongChoice(
            "neighbour_weight",
            f"the backbone {config.backbone} ranks with a mask at a history's end, which no neighbour has: take a "
            "neighbour_weight of 0",
        )
    if config.gate != NO_GATE:
        raise WrongChoice(
            "gate",
            "a network with a mask on its attention is not pooled with nearest neighbours: take the gate "
            f"{NO_GATE!r} or a neighbour_weight of 0",
        )


def _check_alone(config: ModelConfig, why: str) -> None:
    """Raises `WrongChoice` where what is no backbone with an objective is to have what these have; `why` not."""
    of_networks = {"gate": NO_GATE, "noise_model": NO_NOISE_MODEL, "robust": NO_ROBUST_LOSS}
    amounts = dict.fromkeys(("gamma", "drop_events", "corrupt_inputs", "contrast", "neighbour_weight"), 0.0)
    for setting, without in (of_networks | amounts).items():
        if getattr(config, setting) != without:
            raise WrongChoice(
                setting,
                f"the backbone {config.backbone} {why}: take {without!r} for its {setting}; what is noise can be left "
                "out of its log by a filter",
            )


def _check_without_attention(config: ModelConfig) -> None:
    """Raises `WrongChoice` where something is to be done to the attention of a backbone that has none."""
    of_attention: Mapping[str, str | float] = {"gate": NO_GATE, "gamma": 0.0}
    of_noise = {} if config.noise_model == NO_NOISE_MODEL else {"attention_power": 0.0}
    for setting, without in {**of_attention, **of_noise}.items():
        if getattr(config, setting) != without:
            raise WrongChoice(
                setting,
                f"the backbone {config.backbone} has no attention for {setting} to work on: take {without!r}; a noise "
                "model that judges the log, a robust loss and a filter go with it",
            )


def build(config: ModelConfig, item_count: int, *, seed: int, user_count: int = 0) -> Recommender:
    """A recommender with initial weights drawn from `seed`, on the CPU. Raises `WrongChoice` as `check` does.

    `user_count` is for models that have an embedding of each user: those that they do not know share one.
    """
    check(config)
    if config.backbone in COUNT_BASED:
        return COUNT_BASED[config.backbone](config, item_count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recommender = _trainable(config, item_count, user_count)
    if config.neighbour_weight:
        recommender = Pooled(recommender, _neighbours(config, item_count), weight=config.neighbour_weight)
    recommender.draws_globally = config.backbone in OWN or config.noise_model == OWN_NOISE
    return recommender


def _neighbours(config: ModelConfig, item_count: int) -> VSKNN:
    return VSKNN(
        item_count,
        length=config.length,
        neighbours=config.neighbours,
        sample=config.neighbour_sample,
        window=config.neighbour_window,
    )


def _trainable(config: ModelConfig, item_count: int, user_count: int) -> Recommender:
    """With weights from torch's generator."""
    if config.backbone in GENERATIVE:
        return GENERATIVE[config.backbone](config, item_count)
    if config.backbone in (OWN_OBJECTIVE, OWN_COUNTS):
        return own.recommender(config, item_count, user_count)
    base = _next_item(config, item_count, user_count)
    if config.contrast:
        shares = Shares(crop=config.contrast_crop, mask=config.contrast_mask, reorder=config.contrast_reorder)
        return CL4SRec(base, shares, weight=config.contrast, temperature=config.contrast_temperature)
    if config.robust == CO_TEACHING:
        selection = Truncated(share=config.truncate, ramp=config.truncate_ramp)
        return CoTeaching(base, _next_item(config, item_count, user_count), selection)
    if aware := _noise_aware(base, config, item_count):
        return aware
    if config.gate in CONTROLS:
        return Controlled(base, CONTROLS[config.gate](config, base.backbone))
    jacobian = JacobianPenalty(config.gamma, every=config.jacobian_every) if config.gamma else None
    if config.gate == NO_GATE:
        return base if jacobian is None else Denoised(base, None, None, jacobian)
    return Denoised(
        base,
        GATES[config.gate](config, item_count, base.backbone),
        ESTIMATORS[config.estimator](config),
        jacobian,
        beta=config.beta,
        beta_on=config.beta_on,
        gate_rate=config.gate_rate,
        passes="apart" if config.estimator in ONE_PASS else config.passes,
    )


def _next_item(config: ModelConfig, item_count: int, user_count: int) -> NextItem:
    """The backbone and its objective, with weights from torch's generator."""
    if config.backbone == OWN_ENCODER:
        backbone = own.encoder(config, item_count, user_count)
    else:
        backbone = BACKBONES[config.backbone](config, item_count, user_count)
    return NextItem(backbone, LOSSES[config.loss](config))


def _noise_aware(base: NextItem, config: ModelConfig, item_count: int) -> NoiseAware | None:
    """`base` with what the configuration has against noise in the log; None where that is nothing."""
    robust = None if config.robust == NO_ROBUST_LOSS else ROBUST[config.robust](config)
    if config.noise_model == NO_NOISE_MODEL:
        if robust is None and not config.drop_events and not config.corrupt_inputs:
            return None
        return NoiseAware(base, None, robust, corrupt_inputs=config.corrupt_inputs, drop_events=config.drop_events)
    if config.noise_model == OWN_NOISE:
        noise = own.noise_model(config, item_count)
    else:
        noise = NOISE_MODELS[config.noise_model](config, item_count)
    sampled = config.cleaning == "sampled"
    leaves_out_of_histories = base.appended is None
    drop_below = config.drop_below if leaves_out_of_histories or not sampled else 0.0
    return NoiseAware(
        base,
        noise,
        robust,
        drop_below=drop_below,
        target_power=0.0 if sampled else config.target_power,
        attention_power=config.attention_power,
        spare=config.spare if leaves_out_of_histories and drop_below else 0,
        corrupt_inputs=config.corrupt_inputs,
        sampled=sampled,
        drop_events=config.drop_events,
    )


def _entry(table: Collection[str], what: str, name: str) -> None:
    if name not in table:
        close = get_close_matches(name, table, n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(table))}"
        raise WrongChoice(what, f"there is no {what} {name!r}: {meant}")
