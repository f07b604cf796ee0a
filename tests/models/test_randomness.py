"""Dropout's masks."""

import pytest
import torch

from models.engine.randomness import keep_masks, mask_of, split_words

SHAPE = torch.Size([50, 1000])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("probability", [0.1, 0.2, 0.9])
def test_a_mask_keeps_the_cells_that_its_draws_say_in_any_precision(dtype: torch.dtype, probability: float) -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.empty(SHAPE.numel() // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    mask = keep_masks(words, SHAPE, probability, dtype=dtype)
    least = round(probability * 2**16) - 2**15
    kept = split_words(words).view(SHAPE) >= least
    assert torch.equal(mask > 0, kept)
    assert torch.equal(mask, mask_of(split_words(words).view(SHAPE), probability, dtype=dtype))
    assert float(kept.double().mean()) == pytest.approx(1 - probability, abs=0.005)
    assert float(mask.max()) == pytest.approx(1 / (1 - probability), rel=2e-3)


def test_a_probability_just_below_one_leaves_a_scale_that_is_a_number() -> None:
    words = torch.full((1,), 2**63 - 1)  # its last draw is the largest there is
    mask = keep_masks(words, torch.Size([4]), 1 - 1e-6, dtype=torch.float32)
    assert mask.tolist() == [0, 0, 0, 2**16]
