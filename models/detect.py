"""`python -m models.detect detect REQUEST.json`: how suspicious a log's training interactions are to a trained model.

A program of its own beside `models.__main__`, which speaks as that one does, so that a new detector makes no training
and no ranking out of date. A request: `log` (a file of `models.engine.sequences.load_log`, the one that was trained
on), `folder` (of the training), `device`, `threads`, `out` (an .npz file: `users`, `positions`, and an array for each
detector of `models.engine.detection`), `ends_with_parent` and `channel`.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch

from models.__main__ import as_asked, run
from models.description import described
from models.engine.detection import suspicions
from models.engine.files import save_arrays
from models.engine.sequences import load_log
from models.own import faults_of_files_told
from models.storage import load_model


def judge_interactions(request: dict[str, Any]) -> dict[str, Any]:
    """Judge and write the arrays; the seconds that the judging took, and the detectors' names.

    Raises `models.__main__.BadRequest`, and `models.errors.Diverged` where a suspicion is not finite; what a person's
    own file raises as `models.config.WrongChoice`.
    """
    device = torch.device(request["device"])
    with as_asked():
        sequences = load_log(Path(request["log"])).sequences.to(device)
        model = load_model(Path(request["folder"]), device=device)
    started = time.monotonic()
    with faults_of_files_told(described(Path(request["folder"])).config):
        found = suspicions(model, sequences)
    seconds = time.monotonic() - started
    save_arrays(Path(request["out"]), users=found.users, positions=found.positions, **found.scores)
    return {"seconds": seconds, "detectors": list(found.scores)}


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], {"detect": lambda request, _: judge_interactions(request)}, usage=__doc__ or ""))
