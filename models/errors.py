"""What can go wrong with a model in ways that a caller tells apart."""


class Diverged(ArithmeticError):
    """The loss or the scores stopped being numbers: the settings, not the input, want changing."""


class NotCompiled(RuntimeError):
    """torch.compile could not compile a training's step: what it needs is not here."""
