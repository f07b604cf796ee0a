"""What company items keep: a low-rank picture of which items stand near each other, for pairs that were never seen."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.engine.randomness import hashed_integers

PARTS = 4
"""Histories are parted into so many. Each is compared with what was learned of the others: of itself alone a part would
recognise every pair that it has."""
RANK = 16
SPARE = 8
ROUNDS = 7
"""Of subspace iteration, with so many directions more than are kept."""
LARGEST_DENSE = 2**24
"""Cells, of four bytes: a matrix of no more is multiplied faster with its zeros than without."""
NO_LENGTH = 1e-30
"""The squared lengths of two vectors, multiplied, of which one is nought."""
ROUNDING = 1e-5
"""What is left of a squared length, of which nothing should be left, in float32."""


@dataclass(frozen=True)
class Company:
    """own: [rank, events], where each event's item stands; around: [rank, events], the sum of its neighbours; beside:
    [reach, events] bool, are an event and the one so many places before it neighbours?
    """

    own: Tensor
    around: Tensor
    beside: Tensor

    def agreement(self, items: Tensor) -> Tensor:
        """items [rank, events] → [events]: the cosine between an item in an event's place and the sum of the event's
        neighbours; 0 where it has none.
        """
        return _cosine(_dot(items, self.around), _dot(items, items), _dot(self.around, self.around))

    def without_each_other(self) -> tuple[Tensor, Tensor]:
        """Grids of `beside`: how far the later and the earlier event of each pair agree with their other neighbours."""
        own, around = self.own, self.around
        fits, lengths, all_lengths = _dot(own, around), _dot(own, own), _dot(around, around)
        later, earlier = (torch.zeros_like(self.beside, dtype=own.dtype) for _ in range(2))
        for step, together in enumerate(self.beside.to(own), start=1):
            before, after = slice(None, -step), slice(step, None)
            pairs = together[step:]
            product = _dot(own[:, after], own[:, before]) * pairs
            for grid, event, other in ((later, after, before), (earlier, before, after)):
                left = all_lengths[event] - (2 * _dot(around[:, event], own[:, other]) - lengths[other]) * pairs
                nothing = left < ROUNDING * (all_lengths[event] + lengths[other])
                grid[step - 1, step:] = _cosine(fits[event] - product, lengths[event], left.masked_fill(nothing, 0))
        return later, earlier


class Directions(nn.Module):
    """Each item's place [rank] in the leading directions of who is met beside whom, as learned without each part of
    the histories: vectors [parts, items + 1, rank].

    They are the eigenvectors of A / √((d_i + d̄) (d_j + d̄)), times the root of the eigenvalue's size, where A counts in
    how many histories two items are neighbours, d is a row's sum and d̄ the mean of those above 0, without which rare
    items would have directions of their own (Amini et al., *Pseudo-likelihood methods for community detection*, 2013).
    """

    vectors: Tensor

    def __init__(self, item_count: int) -> None:
        super().__init__()
        self.vectors = nn.Buffer(torch.zeros(PARTS, item_count + 1, RANK))

    def learn(self, one: Tensor, other: Tensor, sightings: Tensor, *, seed: int) -> None:
        """one, other: [pairs], the items of each pair, each pair once; sightings: [parts, pairs], in how many histories
        of each part it was seen. An item beside itself says nothing of its company.
        """
        apart = one != other
        one, other, sightings = one[apart], other[apart], sightings[:, apart]
        rows, columns = torch.cat([one, other]), torch.cat([other, one])
        order = torch.argsort(rows * self.vectors.shape[1] + columns)
        ends = torch.stack([rows, columns])[:, order]
        for part, seen in enumerate(sightings.sum(0) - sightings):
            matrix = _scaled(ends, seen.repeat(2)[order].to(self.vectors), items=self.vectors.shape[1])
            self.vectors[part] = _leading(matrix, seed=seed)

    def of(self, items: Tensor, parts: Tensor) -> Tensor:
        """items, parts: [events] → [rank, events], as learned without the part."""
        rows = parts * self.vectors.shape[1] + items
        return self.vectors.flatten(0, 1).index_select(0, rows).T.contiguous()

    def company(self, items: Tensor, parts: Tensor, beside: Tensor) -> Company:
        """items, parts: [events]; beside: [reach, events] bool, are an event and the one so many places before it
        neighbours?
        """
        own = self.of(items, parts)
        around = torch.zeros_like(own)
        for step, together in enumerate(beside.to(own), start=1):
            around[:, step:] += own[:, :-step] * together[step:]
            around[:, :-step] += own[:, step:] * together[step:]
        return Company(own, around, beside)


def parts_of(items: Tensor, owners: Tensor, counted: Tensor) -> Tensor:
    """[events] each → [events]: the part that an owner's history belongs to, by the item of its last event that was
    counted, by which it is known again where it goes on, or where its beginning is cut off.
    """
    _, owner = torch.unique_consecutive(owners, return_inverse=True)
    places = torch.where(counted, torch.arange(len(items), device=items.device), -1)
    last = torch.full_like(places, -1).scatter_reduce_(0, owner, places, "amax")[owner]
    return torch.where(last >= 0, hashed_integers(PARTS, items[last]) % PARTS, 0)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """[rank, events] each → [events]."""
    return (one * other).sum(0)


def _cosine(product: Tensor, squared: Tensor, other_squared: Tensor) -> Tensor:
    """Of two vectors by their product and squared lengths; 0 where one of them has no length."""
    squares = squared * other_squared
    cosine = product * squares.clamp(min=NO_LENGTH).rsqrt()
    return cosine.masked_fill_(squares <= NO_LENGTH, 0).clamp_(-1, 1)


def _scaled(ends: Tensor, seen: Tensor, *, items: int) -> Tensor:
    """ends [2, n], by row and column, of a symmetric matrix that is `seen` [n] → [items, items], as scaled by
    `Directions`; sparse where it is large.
    """
    degrees = seen.new_zeros(items).index_add_(0, ends[0], seen)
    mean = degrees.sum() / (degrees > 0).sum().clamp(min=1)
    scale = (degrees + mean).clamp(min=1).rsqrt()
    values = seen * scale[ends[0]] * scale[ends[1]]
    matrix = torch.sparse_coo_tensor(ends, values, (items, items), is_coalesced=True, check_invariants=False)
    return matrix.to_dense() if items**2 <= LARGEST_DENSE else matrix


def _leading(matrix: Tensor, *, seed: int) -> Tensor:
    """[items, items] → [items, rank], by subspace iteration from random directions (Halko, Martinsson and Tropp, SIAM
    Review 2011).
    """
    items = len(matrix)
    generator = torch.Generator(device=matrix.device).manual_seed(seed)
    basis = torch.randn(items, min(RANK + SPARE, items), generator=generator, device=matrix.device)
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(matrix @ basis).Q
    values, inner = torch.linalg.eigh(basis.T @ (matrix @ basis))
    largest = values.abs().argsort(descending=True)[:RANK]
    leading = basis.new_zeros(items, RANK)
    leading[:, : len(largest)] = (basis @ inner[:, largest]) * values[largest].abs().sqrt()
    return leading
