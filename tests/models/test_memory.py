"""That a training keeps its memory from step to step."""

import platform
import subprocess
import sys

import pytest

from tasks.home import PROJECT_ROOT

STEPS = """
import resource, sys
import numpy as np
from models.engine.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()

def step():
    return [np.ones(2**18) for _ in range(40)]

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_steps_touch_the_pages_that_the_first_one_touched() -> None:
    assert faults("keep") < faults("as it is") / 4


def faults(memory: str) -> int:
    command = [sys.executable, "-c", STEPS, memory]
    return int(subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, check=True).stdout)
