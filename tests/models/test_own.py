"""Recommenders of a person's own: what a file makes, and the contract that it is held to."""

import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import own, recommender
from models.catalogue import BACKBONES, build, check
from models.config import OWN_COUNTS, OWN_ENCODER, OWN_NOISE, OWN_OBJECTIVE, ModelConfig, TrainingConfig, WrongChoice
from models.contract.check import check_contract
from models.denoising.noise_aware import NoiseAware
from models.engine.batches import windows
from models.engine.sequences import training_part
from models.engine.training import Epoch, Training
from models.storage import load_model, save_model
from tests.models.builders import auroc, planted_log, rates_of

HEAD = """
import random

import torch
from torch import Tensor, nn

from models.engine.batches import Batch, Masking, of_one_window, windows
from models.engine.sequences import training_part
from models.networks.attention import SelfAttention
from models.networks.backbone import Backbone
from models.networks.count_based import CountBased
from models.recommender import Draws, Loss, Recommender


class Mean(Backbone):
    # What it makes of an event is the mean of what that sees.

    def __init__(self, item_count: int, *, length: int, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.length = length
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.scale = scale

    def encode(self, batch: Batch, *, dropout=None, gate=None) -> Tensor:
        return self.scale * self.mean(batch.visible, self.items(batch.items))

    def mean(self, visible: Tensor, items: Tensor) -> Tensor:
        return visible.float() @ items / visible.sum(2, keepdim=True).clamp(min=1)

    def item_table(self) -> Tensor:
        return self.items.weight


class Timed(Mean):
    needs = frozenset({"times"})

    def encode(self, batch: Batch, *, dropout=None, gate=None) -> Tensor:
        ago = (batch.times[:, :, None] - batch.times[:, None, :]).clamp(min=0)
        return self.mean(batch.visible / (1 + ago / 1e8), self.items(batch.items))


class Masked(Mean):
    def __init__(self, item_count: int, *, length: int, dim: int) -> None:
        super().__init__(item_count + 1, length=length, dim=dim)
        self.masking = Masking(item=item_count + 1, share=0.3, last_share=0.2)

    def item_table(self) -> Tensor:
        return self.items.weight[:-1]


class Attending(Mean):
    def __init__(self, item_count: int, *, length: int, dim: int, depth: int = 2) -> None:
        super().__init__(item_count, length=length, dim=dim)
        self.layers = depth
        self.blocks = nn.ModuleList(Block(dim, layer) for layer in range(depth))

    def encode(self, batch: Batch, *, dropout=None, gate=None) -> Tensor:
        hidden = self.items(batch.items)
        for block in self.blocks:
            hidden = block(hidden, batch, dropout, gate)
        return hidden


class Block(nn.Module):
    def __init__(self, dim: int, layer: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads=1, dropout=0.1, layer=layer)

    def forward(self, hidden: Tensor, batch: Batch, dropout, gate) -> Tensor:
        return hidden + self.attention(hidden, hidden, batch=batch, dropout=dropout, gate=gate) * batch.real


class Counts(CountBased):
    def __init__(self, item_count: int, length: int) -> None:
        super().__init__(length=length)
        self.counts = nn.Buffer(torch.zeros(item_count + 1))

    def prepare(self, sequences) -> None:
        items = sequences.items[training_part(sequences)].long()
        self.counts = torch.bincount(items, minlength=len(self.counts)).float()

    def query(self, batch: Batch) -> Tensor:
        return self.counts.new_ones(len(batch.ends), 1)

    def item_table(self) -> Tensor:
        return self.counts[:, None]


class Whole(Recommender):
    def __init__(self, item_count: int, length: int, dim: int) -> None:
        super().__init__()
        self.length = length
        self.items, self.targets = nn.Embedding(item_count + 1, dim), nn.Embedding(item_count + 1, dim)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        scores = self.items(batch.events(batch.items)) @ self.targets.weight.T
        return Loss(nn.functional.cross_entropy(scores, batch.events(batch.targets), reduction="none"))

    def query(self, batch: Batch) -> Tensor:
        return self.items(batch.items.flatten()[batch.ends])

    def item_table(self) -> Tensor:
        return self.targets.weight


def a_mean(item_count: int, dim: int) -> Mean:
    return Mean(item_count, length=4, dim=dim)
"""


