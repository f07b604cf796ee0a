"""DreamRec (Yang et al., *Generate What You Prefer: Reshaping Sequential Recommendation via Guided Diffusion*, NeurIPS
2023).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.cross_entropy import cross_entropy
from models.engine.randomness import Dropout, hashed_integers
from models.engine.rows import gathered
from models.engine.sequences import Sequences, places, training_part
from models.networks.diffusion import Diffusion, ReverseChain, reverse_chain, waves
from models.networks.sasrec import Norm, SASRec
from models.recommender import Draws, Loss, Recommender

COLLAPSED_BELOW = 0.05
"""The variance of items, which begins at that of the noise, 1, below which next to nothing of them is left in it."""
SEED = 0
"""Of what is generated: it differs by history, and by nothing else."""


class HistoryEncoder(SASRec):
    """SASRec as DreamRec's authors have it: items and positions begin with unit variance, which is that of the noise
    that is added to items, and items are not scaled where they are read.
    """

    def __init__(
        self, item_count: int, *, length: int, dim: int, blocks: int, heads: int, dropout: float, norm: Norm
    ) -> None:
        super().__init__(item_count, length=length, dim=dim, blocks=blocks, heads=heads, dropout=dropout, norm=norm)
        nn.init.normal_(self.items.weight)
        nn.init.normal_(self.positions.weight)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def _embedded(self, batch: Batch, dropout: Dropout | None) -> Tensor:
        hidden = gathered(self.items.weight, batch.items) + self.positions(batch.positions)
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        return hidden * batch.real


class StepEmbedding(nn.Module):
    """A diffusion step's sines and cosines, through a layer and back."""

    waves: Tensor

    def __init__(self, steps: int, dim: int) -> None:
        super().__init__()
        self.waves = nn.Buffer(waves(steps, dim), persistent=False)
        self.network = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, steps: Tensor) -> Tensor:
        """steps [n] → [n, dim]."""
        embedded: Tensor = self.network(self.waves[steps])
        return embedded


