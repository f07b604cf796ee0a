"""What a recommender has to keep to.

A look at what is held out, at later events, or at the targets, is told by these rules, and not by figures that are too
good to be true, or too bad.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from models.catalogue import build
from models.config import NO_GATE, ModelConfig
from models.contract.log import (
    CHANGES_WITH_HELD_OUT,
    FROM_TORCH,
    ITEMS,
    SIZES,
    alike,
    equal,
    moved,
    not_loaded,
    others,
    small_log,
    with_others_held_out,
)
from models.engine.batches import Batch, UnseenItems, windows
from models.engine.randomness import Streams
from models.engine.rows import by_rows
from models.engine.sequences import Sequences
from models.networks.attention import GateContext
from models.networks.backbone import NextItem
from models.own import SETTINGS, in_a_line
from models.recommender import Draws, Recommender

STEPS = 10
"""At most, of an epoch that is looked through."""


@dataclass(frozen=True)
class Case:
    """A configuration with the small log. What goes with the recommender, such as a gate, takes part in the last rule
    alone.
    """

    config: ModelConfig

    def built(self) -> Recommender:
        kept = (*SETTINGS, "backbone", "own", "own_code", "loss")
        plain = ModelConfig(**{name: getattr(self.config, name) for name in kept})
        return build(plain, ITEMS, seed=1, user_count=len(SIZES))

    @cached_property
    def prepared(self) -> Recommender:
        """One that has taken from the log what it keeps of it."""
        return self.prepared_from(self.log)

    def prepared_from(self, log: Sequences) -> Recommender:
        model = self.built()
        torch.manual_seed(2)
        model.prepare(log)
        return model

    @cached_property
    def log(self) -> Sequences:
        return small_log()

    def training_windows(self) -> Batch:
        """Windows with targets, as a causal encoder is shown them; of their last events there are two at the least."""
        users = torch.nonzero(self.log.train_lengths > 2).squeeze(1)
        stops = self.log.train_lengths[users] - 1
        return windows(self.log, users, stops, length=self.prepared.length, with_targets=True)

    def histories(self, model: Recommender, users: Tensor | None = None) -> Batch:
        """What some users, or all, may be trained on, as it is ranked with."""
        users = torch.arange(len(SIZES)) if users is None else users
        stops = self.log.train_lengths[users]
        return windows(self.log, users, stops, length=model.length, with_targets=False, appended=model.appended)

    def scores(self, model: Recommender, batch: Batch | None = None) -> Tensor:
        """[users, items]: of the histories in a batch, or of all users'."""
        batch = self.histories(model) if batch is None else batch
        model.eval()
        with torch.inference_mode():
            return model.scorer()(batch)

    def draws(self) -> Draws:
        """Those of a training's first step: the same each time, torch's own generator included."""
        torch.manual_seed(4)
        streams = Streams(5, Draws.NAMES, device=torch.device("cpu"))
        return Draws(streams, UnseenItems(self.log, self.log.train_lengths))


def weights_follow_from_the_seed(case: Case) -> str | None:
    """So that a run can be made again."""
    for made in (case.built, lambda: case.prepared_from(case.log)):
        first, second = made().state_dict(), made().state_dict()
        unlike = [name for name, value in first.items() if not equal(value, second.get(name))]
        if unlike:
            return (
                f"{unlike[0]} is another each time it is made: draw with torch, whose generator has the training's seed"
            )
    return None


def every_cell_is_encoded(case: Case) -> str | None:
    """As [rows, length, dim], where it is an encoder."""
    model, batch = case.prepared, case.training_windows()
    if not isinstance(model, NextItem):
        return None
    with torch.no_grad():
        hidden, table = model.backbone.encode(batch), model.backbone.item_table()
    if hidden.dim() != 3 or hidden.shape[:2] != batch.items.shape:
        cells = list(batch.items.shape)
        return f"of {cells} cells `encode` gives {list(hidden.shape)}, not [rows, length, dim]"
    if hidden.dtype != table.dtype:
        return f"`encode` gives numbers of {hidden.dtype}, and `item_table` of {table.dtype}"
    return None