def config_of(reference: str, text: str = "", **settings: object) -> ModelConfig:
    """As `tasks.own` completes it, without the contract."""
    code = HEAD + textwrap.dedent(text)
    asked = ModelConfig(**{"dim": 6, "length": 5, "loss": "softmax", **settings, "own": f"mine.py:{reference}"})
    return replace(asked, own_code=code, backbone=own.backbone_of(asked, code))


def training_of(config: ModelConfig, *, epochs: int, checkpoint: Path | None = None, decay: float = 0.0) -> Training:
    log, _ = planted_log(kind="uniform", share=0.0, users=60)
    return Training(
        build(config, log.sequences.item_count, seed=1),
        log,
        log,
        TrainingConfig(epochs=epochs, batch_size=16, learning_rate=0.02, decay=decay).of(config),
        seed=1,
        evaluation_seed=0,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
    )


def assert_same_weights(first: Training, second: Training) -> None:
    assert_same(first.model.state_dict(), second.model.state_dict())


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("text", "file", "name", "settings"),
    [
        ("mine.py:Mine", "mine.py", "Mine", {}),
        ("a folder/of mine.py:make(size=3, on='x', share=-0.5)", "a folder/of mine.py", "make",
         {"size": 3, "on": "x", "share": -0.5}),
        ("C:/mine.py:Mine()", "C:/mine.py", "Mine", {}),
    ],
)  # fmt: skip
def test_a_reference_is_a_file_a_name_and_settings(
    text: str, file: str, name: str, settings: dict[str, object]
) -> None:
    assert own.reference(text) == own.Reference(file, name, settings)


@pytest.mark.parametrize(
    "text", ["mine.py", "mine:Mine", "mine.py:", "mine.py:a.b", "mine.py:Mine(3)", "mine.py:Mine(size=x)",
             "mine.py:Mine(**{})", "mine.py:Mine(", "mine.py:1 + 1"]
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(WrongChoice, match=r"write it as FILE\.py:NAME"):
        own.reference(text)


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("Mean", OWN_ENCODER), ("a_mean", OWN_ENCODER), ("Counts", OWN_COUNTS), ("Whole", OWN_OBJECTIVE)],
)
def test_each_kind_is_told_keeps_to_the_contract_and_is_trained_saved_and_loaded(
    reference: str, kind: str, tmp_path: Path
) -> None:
    config = config_of(reference)
    assert config.backbone == kind
    check(config)
    check_contract(config)
    trained = training_of(config, epochs=3)
    epochs: list[Epoch] = []
    trained.run(on_epoch=epochs.append)
    if kind == OWN_COUNTS:
        assert len(epochs) == 1
    else:
        assert epochs[-1].metrics["train.loss"] < epochs[0].metrics["train.loss"]
    save_model(trained.model, config, tmp_path, item_count=trained.log.sequences.item_count)
    assert_same(trained.model.state_dict(), load_model(tmp_path).state_dict())


def test_it_is_given_its_settings_and_those_of_the_model_that_it_has_parameters_for() -> None:
    model = own.encoder(config_of("Mean(scale=3.0)", dim=8, length=7), 4, 2)
    assert (model.length, model.scale, model.item_table().shape) == (7, 3.0, (5, 8))


NETWORKS = {
    "sasrec": "SASRec",
    "gru4rec": "GRU4Rec(layers=2)",
    "fpmc": "FPMC",
    "caser": "Caser(order=3, horizontal=2, vertical=2)",
    "fmlp-rec": "FMLPRec",
    "fmlp-rec-causal": "CausalFMLPRec",
    "tisasrec": "TiSASRec(max_interval=20)",
    "sse-pt": "SSEPT(user_dim=4, keep_users=0.9, keep_items=0.9)",
    "bert4rec": "BERT4Rec(masked=0.3, last_masked=0.2)",
}