class DreamRec(Recommender):
    """Generates the embedding of the item that comes next, and ranks items by their inner product with it.

    In training the embedding x_0 of each position's next item has noise added to it, as much as a step t drawn for the
    position says, and a linear denoiser f of the noisy x_t, the encoded history h and the step learns to tell x_0. With
    the probability `unconditional` a learned vector ∅ stands for the history. The loss is the mean square of what it is
    wrong by over the dimensions. Its target is trained like all else, and were the same for every item at no
    loss at all: the variance of items, each with its share of the training targets, is watched.

    It generates from x_T ~ N(0, I), step by step, with x̂_0 = (1 + w) f(x_t, h, t) − w f(x_t, ∅, t), w the `guidance`.
    Since f is linear, all the steps together are one, `models.networks.diffusion.reverse_chain`, which is
    drawn from exactly. What is drawn depends on the window's items and nothing else; as many vectors as `generated`
    says are averaged, 0 for the mean of all that could be.
    """

    signal: Tensor
    noise: Tensor
    shares: Tensor

    def __init__(
        self,
        encoder: HistoryEncoder,
        diffusion: Diffusion,
        *,
        guidance: float,
        unconditional: float,
        generated: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.diffusion = diffusion
        self.guidance = guidance
        self.unconditional = unconditional
        self.generated = generated
        self.length = encoder.length
        rows, dim = encoder.items.weight.shape
        self.nobody = nn.Parameter(torch.randn(dim))
        self.step = StepEmbedding(len(diffusion.betas), dim)
        self.denoiser = nn.Linear(3 * dim, dim)
        self.signal = nn.Buffer(diffusion.kept.sqrt().float(), persistent=False)
        self.noise = nn.Buffer((1 - diffusion.kept).sqrt().float(), persistent=False)
        self.shares = nn.Buffer(torch.zeros(rows))

    def prepare(self, sequences: Sequences) -> None:
        targets = sequences.items[training_part(sequences) & (places(sequences) > 0)].long()
        self.shares = torch.bincount(targets, minlength=len(self.shares)).float() / max(len(targets), 1)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return self.encoder.row_tables()

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        if batch.targets is None:
            raise ValueError("the batch has no targets to train on")
        starts = gathered(self.item_table(), batch.events(batch.targets))
        histories = batch.events(self.encoder.encode(batch, dropout=draws.dropout())).to(starts.dtype)
        unknown = draws.fractions(len(starts)) < self.unconditional
        histories = torch.where(unknown[:, None], self.nobody, histories)
        steps = draws.whole_numbers(len(self.signal), len(starts))
        noisy = self.signal[steps, None] * starts + self.noise[steps, None] * draws.normals(*starts.shape)
        return Loss((starts - self.denoised(noisy, histories, steps)).square().mean(1))

    def denoised(self, noisy: Tensor, histories: Tensor, steps: Tensor) -> Tensor:
        """f: noisy x_t [n, dim], histories h [n, dim], steps t [n] → x_0 as they tell it, [n, dim]."""
        predicted: Tensor = self.denoiser(torch.cat([noisy, histories, self.step(steps)], dim=1))
        return predicted

    def query(self, batch: Batch) -> Tensor:
        return self._query(batch, self.reverse_chain())

    def item_table(self) -> Tensor:
        return self.encoder.item_table()

    def scorer(self) -> Callable[[Batch], Tensor]:
        chain, table = self.reverse_chain(), self.item_table()[1:]
        return lambda batch: self._query(batch, chain) @ table.T

    def surprises(self, batch: Batch, items: Tensor) -> Tensor:
        """As of `Recommender`, by the mean of all vectors that could be generated. No training made probabilities of
        these scores: they order items, and how sure they are of them means little.
        """
        return cross_entropy(self._mean(batch, self.reverse_chain()), self.item_table(), items)

    @torch.no_grad()
    def reverse_chain(self) -> ReverseChain:
        """What the chain comes to given (1 + w) h − w ∅, by the weights as they are now; on the CPU, in float64."""
        of_noisy, of_history, of_step = self.denoiser.weight.double().cpu().chunk(3, dim=1)
        steps = self.step(torch.arange(len(self.signal), device=self.signal.device)).double().cpu()
        constants = steps @ of_step.T + self.denoiser.bias.double().cpu()
        return reverse_chain(self.diffusion, of_noisy=of_noisy, of_condition=of_history, constants=constants)

    def diagnostics(self) -> dict[str, float]:
        return {"items.variance": self.item_variance(), "items.collapsed": float(self.collapsed())}

    def collapsed(self) -> bool:
        return self.item_variance() < COLLAPSED_BELOW

    def warnings(self) -> tuple[str, ...]:
        variance = self.item_variance()
        if variance >= COLLAPSED_BELOW:
            return ()
        told = (
            f"The item table has collapsed: items have become alike, with a variance of {variance:.2g} where the noise"
        )
        return (f"{told} has 1, and any history generates any of them. A lower learning rate may prevent it.",)

    @torch.no_grad()
    def item_variance(self) -> float:
        """The variance of a dimension over the training log's targets, the mean of all dimensions."""
        table = self.item_table()
        return float(self.shares @ (table - self.shares @ table).square().mean(1))

    def _query(self, batch: Batch, chain: ReverseChain) -> Tensor:
        mean = self._mean(batch, chain)
        if not self.generated:
            return mean
        draws = normals_of(batch, self.generated, mean.shape[1]).mean(1).to(mean.dtype)
        return mean + draws @ chain.root.to(mean)

    def _mean(self, batch: Batch, chain: ReverseChain) -> Tensor:
        """[windows, dim]."""
        histories = self.encoder.encode(batch).flatten(0, 1).index_select(0, batch.ends)
        guided = (1 + self.guidance) * histories - self.guidance * self.nobody
        return guided @ chain.of_condition.T.to(guided) + chain.constant.to(guided)


def normals_of(batch: Batch, count: int, dim: int) -> Tensor:
    """[windows, count, dim] float64: standard normal numbers that depend on the items of each window and their order
    alone, up to the window's end.
    """
    length = batch.items.shape[1]
    seen = batch.visible.flatten(0, 1)[batch.ends]
    items = batch.items[batch.ends // length]
    columns = torch.arange(length, device=items.device)
    back = (batch.ends % length)[:, None] - columns
    windows = (hashed_integers(SEED, items, back) * seen).sum(1)
    numbers = torch.arange(count * dim, device=items.device)
    bits = hashed_integers(SEED, windows[:, None], numbers) >> 10
    return torch.special.ndtri((bits.double() + 0.5) / 2**52).view(-1, count, dim)