def every_item_has_a_score(case: Case) -> str | None:
    """A finite one, by `query` and `item_table` or by a `scorer` of its own."""
    scores = case.scores(case.prepared)
    if scores.shape != (len(SIZES), ITEMS):
        return (
            f"for {len(SIZES)} histories and {ITEMS} items its scores are {list(scores.shape)}: `query` gives "
            "[histories, dim] and `item_table` [items + 1, dim], or `scorer` what gives [histories, items]"
        )
    if scores.dtype not in (torch.float32, torch.float64):
        return f"its scores are numbers of {scores.dtype}, of which too many are alike to rank by: give torch.float32"
    if bool(torch.isfinite(scores).all()):
        return None
    return (
        "untrained it has scores that are no finite numbers: a cell without an event, such as that of an empty "
        "history, sees nothing, and a softmax over nothing is no number"
    )


def users_may_be_unknown(case: Case) -> str | None:
    """As all are whom a registered model is asked about."""
    model = case.prepared
    batch = case.histories(model)
    stranger = replace(batch, users=torch.full_like(batch.users, -1))
    told = "a user whom it does not know has the number -1"
    try:
        scores = case.scores(model, stranger)
    except (IndexError, RuntimeError) as error:
        return f"{told}, with which it fails: {in_a_line(error)}"
    return None if bool(torch.isfinite(scores).all()) else f"{told}, for whom its scores are no finite numbers"


def times_are_needed_or_unread(case: Case) -> str | None:
    """Not every log has any, nor every history that a registered model is asked about."""
    model = case.prepared
    if "times" in model.needs:
        return None
    batch = case.histories(model)
    told = 'it reads times, which not every log has: say so by `needs = frozenset({"times"})`'
    try:
        scores = case.scores(model, replace(batch, times=None))
    except (AttributeError, TypeError):
        return told
    return None if alike(scores, case.scores(model, batch)) else told


def scores_are_the_same_again(case: Case) -> str | None:
    """Ranking draws nothing, and drops nothing out."""
    same = alike(case.scores(case.prepared), case.scores(case.prepared))
    return None if same else "the same history has other scores when it is asked again: draw nothing in evaluation"


def scores_do_not_depend_on_company(case: Case) -> str | None:
    """A history's scores alone are those beside others, with which it may share a row."""
    model = case.prepared
    users = torch.nonzero(case.log.train_lengths).squeeze(1)  # what an empty history gives is no matter
    alone = torch.cat([case.scores(model, case.histories(model, user[None])) for user in users])
    told = (
        "a history has other scores beside other histories than alone: several share a row, and `batch.visible` and "
        "`batch.segments` say which events are of one history"
    )
    return None if alike(case.scores(model)[users], alone) else told


def each_event_may_be_an_end(case: Case) -> str | None:
    """Of a batch whose `ends` are all its events: how much one surprises the model tells what is noise. One that is
    shown a mask in its place is asked otherwise.
    """
    model, batch = case.prepared, case.training_windows()
    if model.mask is not None:
        return None
    assert batch.targets is not None
    everywhere = replace(batch, ends=batch.cells)
    ends = torch.isin(batch.cells, batch.ends)
    scores = case.scores(model, everywhere)
    of_ends = case.scores(model, replace(batch, ends=batch.cells[ends]))
    of_later = case.scores(model, replace(_with_other_ends(batch), ends=batch.cells))
    if not alike(scores[ends], of_ends) or (
        not isinstance(model, NextItem) and not alike(scores[~ends], of_later[~ends])
    ):
        return (
            "where the events that `batch.ends` names are others than the last ones, its scores are not of what these "
            "have seen: `batch.visible` says what that is"
        )
    with torch.inference_mode():
        surprises = model.surprises(everywhere, batch.events(batch.targets))
    well = surprises.shape == batch.cells.shape and bool(torch.isfinite(surprises).all())
    return None if well else "its `surprises` are not a finite number for each of `batch.ends`"


