"""What denoising costs: the variants that a machine can measure."""

import pytest

from benchmarks import denoising
from models.config import ModelConfig


def test_a_variant_whose_library_is_not_there_is_told_and_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = {"sparse": ModelConfig(gate="alpha-entmax"), "plain": ModelConfig()}
    assert list(dict(denoising._possible(variants))) == ["sparse", "plain"]
    monkeypatch.setattr(denoising, "find_spec", lambda name: None)
    assert list(dict(denoising._possible(variants))) == ["plain"]
    assert "left out: there is no entmax here" in capsys.readouterr().out
