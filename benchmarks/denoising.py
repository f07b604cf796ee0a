"""What denoising costs over the backbone's step, and how noisy each estimator's gradient is.

    .venv/bin/python -m benchmarks.denoising
    .venv/bin/python -m benchmarks.denoising --source ../shared/data/ml-1m.parquet --order-col position --json cost.json

Every variant takes the same users' batches, one with a noise model those of the log as it judges it, which it does once
before, told by itself. The variants take turns, step by step; the first, in which a GPU gets ready, is not counted.
On a CPU with one thread processor time is counted, so that a busy neighbour changes little. Figures are medians of the
step's time over the backbone's of the same turn. The variance of an estimator is that of the gate's gradient over
repeated draws on one batch before any training, summed over cells, relative to ARM with credit by token.
"""

import argparse
import itertools
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.logs import add_options, log_of, name_of
from benchmarks.result import write
from benchmarks.taken import Clock, clock_for
from models.catalogue import LIBRARIES, build
from models.config import NO_NOISE_MODEL, ModelConfig, TrainingConfig
from models.denoising.denoised import Denoised
from models.denoising.gates import PositionalGate
from models.engine.batches import Batch
from models.engine.sequences import InteractionLog
from models.engine.training import Training

BACKBONE = "backbone"
SCORE_FUNCTIONS = ("arm-per-token", "arm", "reinforce", "ar")


def main() -> None:
    """Measure, print tables, and write JSON where asked."""
    options = _options()
    torch.set_num_threads(options.threads)
    log = log_of(options)
    backbone = ModelConfig(loss=options.loss)
    variants = dict(_possible(_variants(backbone, has_times=log.sequences.times is not None)))
    trainings = {name: _training(log, config, options) for name, config in variants.items()}
    clock = clock_for(options.device, threads=options.threads)
    judging = {
        name: _judged(log, config, options, clock)
        for name, config in variants.items()
        if config.noise_model != NO_NOISE_MODEL
    }
    ratios = _ratios(trainings, options, clock)
    variances = {name: _variance(_training(log, _gated(backbone, name), options), options) for name in SCORE_FUNCTIONS}
    for name, ratio in ratios.items():
        print(f"{name:32} {ratio:6.2f} × the backbone's step")
    for name, seconds in judging.items():
        print(f"{name:32} {seconds:6.2f} seconds of the {clock.of} once, to judge the log")
    for name, value in variances.items():
        print(f"{name:32} {value / variances['arm-per-token']:10.1f} × the variance of arm-per-token")
    result = {
        "source": name_of(options),
        "loss": options.loss,
        "threads": options.threads,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "step_time_over_backbone": ratios,
        "seconds_to_judge_the_log": judging,
        "gradient_variance_over_arm_per_token": {
            name: value / variances["arm-per-token"] for name, value in variances.items()
        },
    }
    write(options.json, result, options.device)


def _variants(backbone: ModelConfig, *, has_times: bool) -> dict[str, ModelConfig]:
    one_by_one = ("arm-per-token", "arm", "ar", "reinforce", "straight-through", "hard-concrete")
    contextual = replace(backbone, gate="contextual", estimator="hard-concrete", beta=0.0)
    return {
        BACKBONE: backbone,
        **{name: _gated(backbone, name) for name in one_by_one},
        "contextual gate": contextual,
        "contextual gate, by ranking alone": replace(contextual, gate_planted=0.0),
        "contextual gate, arm-per-token": replace(contextual, estimator="arm-per-token"),
        "arm-per-token, passes stacked": replace(_gated(backbone, "arm-per-token"), passes="stacked"),
        "jacobian alone": replace(backbone, gamma=1e-5),
        "jacobian alone, every 5th step": replace(backbone, gamma=1e-5, jacobian_every=5),
        "arm + jacobian (published)": replace(_gated(backbone, "arm"), beta_on="sum", gamma=1e-3),
        "fixed random mask": replace(backbone, gate="fixed-random"),
        "head drop": replace(backbone, gate="head-drop"),
        "top-k": replace(backbone, gate="top-k"),
        "sparse transformer": replace(backbone, gate="sparse-transformer"),
        "α-entmax": replace(backbone, gate="alpha-entmax"),
        "noise model": replace(backbone, noise_model="co-occurrence"),
        "noise model, masks attention": replace(backbone, noise_model="co-occurrence", attention_power=1.0),
        "truncated loss": replace(backbone, robust="truncated"),
        "co-teaching": replace(backbone, robust="co-teaching"),
        "contrastive loss": replace(backbone, contrast=0.1),
        **({"tisasrec, no gate": replace(backbone, backbone="tisasrec")} if has_times else {}),
    }


