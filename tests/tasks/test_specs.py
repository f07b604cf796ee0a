"""What a name in a spec stands for: of a log, of a method, and what is usual where nothing is said."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.training import Training
from tasks.audit.specs import AuditSpec
from tasks.specs import (
    METHODS,
    CellSpec,
    FileRequest,
    IngestSpec,
    MethodSpec,
    RecommendSpec,
    RobustnessSpec,
    StudyRequest,
    default_training,
    named_method,
)
from tasks.tuning.specs import TuneRequest
from tests.models.builders import planted_log

LOGS = (IngestSpec, AuditSpec, RobustnessSpec, RecommendSpec)


def refusal(spec: type[Any], said: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as told:
        spec.model_validate(said)
    return str(told.value)


@pytest.mark.parametrize("spec", LOGS)
def test_a_name_of_a_data_set_without_a_source_is_not_the_generated_log(spec: type[Any]) -> None:
    told = refusal(spec, {"dataset": "ml-1"})
    assert "'ml-1' names a data set, and no source says which log that is; is it the public data set ml-1m" in told
    assert "no source" in refusal(spec, {"dataset": "mine", "source": {"columns": {"time": "at"}}})


@pytest.mark.parametrize("spec", LOGS)
def test_the_generated_log_has_another_name_where_it_is_said_to_be_it(spec: type[Any]) -> None:
    assert spec().dataset == "shoppers"
    for source in ({"shoppers": {"users": 50}}, {"path": "shoppers"}, {"path": "log.csv"}):
        made = spec.model_validate({"dataset": "mine", "source": source})
        assert spec.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("spec", LOGS)
def test_a_log_without_a_name_has_its_files(spec: type[Any]) -> None:
    assert spec.model_validate({"source": {"path": "logs/My Shop.csv"}}).dataset == "my-shop"
    assert spec.model_validate({"source": {"path": "shoppers"}}).dataset == "shoppers"


def test_a_stranger_is_scored_by_the_model_of_any_data_set() -> None:
    assert RecommendSpec(dataset="mine", history=("a", "b")).dataset == "mine"


@pytest.mark.parametrize("field", ["history", "only", "exclude"])
def test_ids_that_are_numbers_may_be_given_as_numbers(field: str) -> None:
    assert getattr(RecommendSpec.model_validate({field: [17, "007", -5]}), field) == ("17", "007", "-5")
    for wrong in (True, 1.5, None, [17]):
        with pytest.raises(ValidationError, match="valid string"):
            RecommendSpec.model_validate({field: [wrong]})


def test_what_is_said_of_a_training_is_said_over_the_usual_one_of_the_log() -> None:
    generated = default_training(None)
    for source in ({}, {"path": "shoppers"}):
        spec = RobustnessSpec.model_validate({"source": source, "training": {"patience": 3}})
        assert spec.training.to_dict() == generated.to_dict() | {"patience": 3}
    spec = RobustnessSpec.model_validate({"source": {"path": "log.csv"}, "training": {"patience": 3}})
    assert spec.training.epochs == 100
    cell = CellSpec.model_validate({"method": "mine", "model": {}, "training": {"epochs": 4}})
    assert cell.training.to_dict() == generated.to_dict() | {"epochs": 4}


@pytest.mark.parametrize("request_of", [StudyRequest, TuneRequest])
def test_what_is_set_over_a_file_is_kept_without_an_addresss_secrets(request_of: type[FileRequest]) -> None:
    address = "base.source.path=https://ann:s3cret@host/log.csv?sig=deadbeef"
    request = request_of(file="quick", overrides=(address, "trials=8"))
    assert request.overrides[0] == address, "it is fetched with them"
    assert request.shown == ("base.source.path=https://host/log.csv", "trials=8")
    assert request.model_dump(mode="json") == {"file": "quick", "overrides": list(request.shown)}


def test_a_shipped_methods_name_is_that_method_wherever_it_is_said() -> None:
    spec = RobustnessSpec.model_validate({"methods": ["bert4rec", {"name": "denoised-bce", "model": {"dim": 20}}]})
    masked, denoised = (method.model for method in spec.methods)
    assert (masked.backbone, masked.loss) == ("bert4rec", "softmax")
    assert (denoised.noise_model, denoised.dim) == ("co-occurrence", 20)
    assert RobustnessSpec.model_validate(spec.model_dump()) == spec
    assert MethodSpec(name="sasrec-gbce", model=ModelConfig(loss="gbce", negatives=64)).model.negatives == 64


@pytest.mark.parametrize(
    ("name", "closes", "recipe"),
    [
        ("rec-denoiser-published", True, {"estimator": "arm", "beta": 0.01, "beta_on": "sum", "gamma": 0.001}),
        ("rec-denoiser", False, {"estimator": "arm-per-token", "beta": 0.06, "beta_on": "mean", "gamma": 0.0}),
    ],
)
def test_the_recipe_as_published_closes_its_mask_and_the_repaired_one_does_not(
    name: str, *, closes: bool, recipe: dict[str, Any]
) -> None:
    log, _ = planted_log(kind="uniform", share=0.0, users=200)
    config = named_method(name, dim=8, length=28).model
    assert config.to_dict().items() >= recipe.items()
    model = build(config, log.sequences.item_count, seed=1)
    training = Training(
        model, log, log, TrainingConfig(epochs=4, validate_every=4, batch_size=50),
        seed=1, evaluation_seed=0, device=torch.device("cpu"),
    )  # fmt: skip
    training.run(on_epoch=lambda _: None)
    assert (training.progress.collapsed_epoch is not None) == closes
    figures = model.diagnostics()
    assert figures["gate.open_share"] == (0.0 if closes else 1.0)
    assert figures["gate.mean_keep"] == pytest.approx(0.5 if closes else 0.88, abs=0.05)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("bert4rec", {"backbone": "sasrec"}),
        ("sasrec-bce", {"noise_model": "co-occurrence"}),
        ("denoised-bce", {"robust": "truncated"}),
        ("bert4rec", {"corrupt_inputs": 0.3}),
        ("sasrec-bce", {"gamma": 0.001}),
        ("sasrec-bce", {"contrast": 0.1}),
        ("cl4srec", {"contrast": 0.2}),
    ],
)
def test_what_would_make_another_method_of_it_needs_another_name(name: str, more: dict[str, Any]) -> None:
    told = refusal(MethodSpec, {"name": name, "model": more})
    (setting,) = more
    assert f"the method {name} fixes {setting} to" in told
    assert "it needs a name of its own" in told
    assert MethodSpec.model_validate({"name": "mine", "model": more}).model == ModelConfig.from_dict(more)


def test_what_a_job_says_of_all_its_methods_leaves_each_what_its_name_says() -> None:
    for name in METHODS:
        made = named_method(name, gamma=0.001, noise_model="popularity", dim=20).model
        assert made.dim == 20
        assert made.noise_model == METHODS[name].get("noise_model", "none")
        assert made.gamma == (0.0 if "gate" not in METHODS[name] else METHODS[name].get("gamma", 0.001))


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"name": ["sasrec-bce"]}, "methods.0.name\n  Input should be a valid string"),
        ({"name": "sasrec-bce", "model": 3}, "methods.0.model\n  Input should be a dictionary"),
        ({"name": "sasrec-bce", "model": None}, "methods.0.model\n  Input should be a dictionary"),
    ],
)
def test_a_method_that_is_written_otherwise_is_refused_by_its_place(method: dict[str, Any], told: str) -> None:
    assert told in refusal(RobustnessSpec, {"methods": [method]})
