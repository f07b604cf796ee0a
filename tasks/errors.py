"""What a person can put right, told in one sentence, and any failure in a line."""

LONGEST_REASON = 300


class InputError(Exception):
    """The input or the request is wrong: the message names what, where and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


class RunFailed(Exception):
    """A run that began has failed, for a reason that its log has told: the command line exits with status 1."""


def reason(failure: Exception) -> str:
    """A failure in a line: its message, of a longer one the last line, which is where a traceback says what it was. A
    database's comes before the statement that it refused.
    """
    told = str(failure).partition("\n[SQL: ")[0]
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return lines[-1][:LONGEST_REASON] if lines else type(failure).__name__
