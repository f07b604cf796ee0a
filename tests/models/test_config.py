"""Which settings make a model what it is."""

from collections.abc import Collection
from dataclasses import fields, replace
from itertools import product
from typing import Any, Literal

import pytest

from models import catalogue
from models.config import (
    CO_TEACHING,
    CONTRASTED,
    NO_GATE,
    NO_NOISE_MODEL,
    NO_ROBUST_LOSS,
    OWN,
    UNUSED,
    UNUSED_TOGETHER,
    WITHOUT_ATTENTION,
    ModelConfig,
    TrainingConfig,
    WrongChoice,
)
from tests.models.builders import ATTENTIVE

GATED = [
    *product([NO_GATE, *catalogue.CONTROLS], ["arm-per-token"]),
    *(
        (gate, estimator)
        for gate, estimator in product(catalogue.GATES, catalogue.ESTIMATORS)
        if not (gate in catalogue.TABLELESS and estimator in catalogue.OF_A_BATCH)
    ),
]
COMBINATIONS = [
    (backbone, loss, gate, estimator)
    for backbone, loss, (gate, estimator) in product(catalogue.BACKBONES, catalogue.LOSSES, GATED)
    if gate == NO_GATE or backbone in ATTENTIVE
]


@pytest.mark.parametrize(("backbone", "loss", "gate", "estimator"), COMBINATIONS)
def test_the_effective_settings_are_those_that_building_the_model_reads(
    backbone: str, loss: str, gate: str, estimator: str
) -> None:
    assert_effective_is_what_is_read(
        ModelConfig(backbone=backbone, loss=loss, gate=gate, estimator=estimator, dim=4, heads=1, length=3)
    )


@pytest.mark.parametrize("robust", [NO_ROBUST_LOSS, *catalogue.ROBUST])
@pytest.mark.parametrize("noise_model", [NO_NOISE_MODEL, *catalogue.NOISE_MODELS])
@pytest.mark.parametrize("drop_below", [0.0, 0.5])
@pytest.mark.parametrize("cleaning", ["threshold", "sampled"])
@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec", "gru4rec"])
def test_so_are_those_of_a_noise_model_and_a_robust_loss(
    noise_model: str, robust: str, drop_below: float, cleaning: Literal["threshold", "sampled"], backbone: str
) -> None:
    config = ModelConfig(
        backbone=backbone, noise_model=noise_model, robust=robust, cleaning=cleaning, drop_below=drop_below
    )
    assert_effective_is_what_is_read(replace(config, dim=4, heads=1, length=3))


@pytest.mark.parametrize("backbone", WITHOUT_ATTENTION)
@pytest.mark.parametrize("of_attention", [{"gate": "top-k"}, {"gamma": 0.1}, {"attention_power": 1.0}])
def test_attention_that_a_backbone_has_not_is_refused(backbone: str, of_attention: dict[str, Any]) -> None:
    (setting,) = of_attention
    config = ModelConfig(backbone=backbone, noise_model="popularity", **of_attention)
    with pytest.raises(WrongChoice, match=f"the backbone {backbone} has no attention for {setting} to work on") as told:
        catalogue.check(config)
    assert told.value.setting == setting


@pytest.mark.parametrize("backbone", catalogue.COUNT_BASED)
def test_so_are_those_of_a_baseline_that_counts(backbone: str) -> None:
    config = ModelConfig(backbone=backbone, length=3)
    assert config.is_count_based
    assert_effective_is_what_is_read(config)


def test_what_counts_is_trained_for_one_epoch_and_whatever_else_as_it_is_asked_for() -> None:
    asked = TrainingConfig(epochs=7, table_rows="touched", patience=3)
    for backbone in (*catalogue.BACKBONES, *catalogue.GENERATIVE):
        assert asked.of(ModelConfig(backbone=backbone)) == asked
    for backbone in catalogue.COUNT_BASED:
        assert asked.of(ModelConfig(backbone=backbone)) == TrainingConfig(epochs=1, patience=3)


