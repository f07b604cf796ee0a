"""From evidence to the probability that an interaction is genuine, learned from noise that is put in on purpose.

A log is genuine but for an unknown share. Items put in an event's place on purpose are noise for certain, so that a
logistic regression between an event's evidence with its own item and with another one learns the odds
f_noise / f_log of their densities, and no label is needed. As f_log = (1 − r) f_genuine + r f_noise, the probability
that an event is noise is r · f_noise / f_log (Elkan & Noto, KDD 2008), where r, the log's share of noise, is at most
the smallest ratio of the two distributions (Blanchard, Lee & Scott, JMLR 2010).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROUNDS = 30
ROUNDING = 1e-12
CONVERGED = 1e-8
"""A step of Newton's method that moves no weight further is the last."""
RIDGE = 1e-4
HALVINGS = 50
CERTAIN = 80.0
"""Log odds above which an event is noise, whatever the share."""
LEAST_TAIL = 0.1
"""A tail of the planted noise smaller than this says too little of how common noise is."""
THRESHOLDS = 181
"""Tails that are compared, from that of all planted noise to the least."""


class Judgement(nn.Module):
    """The probability that an event is noise of any of several `kinds`, from `features` columns of evidence."""

    centre: Tensor
    scale: Tensor
    weights: Tensor
    shares: Tensor

    def __init__(self, features: int, *, kinds: int) -> None:
        super().__init__()
        self.centre = nn.Buffer(torch.zeros(features))
        self.scale = nn.Buffer(torch.ones(features))
        self.weights = nn.Buffer(torch.zeros(features + 1, kinds))
        self.shares = nn.Buffer(torch.zeros(kinds))

    def fit(self, log: Tensor, planted: Sequence[Tensor]) -> None:
        """log: [n, features], the evidence of the log's own events; planted: for each kind that of noise in the places
        of as many events.
        """
        everything = torch.cat([log, *planted]).double()
        self.centre.copy_(everything.mean(0))
        self.scale.copy_(everything.std(0).clamp(min=1e-6))
        for kind, noise in enumerate(planted):
            design = self._design(torch.cat([log, noise])).double()
            labels = torch.cat([torch.zeros(len(log)), torch.ones(len(noise))]).to(design)
            self.weights[:, kind] = logistic_regression(design, labels)
        self.shares.copy_(shares_of_noise(self.odds(log), [self.odds(noise) for noise in planted]))

    def keep(self, evidence: Tensor) -> Tensor:
        """evidence […, features] → […]: the probability that the event is genuine."""
        odds = self.odds(evidence).clamp(max=CERTAIN).exp()  # infinity times a share of 0 would be no number
        return (1 - odds @ self.shares).clamp(0, 1)

    def odds(self, evidence: Tensor) -> Tensor:
        """evidence […, features] → […, kinds]: log f_noise / f_log."""
        slopes = self.weights[1:] / self.scale[:, None]
        return evidence @ slopes + (self.weights[0] - self.centre @ slopes)

    def _design(self, evidence: Tensor) -> Tensor:
        standard = (evidence - self.centre) / self.scale
        return torch.cat([torch.ones_like(standard[..., :1]), standard], dim=-1)


def logistic_regression(design: Tensor, labels: Tensor) -> Tensor:
    """design [n, columns], labels [n] of 0 and 1 → [columns]: the weights of greatest likelihood, by Newton's method
    with a slight ridge, which keeps them finite where a column separates the two. A step that would make things worse,
    as it may where some evidence lies far out, is halved until it does not.
    """

    def loss_of(weights: Tensor) -> float:
        unlikely = F.binary_cross_entropy_with_logits(design @ weights, labels)
        return float(unlikely + RIDGE / 2 * weights @ weights)

    weights = design.new_zeros(design.shape[1])
    loss = loss_of(weights)
    ridge = RIDGE * torch.eye(len(weights)).to(design)
    for _ in range(ROUNDS):
        expected = torch.sigmoid(design @ weights)
        gradient = design.T @ (expected - labels) / len(labels) + ridge @ weights
        curvature = (design * (expected * (1 - expected))[:, None]).T @ design / len(labels) + ridge
        step = torch.linalg.solve(curvature, gradient)
        for _ in range(HALVINGS):
            if (reached := loss_of(weights - step)) <= loss * (1 + ROUNDING):
                break
            step = step / 2
        weights, loss = weights - step, reached
        if float(step.abs().max()) < CONVERGED:
            break
    return weights


