"""DiffRec and T-DiffRec (Wang, Xu, Feng, Lin, He & Chua, *Diffusion Recommender Model*, SIGIR 2023)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.engine.batches import Batch, user_batches, windows
from models.engine.sequences import Sequences
from models.networks.diffusion import Diffusion, waves
from models.recommender import Draws, Loss, Recommender

STEP_DIM = 10
"""Of a step's embedding."""
BIAS_DEVIATION = 0.001
"""Of the biases that training begins with."""
CELLS_AT_A_TIME = 2**24
"""Of the vectors [windows, items] that are held to rank with, 64 MB of them: surprises are asked for at each event."""


@dataclass(frozen=True)
class Reverse:
    """The reverse chain as its hidden layer sees it, by the weights of a moment: with W the layer that reads a vector,
    V and b the one that predicts it.

    reads: Wᵀ [items, hidden]; again: W V [hidden, hidden]; constant: W b [hidden]
    of_steps: [steps, hidden], what the hidden layer has of each step, its bias included
    of_start, of_noisy: the posterior mean's weights, by step
    """

    reads: Tensor
    again: Tensor
    constant: Tensor
    of_steps: Tensor
    of_start: list[float]
    of_noisy: list[float]

    def hidden(self, start: Tensor) -> Tensor:
        """x_0 [n, items] → [n, hidden]: the hidden layer of the chain's last step, from x_T = x_0 on.

        A step is x_{t−1} = a_t (V tanh(W x_t + e_t) + b) + b_t x_t. The next one reads W x_{t−1} of it and nothing
        else, so that no more than that is carried on.
        """
        read = start @ self.reads
        hidden = read
        for of_step, of_start, of_noisy in reversed(
            list(zip(self.of_steps, self.of_start, self.of_noisy, strict=True))
        ):
            hidden = torch.tanh(read + of_step)
            read = of_start * (hidden @ self.again.T + self.constant) + of_noisy * read
        return hidden