def state_is_whole(case: Case) -> str | None:
    """What is saved of it is all that it ranks with."""
    torch.manual_seed(6)
    loaded = case.built()
    if wrong := not_loaded(loaded, case.prepared.state_dict()):
        return wrong
    told = (
        "saved and loaded it has other scores: what it takes from the log belongs into buffers (`torch.nn.Buffer`), "
        "which are made in its constructor"
    )
    return None if alike(case.scores(case.prepared), case.scores(loaded)) else told


def held_out_events_stay_unseen(case: Case) -> str | None:
    """Neither what it takes from the log nor what it is trained on is of them: they are what it is judged by."""
    logs = case.log, with_others_held_out(case.log)
    model, other = map(case.prepared_from, logs)
    if not alike(case.scores(model), case.scores(other)):
        return f"what it takes from the log {CHANGES_WITH_HELD_OUT}"
    losses = [
        list(islice(_losses(case, each.train(), log), STEPS)) for each, log in zip((model, other), logs, strict=True)
    ]
    same = len(losses[0]) == len(losses[1]) and all(map(alike, *losses))
    return None if same else f"what it is trained on {CHANGES_WITH_HELD_OUT}"


def encoder_sees_the_past_alone(case: Case) -> str | None:
    """Neither later events nor targets, in training or in evaluation. One that has `masking` may see both sides, and of
    what is masked nothing.
    """
    model = case.prepared
    if not isinstance(model, NextItem):
        return None
    if model.backbone.masking is None:
        batch = case.training_windows()
        earlier = batch.cells[~torch.isin(batch.cells, batch.ends)]
        later = _with_other_ends(batch)
    else:
        batch = later = next(_batches(case, model, case.log))
        earlier = batch.cells
    assert batch.targets is not None
    with_other_targets = replace(batch, targets=others(batch.targets, batch.targets > 0))
    for training in (True, False):
        model.train(training)
        hidden = _hidden(case, model, batch)
        if not alike(hidden, _hidden(case, model, batch)):
            return f"the same events give other vectors when they are encoded again: {FROM_TORCH}"
        if not alike(hidden[earlier], _hidden(case, model, later)[earlier]):
            return (
                "what it makes of an event changes with a later event of the same history, which it is to be trained "
                "to predict: `batch.visible` says what an event may see, and a normalisation over the batch sees all"
            )
        if not alike(hidden[batch.cells], _hidden(case, model, with_other_targets)[batch.cells]):
            return "what it makes of an event changes with the targets, which it is to be trained to predict"
    return None


