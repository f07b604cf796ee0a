"""Methods that name a person's own file: where it is read, what they are called, and what is refused before a run."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.argument_types import methods
from models.catalogue import build
from models.config import ModelConfig
from models.denoising.noise.seam import Events
from models.description import DESCRIPTION_FILE, Description
from models.engine.sequences import Sequences
from models.own import noise_model
from tasks.errors import InputError
from tasks.home import PROJECT_ROOT
from tasks.own import completed, method_name
from tasks.register import _libraries
from tasks.specs import CellSpec, MethodSpec, RobustnessSpec, named_method
from tasks.study.costs import kind_of

COUNTS = """
import torch
from torch import nn
from models.engine.sequences import training_part
from models.networks.count_based import CountBased


class Recent(CountBased):
    def __init__(self, item_count, length, weight=1.0):
        super().__init__(length=length)
        self.counts = nn.Buffer(torch.zeros(item_count + 1))
        self.weight = weight

    def prepare(self, sequences):
        items = sequences.items[training_part(sequences)].long()
        self.counts = self.weight * torch.bincount(items, minlength=len(self.counts)).float()

    def query(self, batch):
        return self.counts.new_ones(len(batch.ends), 1)

    def item_table(self):
        return self.counts[:, None]
"""


def example(folder: Path, name: str) -> Path:
    """The file that the documentation shows with the class of that name."""
    page = (PROJECT_ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    (text,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"class {name}(" in block]
    path = folder / "example.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder that one is in."""
    path = tmp_path / "mine.py"
    path.write_text(COUNTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def test_methods_are_parted_by_commas_outside_of_brackets() -> None:
    assert methods("popularity, mine.py:A(x=1, y='b'),c.py:D") == ["popularity", "mine.py:A(x=1, y='b')", "c.py:D"]
    nested = "mine.py:A(sizes=(1, 2), shape=(3, [4, 5]))"
    assert methods(f"{nested},sasrec-bce") == [nested, "sasrec-bce"]
    assert methods("popularity,sasrec-bce") == ["popularity", "sasrec-bce"]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("mine.py:MovingAverage", "moving-average"),
        ("a/b.py:make_it(size=3, decay=0.5)", "make-it-size-3-decay-0.5"),
        ("mine.py:GRU4Rec(layers=2)", "gru4-rec-layers-2"),
        ("mine.py:A(rate=-0.5, at=(-1, -.5))", "a-rate-minus-0.5-at-minus-1-minus-.5"),
        ("mine.py:A(text='" + "x" * 90 + "')", "a-text-" + "x" * 53),
    ],
)
def test_a_method_is_called_after_what_makes_it(own: str, name: str) -> None:
    assert method_name(own) == name


def test_it_is_asked_for_by_name_with_the_common_settings(file: Path) -> None:
    method = named_method("mine.py:Recent(weight=2.0)", length=7)
    assert method.name == "recent-weight-2.0"
    assert (method.model.backbone, method.model.length, method.model.own_code) == ("own-counts", 7, COUNTS)


def test_what_is_asked_for_needs_the_file_no_more(file: Path) -> None:
    """As the parameters of a flow run, and a run that is made again."""
    spec = RobustnessSpec(methods=(named_method("mine.py:Recent"),))
    cell = spec.cells()[0]
    file.unlink()
    assert RobustnessSpec.model_validate_json(spec.model_dump_json()) == spec
    assert CellSpec.model_validate_json(cell.model_dump_json()) == cell


def test_a_flows_parameters_name_a_file(file: Path) -> None:
    said: dict[str, Any] = {"name": "mine", "model": {"own": "mine.py:Recent", "length": 9}}
    assert MethodSpec.model_validate(said).model.own_code == COUNTS


def test_a_changed_file_is_another_model(file: Path) -> None:
    before = named_method("mine.py:Recent").model
    file.write_text(COUNTS + "\n# changed\n", encoding="utf-8")
    after = named_method("mine.py:Recent").model
    assert before.effective() != after.effective()
    assert before.effective() == completed(before).effective()


def test_a_file_of_the_project_is_found_from_anywhere(file: Path) -> None:
    assert named_method("studies/own.py:MovingAverage", heads=5).model.backbone == "own"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("nowhere.py:Mine", r"own nowhere\.py:Mine: there is no file nowhere\.py \(a path is relative to "),
        ("mine.py:Nobody", r"own mine\.py:Nobody: the file has no class or function Nobody"),
        ("mine.py:Recent(3)", r"write it as FILE\.py:NAME"),
    ],
)
def test_what_cannot_be_is_refused(file: Path, own: str, said: str) -> None:
    with pytest.raises((ValueError, InputError), match=said):
        named_method(own)


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"mine\.py cannot be read as a Python file"):
        named_method("mine.py:Recent")