def shares_of_noise(log: Tensor, planted: Sequence[Tensor]) -> Tensor:
    """[kinds] the largest shares of noise that the odds admit. log, planted: [n, kinds] log odds of the log's events,
    and of noise of each kind.

    The kinds are bounded one after another, each by its own odds, less what those before it account for; and then all
    together, in the proportions so found, by how likely an event is noise of any kind. Otherwise genuine events that
    look like noise would count once for each kind.
    """
    shares = log.new_zeros(len(planted))
    for kind, noise in enumerate(planted):
        explained = [(shares[before], planted[before][:, kind]) for before in range(kind)]
        shares[kind] = share_of_noise(log[:, kind], [noise[:, kind]], torch.ones(1), explained)
    if not float(shares.sum()):
        return shares
    mixture = shares / shares.sum()
    together = share_of_noise(suspicion(log, shares), [suspicion(noise, shares) for noise in planted], mixture)
    return mixture * torch.minimum(shares.sum(), together)


def suspicion(odds: Tensor, shares: Tensor) -> Tensor:
    """odds [n, kinds], shares [kinds] → [n]: the log of how likely an event is noise of any kind."""
    return torch.logsumexp(odds + shares.log(), dim=1)


def share_of_noise(
    log: Tensor, planted: Sequence[Tensor], mixture: Tensor, explained: Sequence[tuple[Tensor, Tensor]] = ()
) -> Tensor:
    """The largest share of noise, a `mixture` [kinds] of those planted, that the scores admit: the least of
    P(log > t) / P(planted > t), over those t above which a tenth of what was planted lies, or more. log, planted: [n]
    scores that rise with suspicion; explained: shares and scores of noise which is taken out of the log first.

    An upper bound where planted noise has the scores that the log's own has: genuine events that look like noise raise
    it. Evidence that an event of the log has a part in, as it has in its item's popularity, lowers it where items are
    rare.
    """
    thresholds = thresholds_of(planted)
    left = _tails(log, thresholds) - sum(share * _tails(scores, thresholds) for share, scores in explained)
    noise = torch.stack([_tails(scores, thresholds) for scores in planted], dim=1) @ mixture.to(left)
    return least_ratio(left, noise)


def least_ratio(log: Tensor, planted: Tensor) -> Tensor:
    """[…, thresholds] each → […]: the least ratio of two distributions' tails, over those of `planted` that are not too
    small, within 0 … 1.
    """
    enough = planted >= LEAST_TAIL - 1e-6
    return torch.where(enough, log / planted.clamp(min=LEAST_TAIL), 1.0).amin(-1).clamp(0, 1)


def thresholds_of(planted: Sequence[Tensor]) -> Tensor:
    """[kinds × THRESHOLDS]: of each kind of planted noise the scores above which all to `LEAST_TAIL` of it lies."""
    levels = torch.linspace(0, 1 - LEAST_TAIL, THRESHOLDS).to(planted[0])
    return torch.cat([torch.quantile(_thinned(scores), levels) for scores in planted])


def _tails(scores: Tensor, thresholds: Tensor) -> Tensor:
    """The share of the scores that is above each threshold."""
    return 1 - torch.searchsorted(scores.sort().values, thresholds, right=True) / len(scores)


def _thinned(values: Tensor) -> Tensor:
    """At most a million of them, evenly: what `torch.quantile` takes is bounded."""
    return values[:: 1 + len(values) // 1_000_000]