@pytest.mark.parametrize("backbone", catalogue.COUNT_BASED)
@pytest.mark.parametrize(
    "of_networks", [{"gate": "top-k"}, {"noise_model": "popularity"}, {"robust": "truncated"}, {"gamma": 0.1}]
)
def test_a_baseline_that_counts_has_nothing_that_is_trained(backbone: str, of_networks: dict[str, Any]) -> None:
    with pytest.raises(WrongChoice, match=f"the backbone {backbone} counts the log") as refused:
        catalogue.check(ModelConfig(backbone=backbone, **of_networks))
    assert refused.value.setting in of_networks


@pytest.mark.parametrize("backbone", catalogue.GENERATIVE)
def test_so_are_those_of_a_generative_recommender(backbone: str) -> None:
    assert_effective_is_what_is_read(ModelConfig(backbone=backbone, dim=4, heads=1, length=3))


@pytest.mark.parametrize("backbone", catalogue.GENERATIVE)
@pytest.mark.parametrize(
    "part",
    [
        *({"gate": "positional"}, {"gate": "top-k"}, {"gamma": 0.1}, {"noise_model": "co-occurrence"}),
        *({"robust": "truncated"}, {"robust": CO_TEACHING}, {"drop_events": 0.1}, {"corrupt_inputs": 0.1}),
    ],
)
def test_a_generative_recommender_has_no_part_that_goes_with_another_objective(
    backbone: str, part: dict[str, Any]
) -> None:
    with pytest.raises(WrongChoice, match=f"the backbone {backbone} generates what comes next") as refused:
        catalogue.check(ModelConfig(backbone=backbone, **part))
    assert refused.value.setting in part


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"diffusion_steps": 0}, "diffusion_steps must be at least 1"),
        ({"diffusion_schedule": "square"}, "diffusion_schedule must be linear or cosine or exponential"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
        ({"generated": -1}, "generated must be at least 0"),
        ({"unconditional": 1.0}, r"unconditional must lie in \[0, 1\)"),
        ({"unconditional": 0.0}, "a guidance of 2.0 needs targets that are told without a history"),
    ],
)
def test_diffusion_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelConfig(backbone="dreamrec", **settings)
    assert ModelConfig(backbone="dreamrec", guidance=0.0, unconditional=0.0).guidance == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"diffrec_hidden": 0}, "diffrec_hidden must be at least 1"),
        ({"diffrec_steps": 0}, "diffrec_steps must be at least 1"),
        ({"diffrec_oldest": 1.1}, r"diffrec_oldest must lie in \[0, 1\]"),
        ({"diffrec_weights": "none"}, "diffrec_weights must be equal or snr"),
        ({"diffrec_least": 0.02}, r"diffrec_least \(0.02\) is more than diffrec_most \(0.01\)"),
        ({"diffrec_least": 0.0}, "the noise's variance.* must lie between 0 and 1, not 0.1 times 0.0 to 0.01"),
        ({"diffrec_scale": 100.0}, "the noise's variance.* must lie between 0 and 1"),
        ({"diffrec_scale": -1.0}, "the noise's variance.* must lie between 0 and 1"),
    ],
)
def test_noise_that_diffrec_cannot_have_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelConfig(backbone="diffrec", **settings)


@pytest.mark.parametrize("estimator", catalogue.OF_A_BATCH)
def test_one_mask_for_a_whole_batch_is_refused_of_a_gate_that_has_none(estimator: str) -> None:
    with pytest.raises(WrongChoice, match="one mask for a whole batch") as refused:
        catalogue.check(ModelConfig(gate="contextual", estimator=estimator))
    assert refused.value.setting == "estimator"
    assert "choose from arm-per-token, straight-through, hard-concrete" in str(refused.value)


@pytest.mark.parametrize("backbone", CONTRASTED)
def test_so_are_those_of_a_contrastive_loss(backbone: str) -> None:
    assert_effective_is_what_is_read(ModelConfig(backbone=backbone, contrast=0.1, dim=4, heads=1, length=3))


@pytest.mark.parametrize("noise_model", [NO_NOISE_MODEL, "co-occurrence"])
def test_so_are_those_of_a_network_that_is_pooled_with_neighbours(noise_model: str) -> None:
    config = ModelConfig(neighbour_weight=0.5, noise_model=noise_model, dim=4, heads=1, length=3)
    assert_effective_is_what_is_read(config)