def attention_takes_masks(case: Case) -> str | None:
    """One for each of its `layers`, and its `blocks` are those that a Jacobian term looks at."""
    model, batch = case.prepared, case.training_windows()
    if not isinstance(model, NextItem) or not model.backbone.layers:
        return None
    layers, asked, seen = model.backbone.layers, list[int](), list[bool]()

    def closed(context: GateContext) -> Tensor:
        asked.append(context.layer)
        return context.attention.new_zeros(())

    def looked_at(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append(bool(inputs) and getattr(inputs[0], "shape", None) == getattr(output, "shape", ()))

    model.eval()
    hooks = [block.register_forward_hook(looked_at) for block in getattr(model.backbone, "blocks", ())]
    with torch.no_grad():
        hidden = [model.backbone.encode(batch, gate=gate) for gate in (None, closed)]
    for hook in hooks:
        hook.remove()
    if sorted(asked) != list(range(layers)) or alike(*hidden):
        return (
            f"it says that it has {layers} layers of attention, and does not multiply each by what `gate` gives "
            "for it (models/networks/attention.py): do, or leave `layers` at 0"
        )
    if seen != [True] * (2 * layers):
        return (
            f"it says that it has {layers} layers, and its `blocks` are not as many modules, each of which maps hidden "
            "states, its first argument, to hidden states of the same shape"
        )
    return None


def steps_teach(case: Case) -> str | None:
    """The first step of a training has a loss, the same each time, with a gradient. What counts has no step."""
    if case.config.is_count_based:
        return None
    model = case.prepared.train()
    first, again = (next(_losses(case, model, case.log), None) for _ in range(2))
    if first is None or again is None:
        return "its epochs have no batch: what only counts is a `CountBased` (models/networks/count_based.py)"
    if not bool(torch.isfinite(first).all()):
        return "the loss of its first step is no finite number"
    if not alike(first, again):
        return f"the same step has another loss when it is taken again: {FROM_TORCH}"
    if not again.requires_grad:
        return "the loss of a step has no gradient"
    again.backward()
    reached = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return None if any(bool(gradient.any()) for gradient in reached) else "the gradient of a step is nought"


def named_rows_are_all_that_is_read(case: Case) -> str | None:
    """Of the `row_tables`, of which a step on a large catalogue moves no other rows."""
    if not case.prepared.row_tables():
        return None
    by_row, whole = (case.prepared_from(case.log) for _ in range(2))
    for table in by_row.row_tables():
        by_rows(table)
    for model in (by_row, whole):
        next(_losses(case, model.train(), case.log)).backward()
    for one, other in zip(by_row.row_tables(), whole.row_tables(), strict=True):
        rows, all_rows = one.weight.grad, other.weight.grad
        if rows is None or all_rows is None or not rows.is_sparse or not alike(rows.to_dense(), all_rows):
            return (
                "a step reads more of its `row_tables` than rows by `models.engine.rows.gathered`: read them so, or "
                "leave them out of `row_tables`"
            )
    return None


def steps_are_taken_with_a_gate(case: Case) -> str | None:
    """Or with a Jacobian term, where the configuration has one."""
    if case.config.gate == NO_GATE and not case.config.gamma:
        return None
    model = build(case.config, ITEMS, seed=1, user_count=len(SIZES))
    model.prepare(case.log)
    loss = next(_losses(case, model.train(), case.log))
    loss.backward()
    if bool(torch.isfinite(loss).all()) and bool(torch.isfinite(case.scores(model)).all()):
        return None
    return "with its gate or Jacobian term its first loss, or its scores, are no finite numbers"


RULES: tuple[Callable[[Case], str | None], ...] = (
    weights_follow_from_the_seed,
    every_cell_is_encoded,
    every_item_has_a_score,
    scores_are_the_same_again,
    users_may_be_unknown,
    times_are_needed_or_unread,
    scores_do_not_depend_on_company,
    each_event_may_be_an_end,
    state_is_whole,
    encoder_sees_the_past_alone,
    attention_takes_masks,
    steps_teach,
    held_out_events_stay_unseen,
    named_rows_are_all_that_is_read,
    steps_are_taken_with_a_gate,
)
"""Each says what is wrong, or nothing."""


def _with_other_ends(batch: Batch) -> Batch:
    """Another last item of each window, at another time."""
    last = torch.zeros_like(batch.items, dtype=torch.bool).flatten().index_fill(0, batch.ends, True)
    last = last.view_as(batch.items)
    return replace(batch, items=others(batch.items, last), times=moved(batch.times, last))


def _hidden(case: Case, model: NextItem, batch: Batch) -> Tensor:
    """[cells, dim]: what a step in training makes of a batch, with the same draws each time."""
    draws = case.draws()
    with torch.no_grad():
        return model.backbone.encode(model.backbone.training_view(batch, draws)).flatten(0, 1)


def _batches(case: Case, model: Recommender, log: Sequences) -> Iterator[Batch]:
    """Those of a training's first epoch."""
    order = torch.Generator().manual_seed(8)
    return model.training_batches(log, batch_size=4, generator=order, draws=case.draws())


def _losses(case: Case, model: Recommender, log: Sequences) -> Iterator[Tensor]:
    """What the optimiser would descend in each step of a first epoch, all with the first one's draws."""
    return (model.loss(batch, case.draws()).objective() for batch in _batches(case, model, log))