@pytest.mark.parametrize("backbone", NETWORKS)
def test_networks_of_this_project_keep_to_the_contract(backbone: str) -> None:
    """Which would complain of none of them, made by a file."""
    file = Path(inspect.getfile(type(BACKBONES[backbone](ModelConfig(backbone=backbone), 3, 2))))
    name = NETWORKS[backbone]
    asked = ModelConfig(own=f"{file}:{name}", loss="bce")
    code = file.read_text(encoding="utf-8")
    check_contract(replace(asked, own_code=code, backbone=own.backbone_of(asked, code)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return self.mean(of_one_window(batch.segments), self.items(batch.items))
            """,
            "changes with a later event of the same history",
        ),
        (
            """
            class Broken(Mean):
                def __init__(self, item_count, *, length, dim):
                    super().__init__(item_count, length=length, dim=dim)
                    self.norm = nn.BatchNorm1d(dim)

                def encode(self, batch, *, dropout=None, gate=None):
                    hidden = super().encode(batch)
                    return self.norm(hidden.flatten(0, 1)).view_as(hidden)
            """,
            "a normalisation over the batch sees all",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    hidden = super().encode(batch)
                    return hidden if batch.targets is None else hidden + self.items(batch.targets)
            """,
            "changes with the targets",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return self.items(batch.items).cumsum(1)
            """,
            "other scores beside other histories than alone",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch).flatten(0, 1)
            """,
            r"of \[\d+, 5\] cells `encode` gives \[\d+, 6\], not \[rows, length, dim\]",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch) * torch.rand(())
            """,
            "other scores when it is asked again",
        ),
        (
            """
            class Broken(Mean):
                def __init__(self, item_count, *, length, dim):
                    super().__init__(item_count, length=length, dim=dim * random.randint(1, 1))
                    self.items.weight.data.mul_(random.random())
            """,
            "items.weight is another each time it is made",
        ),
        (
            """
            class Broken(Mean):
                def item_table(self):
                    return self.items.weight[1:]
            """,
            r"for 9 histories and 30 items its scores are \[9, 29\]",
        ),
        (
            """
            class Broken(Counts):
                def __init__(self, item_count, length):
                    super().__init__(item_count, length)
                    del self.counts
                    self.counts = torch.zeros(item_count + 1)
            """,
            "saved and loaded it has other scores",
        ),
        (
            """
            class Broken(Whole):
                def loss(self, batch, draws):
                    return Loss(super().loss(batch, draws).terms.detach())
            """,
            "the loss of a step has no gradient",
        ),
        (
            """
            class Broken(Whole):
                def loss(self, batch, draws):
                    return Loss(super().loss(batch, draws).terms * random.random())
            """,
            "another loss when it is taken again",
        ),
        (
            """
            class Broken(Whole):
                def training_batches(self, sequences, **_):
                    return iter(())
            """,
            "its epochs have no batch",
        ),
        (
            """
            class Broken(Counts):
                def prepare(self, sequences):
                    self.counts = torch.bincount(sequences.items.long(), minlength=len(self.counts)).float()
            """,
            "what it takes from the log changes with events that are held out",
        ),
        (
            """
            class Broken(Whole):
                def training_batches(self, sequences, *, batch_size, generator, draws):
                    users = torch.arange(len(sequences.offsets) - 1)
                    stops = sequences.offsets.diff() - 1
                    yield windows(sequences, users, stops, length=self.length, with_targets=True)
            """,
            "what it is trained on changes with events that are held out",
        ),
        (
            """
            class Broken(Whole):
                def query(self, batch):
                    in_window = of_one_window(batch.segments).float()
                    seen = in_window @ self.items(batch.items)
                    return seen.flatten(0, 1)[batch.ends]
            """,
            "its scores are not of what these have seen",
        ),
        (
            """
            class Broken(Whole):
                def surprises(self, batch, items):
                    return torch.zeros(1)
            """,
            "its `surprises` are not a finite number for each of `batch.ends`",
        ),
        (
            """
            class Broken(Counts):
                def prepare(self, sequences):
                    self.counts = torch.full_like(self.counts, random.random())
            """,
            "counts is another each time it is made",
        ),
        (
            """
            class Broken(Counts):
                def __init__(self, item_count, length):
                    super().__init__(item_count, length)
                    self.counts = nn.Buffer(torch.zeros(1))

                def prepare(self, sequences):
                    self.counts = torch.zeros(sequences.item_count + 1)
            """,
            "what is saved of it cannot be loaded.*size mismatch for counts",
        ),
        (
            """
            class Broken(Timed):
                def encode(self, batch, *, dropout=None, gate=None):
                    later = nn.functional.pad(batch.times.diff(dim=1), (0, 1)).clamp(min=0).float()
                    return super().encode(batch) + later.log1p()[..., None] * batch.real * (
                        batch.segments == batch.segments.roll(-1, 1))[..., None]
            """,
            "changes with a later event of the same history",
        ),
        (
            """
            class Broken(Timed):
                needs = frozenset()
            """,
            "it reads times, which not every log has",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    hidden = super().encode(batch)
                    return hidden if batch.times is None else hidden * batch.times[..., None].float()
            """,
            "it reads times, which not every log has",
        ),
        (
            """
            class Broken(Mean):
                def __init__(self, item_count, user_count, *, length, dim):
                    super().__init__(item_count, length=length, dim=dim)
                    self.users = nn.Embedding(user_count, dim)

                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch) + self.users(batch.users)
            """,
            "a user whom it does not know has the number -1, with which it fails: IndexError",
        ),
        (
            """
            class Broken(Masked):
                def encode(self, batch, *, dropout=None, gate=None):
                    hidden = super().encode(batch)
                    return hidden if batch.targets is None else hidden + self.items(batch.targets)
            """,
            "changes with the targets",
        ),
        (
            """
            class Broken(Mean):
                def training_view(self, batch, draws):
                    return batch if batch.targets is None else Batch(**vars(batch) | {"items": batch.targets})
            """,
            "changes with the targets",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch) * (random.random() if self.training else 1)
            """,
            "give other vectors when they are encoded again",
        ),
        (
            """
            class Broken(Mean):
                def mean(self, visible, items):
                    scores = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, -torch.inf)
                    return scores.softmax(2) @ items
            """,
            "a softmax over nothing is no number",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch).double()
            """,
            "`encode` gives numbers of torch.float64, and `item_table` of torch.float32",
        ),
        (
            """
            class Broken(Mean):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch).bfloat16()

                def item_table(self):
                    return self.items.weight.bfloat16()
            """,
            "its scores are numbers of torch.bfloat16",
        ),
        (
            """
            class Broken(Mean):
                kept = None

                def encode(self, batch, *, dropout=None, gate=None):
                    if self.kept is None:
                        self.kept = torch.ones(1)
                    return super().encode(batch) * self.kept * self.items.weight[1]
            """,
            r"line \d+: RuntimeError: Inference tensors cannot be saved for backward",
        ),
        (
            """
            class Broken(Attending):
                def encode(self, batch, *, dropout=None, gate=None):
                    return super().encode(batch)
            """,
            "does not multiply each by what `gate` gives",
        ),
        (
            """
            class Broken(Attending):
                def encode(self, batch, *, dropout=None, gate=None):
                    hidden = self.items(batch.items)
                    for block in self.blocks:
                        hidden = block(hidden=hidden, batch=batch, dropout=dropout, gate=gate)
                    return hidden
            """,
            "its `blocks` are not as many modules",
        ),
    ],
)
def test_what_breaks_the_contract_is_told(text: str, said: str) -> None:
    with pytest.raises(WrongChoice, match=said) as told:
        check_contract(config_of("Broken", text))
    assert told.value.setting == "own"
    assert str(told.value).startswith("own mine.py:Broken")


