"""What attention did: the weights that scored, before and after the gate, of every backbone under every mask."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from models import catalogue
from models.catalogue import build
from models.config import NO_GATE, ModelConfig
from models.denoising.contextual import ContextualGate
from models.denoising.denoised import Denoised
from models.denoising.gates import PositionalGate
from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences
from models.explaining import attended, gate_layers, recorded
from models.recommender import Recommender
from tests.models.builders import ATTENTIVE
from tests.models.conftest import MakeLog

LENGTH = 6
MASKS = (NO_GATE, *catalogue.GATES, *catalogue.CONTROLS)


@pytest.fixture
def sequences(make_log: MakeLog) -> Sequences:
    """Histories that share rows, one that is longer than models look back, and one that is empty."""
    made = make_log(lengths=[9, 2, 3, 1, 0]).sequences
    times = torch.randint(1, 50, (len(made.items),), generator=torch.Generator().manual_seed(7)).cumsum(0)
    return replace(made, times=times)


def built(backbone: str, gate: str, sequences: Sequences, **settings: object) -> Recommender:
    sizes = {"dim": 8, "user_dim": 4, "heads": 2, "blocks": 2, "length": LENGTH, "max_interval": 9, "attention_top": 2}
    names = {"backbone": backbone, "gate": gate, "gate_keep": 0.5}
    config = ModelConfig.from_dict(sizes | names | settings)
    model = build(config, sequences.item_count, seed=3, user_count=sequences.user_count).eval()
    model.prepare(sequences)
    if isinstance(model, Denoised) and isinstance(model.gate, PositionalGate):
        with torch.no_grad():
            model.gate.phi.normal_(generator=torch.Generator().manual_seed(1))
    if isinstance(model, Denoised) and isinstance(model.gate, ContextualGate):
        with torch.no_grad():
            model.gate.reads.weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


def shown(model: Recommender, sequences: Sequences) -> Batch:
    return windows(
        sequences,
        torch.arange(sequences.user_count),
        sequences.offsets.diff(),
        length=LENGTH,
        with_targets=False,
        appended=model.appended,
    )


@pytest.mark.parametrize(("backbone", "gate"), [*product(ATTENTIVE, MASKS), ("dreamrec", NO_GATE)])
def test_it_shows_the_weights_that_scored_and_only_those_of_the_window(
    sequences: Sequences, backbone: str, gate: str
) -> None:
    model = built(backbone, gate, sequences)
    batch = shown(model, sequences)
    with torch.inference_mode():
        plain = model.query(batch)
        with recorded(model) as layers:
            assert torch.equal(model.query(batch), plain)
        assert len(layers) == 2
        assert torch.equal(model.query(batch), plain)
    assert len(layers) == 2, "what comes after is not listened to"

    appended = 0 if model.appended is None else 1
    histories = [
        sequences.items[start:stop].tolist()
        for start, stop in zip(sequences.offsets[:-1].tolist(), sequences.offsets[1:].tolist(), strict=True)
    ]
    told = attended(model, batch)
    for history, window in zip(histories, told, strict=True):
        own = history[max(0, len(history) - LENGTH + appended) :]
        assert window.items.tolist() == own + [model.appended] * appended
        places = len(own) + appended
        assert window.before.shape == (2, 2, places, places)
        torch.testing.assert_close(window.before.sum(-1), torch.ones(2, 2, places))
        expected = torch.ones(places, places, dtype=torch.bool)
        assert torch.equal(window.visible, expected if appended else expected.tril())
        assert (window.mask is None) == (gate == NO_GATE)
        assert (window.keep is not None) == (gate in catalogue.GATES)
        assert torch.equal(window.after, window.before if window.mask is None else window.before * window.mask)
        assert (window.after[..., ~window.visible] == 0).all()


@pytest.mark.parametrize(("backbone", "gate"), product(ATTENTIVE, catalogue.GATES))
def test_a_window_is_told_as_if_it_were_alone(sequences: Sequences, backbone: str, gate: str) -> None:
    model = built(backbone, gate, sequences)
    together = attended(model, shown(model, sequences))
    for user in range(sequences.user_count - 1):
        begin, end = sequences.offsets[user : user + 2].tolist()
        assert sequences.times is not None
        alone = Sequences(
            sequences.items[begin:end],
            torch.tensor([0, end - begin]),
            torch.tensor([end - begin]),
            sequences.item_count,
            times=sequences.times[begin:end],
        )
        batch = shown(model, alone)
        (window,) = attended(model, replace(batch, users=torch.full_like(batch.users, user)))
        for one, other in zip(parts(window), parts(together[user]), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def parts(window: object) -> Sequence[Tensor]:
    return [getattr(window, name) for name in ("items", "visible", "before", "mask", "keep", "after")]


def test_the_gates_mask_is_its_keep_probability_where_that_is_above_one_half(sequences: Sequences) -> None:
    model = built("sasrec", "positional", sequences)
    window = attended(model, shown(model, sequences))[0]
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    keep = torch.sigmoid(model.gate.phi.detach())
    assert window.keep is not None
    assert window.mask is not None
    torch.testing.assert_close(window.keep[:, 0], keep.tril())
    torch.testing.assert_close(window.mask[:, 0], torch.where(keep > 0.5, keep, 0.0).tril())
    shares = [float((layer > 0.5).tril().sum()) / 21 for layer in keep]
    assert window.open_shares() == pytest.approx(shares)
    means = window.mean_keeps()
    assert means is not None
    assert means == pytest.approx([float(layer.tril().sum()) / 21 for layer in keep])


def test_the_network_that_tells_noise_is_no_part_of_how_a_model_ranks(sequences: Sequences) -> None:
    model = built("sasrec", NO_GATE, sequences, noise_model="own-score", planted="uniform")
    windows_told = attended(model, shown(model, sequences))
    assert len(windows_told) == sequences.user_count
    assert {len(window.before) for window in windows_told} == {2}


def test_a_model_without_attention_is_refused(sequences: Sequences) -> None:
    class Popular(Recommender):
        """Nothing but the interface."""

    with pytest.raises(ValueError, match="no attention"), recorded(Popular()):
        pass


def test_a_gates_figures_count_cells_as_often_as_training_saw_them(sequences: Sequences) -> None:
    model = built("sasrec", "positional", sequences)
    assert gate_layers(model) == (), "untrained"
    assert gate_layers(built("sasrec", NO_GATE, sequences)) == ()
    assert gate_layers(built("sasrec", "fixed-random", sequences)) == ()
    assert gate_layers(built("sasrec", "contextual", sequences)) == (), "it knows no positions"
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    model.gate.seen[4, 3], model.gate.seen[5, 3], model.gate.seen[5, 4] = 3, 2, 1
    phi = model.gate.phi.detach()
    for number, layer in enumerate(gate_layers(model)):
        cells = [(4, 3, 3), (5, 3, 2), (5, 4, 1)]
        keeps = [(float(torch.sigmoid(phi[number, i, j])), count, i - j) for i, j, count in cells]
        assert layer.layer == number
        assert layer.mean_keep == pytest.approx(sum(keep * count for keep, count, _ in keeps) / 6)
        assert layer.open_share == pytest.approx(sum(count for keep, count, _ in keeps if keep > 0.5) / 6)
        near = sum(keep * count for keep, count, apart in keeps if apart == 1) / 4
        assert layer.keep_by_distance == (None, pytest.approx(near), pytest.approx(keeps[1][0]), None, None, None)
