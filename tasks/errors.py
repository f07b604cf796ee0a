"""What a person can put right, told in one sentence."""

from collections.abc import Mapping
from typing import Any


class InputError(Exception):
    """The input or the request is wrong: the message names what, where and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


class RunFailed(Exception):
    """A run that began has failed, for a reason that its log has told: the command line exits with status 1."""


class PartlyFailed(RunFailed):
    """Some of a run's trainings have failed. `outcome` is what came of the others, as JSON."""

    def __init__(self, message: str, outcome: Mapping[str, Any]) -> None:
        super().__init__(message, outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return str(self.args[0])