def test_where_an_epoch_has_more_steps_than_usual_the_rate_falls_to_nought_and_not_below() -> None:
    text = """
        class Often(Whole):
            def training_batches(self, sequences, **settings):
                for _ in range(3):
                    yield from super().training_batches(sequences, **settings)
        """
    training = training_of(config_of("Often", text), epochs=2, decay=1.0)
    rates = [of_groups[0] for of_groups in rates_of(training)]
    assert len(rates) == 6 * training.steps_of_epoch
    assert rates == sorted(rates, reverse=True)
    assert min(rates) == 0.0


@pytest.mark.parametrize("reference", ["Timed", "Masked", "Attending", "Attending(depth=1)"])
@pytest.mark.parametrize("length", [1, 5])
def test_what_keeps_to_the_contract_is_not_complained_of(reference: str, length: int) -> None:
    check_contract(config_of(reference, length=length))


def test_a_table_of_rows_is_read_by_rows() -> None:
    """A large catalogue's other rows would stand still otherwise, and a small one's would not."""
    text = """
        from models.engine.rows import gathered

        class ByRows(Mean):
            def row_tables(self):
                return (self.items,)

            def encode(self, batch, *, dropout=None, gate=None):
                return self.mean(batch.visible, gathered(self.items.weight, batch.items))

        class Broken(Mean):
            def row_tables(self):
                return (self.items,)
        """
    check_contract(config_of("ByRows", text, loss="bce"))
    check_contract(config_of("Broken", text, loss="softmax"))  # which reads the whole table, whatever is named
    with pytest.raises(WrongChoice, match=r"reads more of its `row_tables` than rows by `models\.engine\.rows"):
        check_contract(config_of("Broken", text, loss="bce"))