@pytest.mark.parametrize(
    ("mark", "encoding"), [(b"\xef\xbb\xbf", "utf-8"), (b"# -*- coding: latin-1 -*-\n# caf\xe9\n", "latin-1")]
)
def test_a_file_is_read_as_python_reads_it(file: Path, mark: bytes, encoding: str) -> None:
    """With the mark that some editors put before UTF-8, in another encoding that it names, with any line ends."""
    file.write_bytes(mark + COUNTS.replace("\n", "\r\n").encode(encoding))
    code = named_method("mine.py:Recent").model.own_code
    assert code.endswith(COUNTS)
    assert "\ufeff" not in code


def test_what_stays_behind_when_it_is_served_elsewhere_is_not_imported(file: Path) -> None:
    file.write_text(f"from tasks.home import Home\n{COUNTS}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"it imports tasks, and of this project a registered model takes nothing"):
        named_method("mine.py:Recent")


def test_a_registered_model_requires_what_its_file_imports(file: Path, tmp_path: Path) -> None:
    file.write_text(f"import scipy.sparse\nimport json\nfrom google import protobuf\n{COUNTS}", encoding="utf-8")
    config = named_method("mine.py:Recent").model
    (tmp_path / DESCRIPTION_FILE).write_text(Description(config, 3, 2).to_json(), encoding="utf-8")
    required = set(_libraries(tmp_path))
    assert {"scipy", "protobuf"} <= required, "of several libraries that share a name each"
    assert not required & {"rec-denoiser", "json"}


def test_it_is_no_named_method(file: Path) -> None:
    with pytest.raises(ValueError, match="the method sasrec-bce fixes own to ''"):
        MethodSpec.model_validate({"name": "sasrec-bce", "model": {"own": "mine.py:Recent"}})


def test_it_takes_the_place_of_a_backbone(file: Path) -> None:
    with pytest.raises(ValueError, match="it takes the place of the backbone gru4rec: leave that out"):
        completed(ModelConfig(own="mine.py:Recent", backbone="gru4rec"))


def test_what_two_of_them_take_is_told_apart(file: Path) -> None:
    kinds = {
        kind_of(named_method(own).model, device="cpu", threads=1, compiled=False, precision="float32")
        for own in ("mine.py:Recent", "mine.py:Recent(weight=2.0)")
    }
    assert len(kinds) == 2


def test_a_noise_model_of_ones_own_is_read_likewise(tmp_path: Path) -> None:
    config = completed(ModelConfig(own_noise=f"{example(tmp_path, 'Repeats')}:Repeats", loss="softmax"))
    assert (config.backbone, config.noise_model) == ("sasrec", "own")
    assert len(config.effective()["own_noise_code"]) == 16
    with pytest.raises(ValueError, match="it takes the place of the noise model popularity: leave that out"):
        completed(ModelConfig(own_noise="studies/own.py:MovingAverage", noise_model="popularity"))
    with pytest.raises(ValueError, match=r"own_noise studies/own\.py:MovingAverage: TypeError"):
        completed(ModelConfig(own_noise="studies/own.py:MovingAverage"))
    with pytest.raises(ValueError, match=r"own_noise nowhere\.py:Judge: there is no file"):
        completed(ModelConfig(own_noise="nowhere.py:Judge"))
    with pytest.raises(ValueError, match="the method denoised-softmax fixes own_noise to ''"):
        MethodSpec.model_validate({"name": "denoised-softmax", "model": {"own_noise": "mine.py:Judge"}})


def test_the_documentations_noise_model_knows_what_a_history_holds_twice(tmp_path: Path) -> None:
    config = completed(ModelConfig(own_noise=f"{example(tmp_path, 'Repeats')}:Repeats"))
    judge = noise_model(config, 9)
    events = Events(torch.tensor([1, 2, 1, 1, 3]), torch.tensor([0, 0, 0, 1, 1]), torch.ones(5, dtype=torch.bool))
    assert judge.evidence(events).flatten().tolist() == [1, 0, 1, 0, 0]
    assert judge.evidence(events, torch.tensor([2, 9, 3, 3, 2])).flatten().tolist() == [1, 0, 0, 1, 0]


def test_the_documentations_example_counts_each_users_last_ten_events(tmp_path: Path) -> None:
    config = named_method(f"{example(tmp_path, 'Recent')}:Recent").model
    histories = [[1, 2, 3] * 5, [4], [], [5, 5, 1, 2]]
    lengths = torch.tensor([13, 1, 0, 3])  # the last events of two are held out
    log = Sequences(
        items=torch.tensor([item for history in histories for item in history], dtype=torch.int32),
        offsets=torch.tensor([0, 15, 16, 16, 20]),
        train_lengths=lengths,
        item_count=5,
    )
    model = build(config, 5, seed=1)
    model.prepare(log)
    counted = Counter(item for history, until in zip(histories, lengths, strict=True) for item in history[:until][-10:])
    assert model.item_table().squeeze(1).tolist() == [counted[item] for item in range(6)]
