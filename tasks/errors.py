"""What a person can put right, told in one sentence."""


class InputError(Exception):
    """The input or the request is wrong: the message names what, where and what to do.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


class RunFailed(Exception):
    """A run that began has failed, for a reason that its log has told: the command line exits with status 1."""
