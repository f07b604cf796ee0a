"""`python -m models.filter judge REQUEST.json`: how likely each of a log's training interactions is to be genuine.

A program of its own beside `models.__main__`, which speaks as that one does, so that what it learns to do makes no
training out of date. A request: `log` (a file of `models.engine.sequences.load_log`), `by` (the name of a noise model),
`reach` (how many events to each side count as near), `folds` (of users, see `models.denoising.noise.crossfit`), `seed`,
`threads`, `out` (an .npz file: `users`, `positions` and `keep`, [judged] by user and position), `ends_with_parent` and
`channel`.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from models.__main__ import as_asked, run
from models.catalogue import NOISE_MODELS
from models.config import ModelConfig
from models.denoising.noise.crossfit import cross_fitted
from models.denoising.noise.seam import NoiseModel
from models.engine.files import save_arrays
from models.engine.sequences import load_log, owners, places, training_part


def judge_log(request: dict[str, Any]) -> dict[str, Any]:
    """Judge and write the arrays; the estimated share of noise.

    Raises `models.__main__.BadRequest`.
    """
    with as_asked():
        sequences = load_log(Path(request["log"])).sequences
        config = ModelConfig.from_dict({"noise_model": request["by"], "reach": request["reach"]})

    def make() -> NoiseModel:
        return NOISE_MODELS[config.noise_model](config, sequences.item_count)

    torch.manual_seed(request["seed"])
    verdict = cross_fitted(make, sequences, folds=request["folds"], seed=request["seed"])
    part = training_part(sequences)
    found = {"users": owners(sequences)[part], "positions": places(sequences)[part], "keep": verdict.keep[part]}
    save_arrays(Path(request["out"]), **{name: value.numpy() for name, value in found.items()})
    return {"share": verdict.share}


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], {"judge": lambda request, _: judge_log(request)}, usage=__doc__ or ""))