def _possible(variants: Mapping[str, ModelConfig]) -> Iterator[tuple[str, ModelConfig]]:
    """The variants less those whose gate needs a library that this machine has not; each of these is told."""
    for name, config in variants.items():
        missing = [library for library in LIBRARIES.get(config.gate, ()) if find_spec(library) is None]
        if missing:
            print(f"{name:32} left out: there is no {missing[0]} here")
        else:
            yield name, config


def _gated(backbone: ModelConfig, estimator: str) -> ModelConfig:
    return replace(backbone, gate="positional", estimator=estimator)


def _training(log: InteractionLog, config: ModelConfig, options: argparse.Namespace) -> Training:
    model = build(config, log.sequences.item_count, seed=1)
    settings = TrainingConfig(batch_size=options.batch_size)
    return Training(model, log, log, settings, seed=1, evaluation_seed=0, device=torch.device(options.device))


def _batches(training: Training, options: argparse.Namespace) -> list[Batch]:
    epoch = training.model.training_batches(
        training.log.sequences,
        batch_size=options.batch_size,
        generator=torch.Generator().manual_seed(0),
        draws=training.draws,
    )
    return list(itertools.islice(itertools.cycle(list(epoch)), 1 + options.steps))


def _judged(log: InteractionLog, config: ModelConfig, options: argparse.Namespace, clock: Clock) -> float:
    """The seconds in which a noise model learns from the log and judges it."""
    device = torch.device(options.device)
    sequences, model = log.sequences.to(device), build(config, log.sequences.item_count, seed=1).to(device)
    started = clock.now()
    model.prepare(sequences)
    return clock.now() - started


def _step(training: Training, batch: Batch, number: int) -> None:
    loss = training.model.loss(batch, replace(training.draws, step=number))
    training.optimizer.zero_grad()
    loss.objective().backward()
    training.optimizer.step()


def _ratios(trainings: dict[str, Training], options: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Medians of turns; of a variant that differs from step to step the ratio of sums, which needs a quiet machine."""
    batches = {name: _batches(training, options) for name, training in trainings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for number in range(1 + options.steps):
        for name, training in trainings.items():
            batch = replace(batches[name][number])  # without what an earlier turn has cached in it
            started = clock.now()
            _step(training, batch, number)
            if number:
                seconds[name].append(clock.now() - started)
    own = seconds[BACKBONE]
    return {
        name: sum(values) / sum(own)
        if "every" in name
        else statistics.median(value / base for value, base in zip(values, own, strict=True))
        for name, values in seconds.items()
    }


def _variance(training: Training, options: argparse.Namespace) -> float:
    """The summed variance of the gate's gradient on one batch, dropout and negatives drawn anew each time."""
    model = training.model
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    batch = _batches(training, options)[0]
    gradients: list[Tensor] = []
    for _ in range(options.draws):
        surrogate = model.loss(batch, training.draws).surrogates["gate"]
        gradients.extend(torch.autograd.grad(surrogate, model.gate.phi))
    # The first of REINFORCE has no baseline yet.
    return float(torch.stack(gradients[1:]).var(0).sum())


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--loss", default="bce", choices=("bce", "softmax"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--draws", type=int, default=40, help="of each estimator's gradient")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
