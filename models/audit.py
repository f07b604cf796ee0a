"""`python -m models.audit audit REQUEST.json`: how likely each of a log's training interactions is to be noise.

A program of its own beside `models.__main__`, which speaks as that one does, so that what it learns to do makes no
training out of date. A request: `log` (a file of `models.engine.sequences.load_log`), `reach` (how many events to each
side count as near), `resamples` (of users), `seed`, `threads`, `out` (an .npz file: the tensors of
`models.denoising.noise.auditing.Audit`), `ends_with_parent` and `channel`.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.__main__ import as_asked, run
from models.denoising.noise.auditing import Auditor
from models.engine.files import save_arrays
from models.engine.sequences import load_log


def audit_log(request: dict[str, Any]) -> dict[str, Any]:
    """Audit and write the arrays; the share of noise, of all kinds and of each.

    Raises `models.__main__.BadRequest`.
    """
    with as_asked():
        sequences = load_log(Path(request["log"])).sequences
        torch.manual_seed(request["seed"])
        auditor = Auditor(sequences.item_count, reach=request["reach"])
        found = asdict(auditor.audit(sequences, resamples=request["resamples"]))
    arrays = {name: value.numpy() for name, value in found.items() if isinstance(value, Tensor)}
    save_arrays(Path(request["out"]), **arrays)
    return {name: value for name, value in found.items() if not isinstance(value, Tensor)}


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], {"audit": lambda request, _: audit_log(request)}, usage=__doc__ or ""))
