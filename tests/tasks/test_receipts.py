"""Receipts: a step counts as done while its files are there."""

import shutil
from pathlib import Path

from tasks.home import Home
from tasks.receipts import holds, write_receipt


def test_a_step_is_done_while_its_files_are_there(home: Home) -> None:
    outputs = [home.steps / "a.parquet", home.steps / "folder"]
    outputs[1].mkdir(parents=True)
    outputs[0].touch()
    assert not holds("key", home=home)
    write_receipt("key", outputs, home=home)
    assert holds("key", home=home)
    assert not holds("other", home=home)
    outputs[0].unlink()
    assert not holds("key", home=home)


def test_a_receipt_that_a_power_cut_has_emptied_is_none(home: Home) -> None:
    write_receipt("key", [], home=home)
    assert holds("key", home=home)
    (receipt,) = (home.steps / "receipts").iterdir()
    receipt.write_text("", encoding="utf-8")
    assert not holds("key", home=home)
    write_receipt("key", [], home=home)
    assert holds("key", home=home)


def test_the_state_folder_may_be_moved(home: Home, tmp_path: Path) -> None:
    home.steps.mkdir(parents=True)
    (home.steps / "a").touch()
    write_receipt("key", [home.steps / "a"], home=home)
    moved = Home(tmp_path / "elsewhere")
    shutil.move(home.root, moved.root)
    assert holds("key", home=moved)