def test_so_are_those_of_co_teaching() -> None:
    assert_effective_is_what_is_read(ModelConfig(robust=CO_TEACHING, dim=4, heads=1, length=3))


@pytest.mark.parametrize(
    "against_noise", [{"noise_model": "popularity"}, {"robust": "truncated"}, {"robust": CO_TEACHING}]
)
def test_a_noise_model_is_refused_beside_a_gate(against_noise: dict[str, Any]) -> None:
    for setting, value in (("gate", "positional"), ("gamma", 0.1)):
        with pytest.raises(WrongChoice, match="are for a backbone without a gate") as refused:
            catalogue.check(ModelConfig.from_dict(against_noise | {setting: value}))
        assert refused.value.setting == setting


def test_heads_must_share_the_width_of_items_and_users() -> None:
    with pytest.raises(ValueError, match=r"dim and user_dim together \(50 \+ 51\) must be a multiple of heads"):
        ModelConfig(backbone="sse-pt", user_dim=51)
    assert ModelConfig(user_dim=51).user_dim == 51


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_setting_is_a_finite_number(value: float) -> None:
    with pytest.raises(ValueError, match="beta must be a finite number"):
        ModelConfig(beta=value)
    with pytest.raises(ValueError, match="learning_rate must be a finite number"):
        TrainingConfig(learning_rate=value)


def assert_effective_is_what_is_read(config: ModelConfig) -> None:
    known = {field.name for field in fields(ModelConfig)}
    read: set[str] = set()

    class Watched(ModelConfig):
        def __getattribute__(self, name: str) -> Any:
            if name in known:
                read.add(name)
            return super().__getattribute__(name)

    watched = Watched(**config.to_dict())
    read.clear()
    catalogue.build(watched, 5, seed=0)
    assert set(config.effective()) == read
    assert config.effective() == {name: value for name, value in config.to_dict().items() if name in read}


def test_what_a_model_leaves_unread_does_not_make_it_another() -> None:
    plain, gated = ModelConfig(), ModelConfig(gate="positional")
    assert plain.effective() == replace(plain, beta=0.5, gate_logit=0.0, estimator="other").effective()
    assert plain.effective() != replace(plain, negatives=2).effective()
    assert replace(plain, loss="softmax").effective() == replace(plain, loss="softmax", negatives=2).effective()
    for change in ({"beta": 0.5}, {"gate_logit": 0.0}, {"dim": 60}, {"gate": NO_GATE}):
        assert gated.effective() != replace(gated, **change).effective()


def test_a_part_that_says_nothing_may_read_everything() -> None:
    config = ModelConfig(
        backbone="new",
        loss="new",
        gate="new",
        estimator="new",
        gamma=0.1,
        noise_model="new",
        robust="new",
        contrast=0.1,
    )
    assert config.effective() == config.to_dict()


def test_what_is_said_to_be_unread_is_there() -> None:
    tables: dict[str, Collection[Any]] = {
        "backbone": {*catalogue.BACKBONES, *catalogue.COUNT_BASED, *catalogue.GENERATIVE, *OWN},
        "loss": catalogue.LOSSES,
        "gate": {NO_GATE: None, **catalogue.GATES, **catalogue.CONTROLS},
        "estimator": catalogue.ESTIMATORS,
        "beta": {0.0: None},
        "gamma": {0.0: None},
        "contrast": {0.0: None},
        "neighbour_weight": {0.0: None},
        "noise_model": {NO_NOISE_MODEL: None, **catalogue.NOISE_MODELS},
        "cleaning": {"sampled": None},
        "drop_below": {0.0: None},
        "robust": {NO_ROBUST_LOSS: None, CO_TEACHING: None, **catalogue.ROBUST},
    }
    known = {field.name for field in fields(ModelConfig)}
    together = [(choice, unread) for choices, unread in UNUSED_TOGETHER.items() for choice in choices]
    for (part, name), unread in [*UNUSED.items(), *together]:
        assert name in tables[part]
        assert set(unread) <= known