@pytest.mark.parametrize("settings", [{"gate": "positional"}, {"gate": "fixed-random"}, {"gamma": 0.1}])
def test_as_many_layers_as_an_own_encoder_has_are_gated(settings: dict[str, object]) -> None:
    """However many `blocks` the model says."""
    config = config_of("Attending(depth=3)", blocks=2, heads=1, **settings)
    check_contract(config)
    training_of(config, epochs=1).run(on_epoch=lambda _: None)


def test_a_gate_that_cannot_go_with_an_encoder_is_told_before_a_training() -> None:
    with pytest.raises(WrongChoice, match=r"mine\.py:Attending, line \d+: RuntimeError: .* size"):
        check_contract(config_of("Attending", heads=2, gate="alpha-entmax"))


DROPPING = """
class Dropping(Mean):
    def encode(self, batch, *, dropout=None, gate=None):
        return nn.functional.dropout(super().encode(batch), 0.4, training=self.training)
"""


def test_dropout_of_torch_falls_the_same_when_a_training_is_made_again() -> None:
    config = config_of("Dropping", DROPPING)
    check_contract(config)
    once = training_of(config, epochs=3)
    once.run(on_epoch=lambda _: None)
    torch.rand(7)
    again = training_of(config, epochs=3)
    again.run(on_epoch=lambda _: torch.rand(3))
    assert_same_weights(once, again)


