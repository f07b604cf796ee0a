"""An embedding of each user, and one that all share whom a training did not see."""

import torch
from torch import Tensor, nn

from models.engine.sequences import Sequences


class UserTable(nn.Embedding):
    """[users, dim]. A user that training did not see — held out, with fewer than two training events, or served by a
    history alone — has the mean embedding of those that it saw.
    """

    trained: Tensor

    def __init__(self, user_count: int, dim: int) -> None:
        super().__init__(max(user_count, 1), dim)
        self.register_buffer("trained", torch.zeros(max(user_count, 1), dtype=torch.bool))

    def prepare(self, sequences: Sequences) -> None:
        """Note who is trained on. Raises `ValueError` where the log has another number of users."""
        if sequences.user_count != len(self.trained):
            raise ValueError(f"the model has {len(self.trained)} users, and the log {sequences.user_count}")
        self.trained = sequences.train_lengths > 1

    def forward(self, users: Tensor) -> Tensor:
        """users […] int64, any number for a stranger → […, dim]."""
        with torch.no_grad():
            weights = self.trained.to(self.weight.dtype)
            mean = weights @ self.weight / weights.sum().clamp(min=1.0)
        numbers = users.clamp(0, len(self.weight) - 1)
        known = (users == numbers) & self.trained[numbers]
        return torch.where(known[..., None], super().forward(numbers), mean)