class DiffRec(Recommender):
    """Takes noise away from the vector of all that a user has interacted with: what is then high in it is recommended.

    x_0 ∈ [0, 1]^items is of a window's items, in any order: 1 for each that it has, or, as T-DiffRec has it, a weight
    that rises in equal steps from `oldest`, of the window's oldest event, to 1, of its newest; an item that it has
    several times has the weight of the newest. In training x_0 has noise added to it, as much as a step t drawn for the
    window says, and a network of one hidden layer, x̂_0 = V tanh(W [dropped-out x_t, e_t] + c) + b, learns to tell x_0.
    The loss is the mean of (x_0 − x̂_0)² over the items, with "snr" for `weights` times what the evidence's lower bound
    gives the step, SNR(t − 1) − SNR(t), and 1 for the first. Steps are drawn uniformly.

    It ranks by the x̂_0 at which the reverse chain ends, which begins at x_0 as it is and takes the posterior's mean at
    each step, so that nothing is drawn. Since the chain goes through the hidden layer at every step, scores are inner
    products of its last state and the rows of V, with b beside them (`Reverse`).

    It is no model of what comes next: the window's own items score high, and no order but T-DiffRec's weights is seen.
    Users have no weights, so that strangers are like all others. W and V have items × `hidden` numbers each, and a
    batch some vectors of the catalogue's length for each window.
    """

    signal: Tensor
    noise: Tensor
    step_weights: Tensor
    waves: Tensor

    def __init__(
        self,
        item_count: int,
        diffusion: Diffusion,
        *,
        length: int,
        hidden: int,
        dropout: float,
        oldest: float,
        weights: Literal["equal", "snr"],
    ) -> None:
        super().__init__()
        self.length = length
        self.item_count = item_count
        self.diffusion = diffusion
        self.dropout = dropout
        self.oldest = oldest
        steps = len(diffusion.betas)
        self.step = nn.Linear(STEP_DIM, STEP_DIM)
        self.reader = nn.Linear(item_count + STEP_DIM, hidden)
        self.predictor = nn.Linear(hidden, item_count)
        for layer in (self.step, self.reader, self.predictor):
            nn.init.xavier_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=BIAS_DEVIATION)
        self.waves = nn.Buffer(waves(steps, STEP_DIM), persistent=False)
        self.signal = nn.Buffer(diffusion.kept.sqrt().float(), persistent=False)
        self.noise = nn.Buffer((1 - diffusion.kept).sqrt().float(), persistent=False)
        self.step_weights = nn.Buffer(
            bound_weights(diffusion).float() if weights == "snr" else torch.ones(steps), persistent=False
        )

    @property
    def mask(self) -> int | None:
        """Nothing stands for an event that is hidden: the vector lacks its item."""
        return 0

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        """Windows of all of users' training parts, to their ends: nothing is held back to be predicted."""
        stops = sequences.train_lengths.cpu()
        for users in user_batches(sequences, batch_size=batch_size, generator=generator):
            yield windows(sequences, users, stops[users], length=self.length, with_targets=False)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """A term for each window; the batch needs no targets."""
        starts = self.vectors(batch, batch.ends)
        steps = draws.whole_numbers(len(self.signal), len(starts))
        noisy = self.signal[steps, None] * starts + self.noise[steps, None] * draws.normals(*starts.shape)
        noisy = draws.dropout()(noisy, self.dropout)
        joint = torch.cat([noisy, self.step(self.waves)[steps]], dim=1)
        predicted: Tensor = self.predictor(torch.tanh(self.reader(joint)))
        return Loss((starts - predicted).square().mean(1) * self.step_weights[steps])

    def query(self, batch: Batch) -> Tensor:
        return self._query(batch, self.reverse())

    def item_table(self) -> Tensor:
        """[items + 1, hidden + 1]: V, and b beside it."""
        table = torch.cat([self.predictor.weight, self.predictor.bias[:, None]], dim=1)
        return torch.cat([table.new_zeros(1, table.shape[1]), table])

    def scorer(self) -> Callable[[Batch], Tensor]:
        reverse, table = self.reverse(), self.item_table()[1:]
        return lambda batch: self._query(batch, reverse) @ table.T

    def reverse(self) -> Reverse:
        """By the weights as they are now."""
        of_items, of_embedding = self.reader.weight.split([self.item_count, STEP_DIM], dim=1)
        return Reverse(
            reads=of_items.T,
            again=of_items @ self.predictor.weight,
            constant=of_items @ self.predictor.bias,
            of_steps=self.step(self.waves) @ of_embedding.T + self.reader.bias,
            of_start=self.diffusion.of_start.tolist(),
            of_noisy=self.diffusion.of_noisy.tolist(),
        )

    def vectors(self, batch: Batch, ends: Tensor) -> Tensor:
        """[ends, items]: x_0 of what is visible at each of `ends` of the flattened grid. An event whose item is 0 has
        its place among the others, and no part in it.
        """
        seen = batch.visible.flatten(0, 1)[ends]
        places, counts = seen.cumsum(1) - 1, seen.sum(1, keepdim=True)
        # The newest is as far as it can be from the oldest, even where it is the oldest.
        newness = torch.where(counts > 1, places / (counts - 1).clamp(min=1), 1.0)
        weights = (self.oldest + (1 - self.oldest) * newness) * seen
        vectors = torch.zeros(len(ends), self.item_count + 1, device=seen.device)
        vectors.scatter_reduce_(1, batch.items[ends // batch.items.shape[1]], weights, "amax")
        return vectors[:, 1:]

    def _query(self, batch: Batch, reverse: Reverse) -> Tensor:
        """[ends, hidden + 1]: the chain's last hidden state, and 1 for the bias."""
        at_a_time = max(1, CELLS_AT_A_TIME // self.item_count)
        hidden = torch.cat([reverse.hidden(self.vectors(batch, ends)) for ends in batch.ends.split(at_a_time)])
        return torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)


def bound_weights(diffusion: Diffusion) -> Tensor:
    """[steps] float64: what each step weighs in the lower bound of the evidence, twice over as the authors' code has
    it: SNR(t − 1) − SNR(t); and 1 for the first, at which x_0 itself is to be found.
    """
    ratios = diffusion.signal_to_noise
    return torch.cat([ratios.new_ones(1), ratios[:-1] - ratios[1:]])