def test_and_when_it_goes_on_after_it_has_been_stopped(tmp_path: Path) -> None:
    config = config_of("Dropping", DROPPING)
    whole = training_of(config, epochs=4)
    whole.run(on_epoch=lambda _: None)

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training_of(config, epochs=4, checkpoint=tmp_path / "checkpoint.pt").run(on_epoch=stop)
    resumed = training_of(config, epochs=4, checkpoint=tmp_path / "checkpoint.pt")
    assert resumed.progress.epoch == 2
    resumed.run(on_epoch=lambda _: None)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize(
    ("reference", "text", "said"),
    [
        ("Nobody", "", "the file has no class or function Nobody"),
        ("Mean(size=3)", "", "TypeError: .*unexpected keyword argument 'size'"),
        ("torch", "", "the file has no class or function torch"),
        ("made", "def made(item_count):\n    return item_count", "it makes a int, and a recommender of one's own is a"),
        ("Mean", "import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("Mean", "def half(:", "SyntaxError"),
        ("made", "def made():\n    return {}['key']", "KeyError: 'key'"),
    ],
)
def test_a_file_that_makes_no_recommender_is_told_with_the_line(reference: str, text: str, said: str) -> None:
    with pytest.raises(WrongChoice, match=said):
        config_of(reference, text)


def test_a_fault_is_told_with_its_line() -> None:
    text = "def made():\n    return {}['key']"
    line = len((HEAD + text).splitlines())
    with pytest.raises(WrongChoice, match=rf"^own mine\.py:made, line {line}: KeyError: 'key'$"):
        config_of("made", text)


def test_an_encoder_without_attention_takes_a_noise_model_and_no_gate() -> None:
    check(config_of("Mean", noise_model="co-occurrence"))
    with pytest.raises(WrongChoice, match="has no attention for gate to work on"):
        check(config_of("Mean", gate="positional"))


def test_an_encoder_with_attention_takes_a_gate() -> None:
    config = config_of("SASRec", "from models.networks.sasrec import SASRec", gate="positional", heads=1)
    check(config)
    model = build(config, 9, seed=1)
    assert any("gate" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("reference", ["Counts", "Whole"])
def test_what_has_no_objective_of_ours_takes_neither(reference: str) -> None:
    with pytest.raises(WrongChoice, match="take 'none' for its noise_model"):
        check(config_of(reference, noise_model="co-occurrence"))


NOISE = """
import random

import torch
from torch import nn

from models.denoising.noise.seam import NoiseModel


class Repeats(NoiseModel):
    # What a history holds twice is likelier genuine.

    def __init__(self, item_count: int, planted: str, weight: float = 1.0) -> None:
        super().__init__(features=1, planted=planted)
        self.weight = weight

    def count(self, events, item_count):
        pass

    def evidence(self, events, planted=None):
        items = events.items if planted is None else planted
        own = events.owners[:, None] == events.owners
        same = own & (items[:, None] == events.items)
        return self.weight * (same.sum(1) - int(planted is None)).float()[:, None]
"""


def noise_of(reference: str, text: str = "", **settings: object) -> ModelConfig:
    code = NOISE + textwrap.dedent(text)
    asked = {"dim": 6, "length": 5, "loss": "softmax", **settings}
    return ModelConfig(**asked, noise_model=OWN_NOISE, own_noise=f"mine.py:{reference}", own_noise_code=code)


def test_a_noise_model_of_ones_own_keeps_to_the_contract_and_cleans_what_is_trained_on(tmp_path: Path) -> None:
    config = noise_of("Repeats(weight=2.0)", planted="uniform")
    check(config)
    check_contract(config)
    log, noise = planted_log(kind="uniform", share=0.3, users=150)
    model = build(config, log.sequences.item_count, seed=1)
    model.prepare(log.sequences)
    assert isinstance(model, NoiseAware)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    part = training_part(log.sequences)
    assert auroc(1 - verdict[part], noise[part]) > 0.8
    trained = training_of(config, epochs=2)
    trained.run(on_epoch=lambda _: None)
    save_model(trained.model, config, tmp_path, item_count=trained.log.sequences.item_count)
    assert_same(trained.model.state_dict(), load_model(tmp_path).state_dict())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            """
            class Broken(Repeats):
                def genuine(self, events):
                    return super().genuine(events)[:-1]
            """,
            r"of \d+ events `genuine` gives \[\d+\], not \[events\]",
        ),
        (
            """
            class Broken(Repeats):
                def genuine(self, events):
                    return 2 + super().genuine(events)
            """,
            "not probabilities",
        ),
        (
            """
            class Broken(Repeats):
                def genuine(self, events):
                    return torch.rand(len(events.items))
            """,
            "judged otherwise when it is asked again",
        ),
        (
            """
            class Broken(Repeats):
                def prepare(self, sequences):
                    super().prepare(sequences)
                    self.judgement.weights.zero_()
                    self.judgement.shares.fill_(random.uniform(0.1, 0.4))
            """,
            "what it learns from the same log is something else",
        ),
        (
            """
            class Broken(Repeats):
                def genuine(self, events):
                    return (events.items[:, None] == events.items).float().mean(1)
            """,
            "judged otherwise beside other histories than alone",
        ),
        (
            """
            class Broken(Repeats):
                def prepare(self, sequences):
                    super().prepare(sequences)
                    self.level = torch.tensor(0.25)

                def genuine(self, events):
                    return torch.full(events.items.shape, float(getattr(self, "level", 0.75)))
            """,
            "saved and loaded it judges otherwise",
        ),
        (
            """
            class Broken(Repeats):
                def prepare(self, sequences):
                    super().prepare(sequences)
                    self.judgement.weights.add_(0.01 * sequences.items.float().mean())
                    self.judgement.shares.fill_(0.3)
            """,
            "what it learns from the log changes with events that are held out",
        ),
        (
            """
            def Broken(item_count):
                return item_count
            """,
            "it makes a int, and a noise model of one's own is a `NoiseModel`",
        ),
    ],
)
def test_what_a_noise_model_breaks_of_the_contract_is_told(text: str, said: str) -> None:
    with pytest.raises(WrongChoice, match=said) as told:
        check_contract(noise_of("Broken", text))
    assert told.value.setting == "own_noise"
    assert str(told.value).startswith("own_noise mine.py:Broken")


