"""The table of public data sets."""

import re

import pytest

from tasks.sources.addresses import address_of
from tasks.sources.datasets import DATASETS, GENERATED, DataSet, by_hand, known, nearest, remote_of
from tasks.sources.formats import known_formats

PUBLIC = [dataset for dataset in DATASETS.values() if dataset.name != GENERATED]


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_an_entry_is_whole(dataset: DataSet) -> None:
    assert known(dataset.name) is dataset
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", dataset.name), "it is the name in runs and models, too"
    assert dataset.format in known_formats()
    assert all(text.endswith(".") for text in (dataset.what, dataset.licence, dataset.papers))


@pytest.mark.parametrize("dataset", PUBLIC, ids=lambda dataset: dataset.name)
def test_a_public_one_says_whose_it_is_and_how_to_get_it(dataset: DataSet) -> None:
    assert dataset.page.startswith("https://")
    assert (dataset.address is None) == bool(dataset.steps and dataset.file)
    remote = remote_of(dataset)
    if remote is None:
        assert f"--source {dataset.file} --format {dataset.format}" in by_hand(dataset)
        return
    assert address_of(remote.address).startswith("https://")
    assert (remote.member is not None) == remote.address.endswith(".zip")
    assert remote.md5 is None or re.fullmatch(r"[0-9a-f]{32}", remote.md5)


def test_the_nearest_name_is_offered() -> None:
    assert nearest("ml1m") == "ml-1m"
    assert nearest("amazon-beauty") in DATASETS
    assert nearest("zzzzzz") is None
