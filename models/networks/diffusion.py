"""Gaussian diffusion in discrete steps (Ho, Jain & Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020).

Steps count from 0. Noise is added by q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), ᾱ_t the product of 1 − β up to t (eq. 4),
and taken away by the posterior q(x_{t−1} | x_t, x_0) (eq. 6) with x_0 as a denoiser predicts it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LINEAR = (1e-4, 0.02)
"""DreamRec's first and last β of the linear schedule, whatever the number of steps."""
COSINE_OFFSET = 0.008
COSINE_LIMITS = (1e-4, 0.9999)
EXPONENTIAL = (0.1, 10.0)
"""DreamRec's rates of the exponential schedule, by which log ᾱ falls at the first and at the last moment."""
LONGEST_WAVE = 10_000


def linear(steps: int) -> Tensor:
    """β in equal steps."""
    return torch.linspace(*LINEAR, steps, dtype=torch.float64)


def cosine(steps: int) -> Tensor:
    """ᾱ_t ∝ cos²(π/2 · (t/T + s)/(1 + s)) (Nichol & Dhariwal, ICML 2021), with β kept off 0 and 1."""
    moments = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    kept = torch.cos((moments + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
    return (1 - kept[1:] / kept[:-1]).clamp(*COSINE_LIMITS)


def exponential(steps: int) -> Tensor:
    """1 − β_t = exp(−b/T − x_t (B − b)/(2T²)), x from 1 to 2T + 1: what a rate that rises from b to B leaves (Song et
    al., ICLR 2021), as DreamRec's authors have it.
    """
    least, most = EXPONENTIAL
    moments = torch.linspace(1, 2 * steps + 1, steps, dtype=torch.float64)
    return -torch.expm1(-least / steps - moments * 0.5 * (most - least) / steps**2)


SCHEDULES: Mapping[str, Callable[[int], Tensor]] = {"linear": linear, "cosine": cosine, "exponential": exponential}
"""By name, from the number of steps T to β [T] float64. A new one is one function and one entry."""


def linear_variance(steps: int, *, scale: float, least: float, most: float) -> Tensor:
    """β of a noise whose variance 1 − ᾱ_t rises from s · least to s · most in equal steps, s the `scale`, as DiffRec
    has it (Wang et al., SIGIR 2023); of a single step it is s · least. The authors' code then puts 1e-5 in the first
    β's place, which is not done here.
    """
    kept = 1 - torch.linspace(scale * least, scale * most, steps, dtype=torch.float64)
    return 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])


def waves(steps: int, dim: int) -> Tensor:
    """[steps, dim]: each step's sines and cosines."""
    half = math.ceil(dim / 2)
    rates = LONGEST_WAVE ** (-torch.arange(half) / max(half - 1, 1))
    angles = torch.arange(steps)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim]


@dataclass(frozen=True)
class Diffusion:
    """What follows from a schedule. betas: [steps] float64, as all else here."""

    betas: Tensor

    @cached_property
    def kept(self) -> Tensor:
        """ᾱ_t: the share of the variance after step t that is x_0's, where that has unit variance."""
        return torch.cumprod(1 - self.betas, 0)

    @cached_property
    def before(self) -> Tensor:
        """ᾱ_{t−1}, 1 before the first step."""
        return torch.cat([self.betas.new_ones(1), self.kept[:-1]])

    @cached_property
    def of_start(self) -> Tensor:
        """What the posterior's mean has of x_0 (eq. 7)."""
        return self.betas * self.before.sqrt() / (1 - self.kept)

    @cached_property
    def of_noisy(self) -> Tensor:
        """What the posterior's mean has of x_t (eq. 7)."""
        return (1 - self.before) * (1 - self.betas).sqrt() / (1 - self.kept)

    @cached_property
    def variances(self) -> Tensor:
        """The posterior's variance (eq. 7), 0 of the first step."""
        return self.betas * (1 - self.before) / (1 - self.kept)

    @cached_property
    def signal_to_noise(self) -> Tensor:
        """ᾱ_t / (1 − ᾱ_t)."""
        return self.kept / (1 - self.kept)


@dataclass(frozen=True)
class ReverseChain:
    """The whole reverse chain of an affine denoiser in one step: given a condition c, and from x_T ~ N(0, I) on, it
    comes to x_0 ~ N(`of_condition` c + `constant`, `covariance`).

    of_condition: [dim, dim of c]; constant: [dim]; covariance: [dim, dim]
    """

    of_condition: Tensor
    constant: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """[dim, dim]: the covariance's symmetric square root, which there is only one of."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def reverse_chain(diffusion: Diffusion, *, of_noisy: Tensor, of_condition: Tensor, constants: Tensor) -> ReverseChain:
    """The reverse chain of the denoiser x̂_0 = W x_t + V c + v_t, composed.

    of_noisy: W [dim, dim]; of_condition: V [dim, dim of c]; constants: v [steps, dim]; float64 all

    A step is x_{t−1} = A_t x_t + a_t (V c + v_t) + σ_t z with A_t = a_t W + b_t I. With Q_t the product A_0 … A_{t−1}
    of the steps after it, x_0 = Q_T x_T + Σ_t Q_t (a_t (V c + v_t) + σ_t z): the sums grow from the last step on,
    which is t = 0.
    """
    after = torch.eye(len(of_noisy), dtype=of_noisy.dtype)
    of_start, covariance, constant = torch.zeros_like(after), torch.zeros_like(after), torch.zeros_like(constants[0])
    weights = (weight.tolist() for weight in (diffusion.of_start, diffusion.of_noisy, diffusion.variances))
    for start, noisy, variance, own in zip(*weights, constants, strict=True):
        of_start.add_(after, alpha=start)
        constant.addmv_(after, own, alpha=start)
        covariance.addmm_(after, after.T, alpha=variance)
        after = torch.addmm(after, after, of_noisy, beta=noisy, alpha=start)
    return ReverseChain(of_start @ of_condition, constant, covariance + after @ after.T)