def test_noise_models_of_this_project_keep_to_the_contract() -> None:
    """Which would complain of none of them, made by a file."""
    for name, module in (("Popularity", "popularity"), ("CoOccurrence(reach=3)", "cooccurrence")):
        text = f"from models.denoising.noise.{module} import {name.partition('(')[0]}"
        check_contract(noise_of(name, text))


def test_two_texts_are_two_models_and_what_tells_them_apart_is_short() -> None:
    first, second = config_of("Mean"), config_of("Mean", "# another")
    told = first.effective()
    assert told != second.effective()
    assert told["own"] == "mine.py:Mean"
    assert len(told["own_code"]) == 16
    assert "loss" in told
    assert "loss" not in config_of("Counts").effective()


def test_a_backbone_and_the_text_of_a_file_go_together() -> None:
    for settings in ({"backbone": "own"}, {"own_code": "text"}):
        with pytest.raises(ValueError, match="own_code, which comes of itself"):
            ModelConfig(**settings)
    for settings in ({"noise_model": "own"}, {"own_noise_code": "text"}):
        with pytest.raises(ValueError, match="own_noise_code, which comes of itself"):
            ModelConfig(**settings)


def test_what_a_file_imports() -> None:
    assert own.imported("import a.b, c\nfrom d.e import f\n\ndef g():\n    import h") == {"a", "c", "d", "h"}


def test_a_fault_of_another_files_syntax_is_told_with_the_line_that_reads_it() -> None:
    text = "\n\ndef made():\n    compile('(', 'other.py', 'exec')"
    line = len((HEAD + text).splitlines())
    with pytest.raises(WrongChoice, match=rf"^own mine\.py:made, line {line}: SyntaxError: '\(' was never closed"):
        config_of("made", text)


def test_what_an_error_says_on_several_lines_is_told_in_one(tmp_path: Path) -> None:
    with pytest.raises(WrongChoice, match=r"made, line \d+: RuntimeError: first second$"):
        config_of("made", "def made():\n    raise RuntimeError('first\\n\\tsecond')")


def test_in_a_training_what_comes_through_the_file_alone_is_told_as_its_fault() -> None:
    config = config_of("Mean")
    model = build(config, 9, seed=1)
    told = r"^own mine\.py:Mean, line \d+: AttributeError: .* 'visible'$"
    with pytest.raises(WrongChoice, match=told), own.faults_of_files_told(config):
        model.backbone.encode(None)
    with pytest.raises(KeyError), own.faults_of_files_told(config):
        raise KeyError("ours")
    with pytest.raises(MemoryError), own.faults_of_files_told(config):
        raise MemoryError


def test_a_scorer_is_all_that_tells_how_much_an_item_surprises(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever parts it is asked."""
    text = """
        class Scoring(Counts):
            def query(self, batch):
                raise AssertionError("its scores are the scorer's")

            def scorer(self):
                return lambda batch: self.counts[1:].log1p() + batch.items.flatten()[batch.ends, None]
        """
    check_contract(config_of("Scoring", text))
    log = planted_log(kind="uniform", share=0.0, users=9)[0].sequences
    model = build(config_of("Scoring", text), log.item_count, seed=1)
    model.prepare(log)
    batch = windows(log, torch.arange(9), log.train_lengths, length=5, with_targets=False)
    items = torch.arange(1, 10)
    chances = model.scorer()(batch).log_softmax(1)
    wanted = -chances[torch.arange(9), items - 1]
    for at_a_time in (256, 4):
        monkeypatch.setattr(recommender, "SCORED_AT_A_TIME", at_a_time)
        assert torch.allclose(model.surprises(batch, items), wanted)
    assert model.surprises(replace(batch, ends=batch.ends[:0]), items[:0]).shape == (0,)
