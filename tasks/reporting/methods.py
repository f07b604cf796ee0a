"""What each method is, in a sentence made of its settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.reporting.analysis import axis_label, value_label
from tasks.study.result import CellResult

BACKBONES = {
    "sasrec": "SASRec",
    "bert4rec": "BERT4Rec, which finds masked items from both sides",
    "tisasrec": "TiSASRec, which sees the time between events",
    "sse-pt": "SSE-PT, which has an embedding of each user",
    "gru4rec": "GRU4Rec, which reads a history with recurrent units",
    "caser": "Caser, which convolves the last items and has an embedding of each user",
    "fpmc": "FPMC, which factorises a Markov chain of each user's own",
    "fmlp-rec": "FMLP-Rec, which filters a history's frequencies",
    "fmlp-rec-causal": "FMLP-Rec with causal filters, which give every event of a history its state in one pass",
    "dreamrec": "DreamRec, which generates the next item's embedding by guided diffusion",
    "diffrec": "DiffRec, which takes noise away from the vector of a user's interactions",
    "own": "An encoder from outside this project",
    "own-objective": "A recommender from outside this project, with its own objective",
    "own-counts": "A recommender from outside this project, which counts",
    "popularity": "The popularity of items, the same for everyone",
    "v-sknn": "Nearest neighbours, the histories that share items with the one at hand, which vote",
    "markov-chain": "A first-order Markov chain, which counts what came after the last item before",
}
LOSSES = {
    "bce": "binary cross-entropy against sampled negatives",
    "bpr": "the BPR loss against sampled negatives",
    "bpr-max": "the BPR-max loss against negatives that a batch shares",
    "gbce": "gBCE, binary cross-entropy calibrated for sampled negatives",
    "gbce-shared": "gBCE, binary cross-entropy calibrated for sampled negatives, which a batch shares",
    "sampled-softmax": "cross-entropy over a sample of the catalogue",
    "softmax": "cross-entropy over the whole catalogue",
}
GATES = {
    "positional": "a learned mask over pairs of positions, the same for every user, on its attention",
    "contextual": "a learned mask that sees the items of query and key and what came before them, on its attention",
    "fixed-random": "a mask over pairs of positions, drawn once and never trained, on its attention",
    "head-drop": "attention heads left out at random in training",
    "layer-drop": "whole layers' attention left out at random in training",
    "top-k": "attention to each position's likeliest events only",
    "sparse-transformer": "attention to each position's own block of events and the last ones of the earlier blocks",
    "alpha-entmax": "α-entmax, whose α each head learns, in the place of attention's softmax",
}
FILTERS = {
    "co-occurrence": "the co-occurrence of items",
    "own-score": "the own scores of a first recommender",
    "popularity": "the popularity of items",
}
AS_IT_IS = "the log as it is"
TOLD = ("backbone", "loss", "gate", "estimator")
TOLD_OF_FILTERS = ("by", "below")
ABSENT: Mapping[str, Any] = {
    "noise_model": "none",
    "robust": "none",
    "drop_events": 0.0,
    "corrupt_inputs": 0.0,
    "contrast": 0.0,
    "neighbour_weight": 0.0,
    "gamma": 0.0,
}
"""Settings of parts that most methods lack, and what says so: no word is lost on those."""


def own_training(cells: Iterable[CellResult]) -> tuple[str, ...]:
    """The settings of training in which the cells of a study differ."""
    held: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.training.items():
            held.setdefault(name, set()).add(repr(value))
    return tuple(name for name, values in held.items() if len(values) > 1)


def described(cells: Sequence[CellResult], *, training: Sequence[str]) -> str:
    """One sentence on a method, from the settings that its cells read, what is left out of their logs, and those
    settings of their training that are asked for; those that vary are listed with all values.
    """
    settings = _values(cell.model for cell in cells)
    filters = _values(cell.filter for cell in cells)
    trained = _values({name: cell.training[name] for name in training} for cell in cells)
    opening = _known(settings, "backbone", BACKBONES) if "backbone" in settings else "A model"
    if "loss" in settings:
        opening += f", trained with {_known(settings, 'loss', LOSSES)}"
    gate = _all(settings, "gate")
    if gate and gate != "none":
        opening += f", with {_known(settings, 'gate', GATES)}"
        estimator = _all(settings, "estimator")
        opening += f", whose gradients come from {estimator}" if estimator else ""
    logs = list(dict.fromkeys(log_words(taken_out=cell.taken_out, left_by=cell.filter) for cell in cells))
    if logs != [AS_IT_IS]:
        opening += f", on {' or on '.join(logs)}"
    rest = [
        f"{axis_label(f'model.{name}')} {_all(settings, name)}"
        for name, values in settings.items()
        if name not in TOLD and (name not in ABSENT or list(values.values()) != [ABSENT[name]])
    ]
    rest += [f"{axis_label(f'filter.{name}')} {_all(filters, name)}" for name in filters if name not in TOLD_OF_FILTERS]
    rest += [f"{axis_label(f'training.{name}')} {_all(trained, name)}" for name in training]
    return f"{opening}{': ' if rest else ''}{', '.join(rest)}."


def log_words(*, taken_out: bool, left_by: Mapping[str, Any]) -> str:
    """What is left of a log from which an oracle or a filter of these settings, if any, left something out."""
    told = ["without what it is told, as an oracle, is noise"] if taken_out else []
    if left_by:
        by, below = FILTERS.get(left_by["by"], f"the noise model {left_by['by']}"), left_by["below"]
        told += [f"filtered by {by}, which leaves out what is genuine with a probability below {below:g}"]
    return f"the log {', then '.join(told)}" if told else AS_IT_IS


def _values(held: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By setting its different values, in the order in which they come."""
    values: dict[str, dict[str, Any]] = {}
    for settings in held:
        for name, value in settings.items():
            values.setdefault(name, {})[repr(value)] = value
    return values


def _all(settings: dict[str, dict[str, Any]], name: str) -> str:
    return " or ".join(value_label(value) for value in settings.get(name, {}).values())


def _known(settings: dict[str, dict[str, Any]], name: str, sentences: dict[str, str]) -> str:
    return " or ".join(sentences.get(str(value), f"the {name} {value}") for value in settings[name].values())
