"""A recommender that knows noise when it sees it: in its training log, its targets, and the histories it ranks with."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from models.denoising.noise.seam import NoiseModel
from models.denoising.robust import Robust
from models.engine.batches import Batch, compacted, left_over
from models.engine.sequences import Sequences, training_part
from models.networks.attention import AttentionMask, GateContext
from models.networks.backbone import AroundNextItem, NextItem
from models.recommender import Draws, Loss


class NoiseAware(AroundNextItem):
    """A next-item recommender beside a noise model (`models.denoising.noise`), a robust loss, or both.

    In training, events whose probability to be genuine is below `drop_below` are left out of the log, so that what
    noise had pushed apart meets again and older events take its place, and the targets that stay are weighed by their
    probability to the power of `target_power`. Where the log is `sampled`, it is drawn anew for each epoch instead, and
    an event stays with its probability: what is doubtful is seen in some epochs and not in others, as what is unknown
    is drawn several times in multiple imputation (Rubin 1987), and no target is weighed. Of all events `drop_events`
    are left out, whatever they are, others in each epoch (Tan, Xu & Liu, DLRS 2016), and `corrupt_inputs` of the inputs
    are replaced by any item.

    When it ranks, it reads `spare` events more of a history than the backbone's length, and leaves out those below
    `drop_below`; a backbone that is shown both sides of a mask leaves nothing out of histories. In every attention
    layer, in training and when it ranks, what is paid to an event is multiplied by its probability to the power of
    `attention_power`, without renormalisation. With nothing to drop, powers of 0 and no robust loss, it is the backbone
    to the bit.
    """

    def __init__(
        self,
        base: NextItem,
        noise: NoiseModel | None,
        robust: Robust | None,
        *,
        drop_below: float = 0.0,
        target_power: float = 0.0,
        attention_power: float = 0.0,
        spare: int = 0,
        corrupt_inputs: float = 0.0,
        sampled: bool = False,
        drop_events: float = 0.0,
    ) -> None:
        super().__init__(base)
        self.noise = noise
        self.robust = robust
        self.drop_below = drop_below
        self.target_power = target_power
        self.attention_power = 0.0 if noise is None else attention_power
        self.corrupt_inputs = corrupt_inputs
        self.sampled = noise is not None and sampled
        self.drop_events = drop_events
        self._drops_history = noise is not None and drop_below > 0 and base.appended is None
        self.length = base.length + (spare if self._drops_history else 0)
        self._cleaned: tuple[Sequences, Sequences] | None = None
        self._dropped = 0.0

    def prepare(self, sequences: Sequences) -> None:
        """Have the noise model learn from the training log and judge it; the base sees the log that is trained on.

        Raises `ValueError` where the noise model leaves nothing to train on.
        """
        if self.noise is not None:
            self.noise.prepare(sequences)
        self.resume(sequences)

    def resume(self, sequences: Sequences) -> None:
        """As `prepare`, of the log that the noise model has learned from: it is judged once more."""
        self._cleaned = None
        judged = self._judged(sequences)
        if self.robust is not None:
            self.robust.prepare(judged)
        super().prepare(judged)

    @property
    def trained_length(self) -> int:
        return self.base.length

    def training_batches(
        self, sequences: Sequences, *, batch_size: int, generator: torch.Generator, draws: Draws
    ) -> Iterator[Batch]:
        log = self._drawn(self._judged(sequences), draws)
        return super().training_batches(log, batch_size=batch_size, generator=generator, draws=draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        batch, negatives = self.base.drawn(batch, draws)
        shown = self._with_corrupted_inputs(batch, draws) if self.corrupt_inputs else batch
        losses = self.base.position_losses(shown, negatives, dropout=draws.dropout(), gate=self._mask)
        weights = None
        if batch.target_keep is not None and self.target_power:
            weights = batch.events(batch.target_keep) ** self.target_power
        if self.robust is not None:
            assert batch.targets is not None
            losses, trusted = self.robust(losses, targets=batch.events(batch.targets), step=draws.step)
            if trusted is not None:
                weights = trusted if weights is None else weights * trusted
        return Loss(losses, weights)

    def query(self, batch: Batch) -> Tensor:
        if not self._drops_history and not self.attention_power:
            return self.base.query(batch)
        keep = self._genuine(batch)
        batch = replace(batch, keep=keep) if self.attention_power else batch
        if not self._drops_history:
            return self.base.query(batch, gate=self._mask)
        return self._query_of(batch, keep >= self.drop_below)

    @torch.no_grad()
    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """genuine: [rows, length], the noise model's probability of each event, by all of its window; empty without a
        noise model. read: [rows, length] bool, which events any of the batch's ends is ranked with, where some may be
        left out.
        """
        if self.noise is None:
            return {}
        genuine = self._genuine(batch)
        if not self._drops_history:
            return {"genuine": genuine}
        left = left_over(batch, genuine >= self.drop_below, length=self.base.length)
        rows = batch.ends // batch.items.shape[1]
        read = torch.zeros_like(genuine).index_add_(0, rows, left.to(genuine)) > 0
        return {"genuine": genuine, "read": read}

    def diagnostics(self) -> dict[str, float]:
        """The noise model's estimate of the training log's share of noise, and what share of it an epoch is expected to
        leave out.
        """
        if self.noise is None:
            return {}
        return {"noise.share": self.noise.share(), "noise.dropped": self._dropped}

    @property
    def _mask(self) -> AttentionMask | None:
        if not self.attention_power:
            return None

        def mask(context: GateContext) -> Tensor:
            assert context.batch.keep is not None
            return context.batch.keep[:, None, None, :] ** self.attention_power

        return mask

    def _genuine(self, batch: Batch) -> Tensor:
        """[rows, length]: the probability of each event by all of its window. What the model appends or masks is no
        event, and 1.
        """
        assert self.noise is not None
        known = batch.items != (self.base.appended or 0)
        return self.noise.keep(replace(batch, items=batch.items * known, segments=batch.segments * known))

    def _query_of(self, batch: Batch, kept: Tensor) -> Tensor:
        """[ends, dim]: the query at each end, of what is kept [rows, length] of its past. Several ends of one window
        share a pass, as they do in the backbone: each is read where the last event stands that it keeps.

        A window holds fewer events than are read: an end that is before all of them, or that keeps nothing, has a
        window of its own.
        """
        length = batch.items.shape[1]
        row = batch.ends // length
        windows, window = torch.unique(row * (length + 1) + batch.segments.flatten()[batch.ends], return_inverse=True)
        if len(windows) == len(batch.ends):
            return self.base.query(compacted(batch, kept, length=self.base.length), gate=self._mask)
        last = torch.zeros_like(windows).scatter_reduce_(0, window, batch.ends, "amax")
        left = (batch.visible.flatten(0, 1)[batch.ends] & kept[row]).sum(1)
        later = torch.zeros_like(windows).scatter_reduce_(0, window, left, "amax")[window] - left
        shared = (left > 0) & (later < self.base.length)
        together = compacted(replace(batch, ends=last), kept, length=self.base.length)
        places = together.ends[window] - later
        found = self.base.query(replace(together, ends=places[shared]), gate=self._mask)
        query = found.new_zeros(len(batch.ends), found.shape[1])
        query[shared] = found
        if bool((~shared).any()):
            alone = compacted(replace(batch, ends=batch.ends[~shared]), kept, length=self.base.length)
            query[~shared] = self.base.query(alone, gate=self._mask)
        return query

    def _judged(self, sequences: Sequences) -> Sequences:
        """The log without what no epoch sees, and with every event's probability, as the noise model has learned to
        tell it; computed once a log.
        """
        if self.noise is None:
            return sequences
        if self._cleaned is None or self._cleaned[0] is not sequences:
            verdict = self.noise.verdict(sequences)
            judged = replace(sequences, keep=verdict).only(verdict > 0 if self.sampled else verdict >= self.drop_below)
            if not bool((judged.train_lengths > 1).any()):
                advice = "" if self.sampled else f": drop fewer than those below {self.drop_below}"
                raise ValueError(f"the noise model leaves no user two interactions to train on{advice}")
            part = training_part(sequences)
            stay = verdict[part] if self.sampled else (verdict[part] >= self.drop_below).float()
            self._dropped = 1 - (1 - self.drop_events) * float(stay.mean())
            self._cleaned = (sequences, judged)
        return self._cleaned[1]

    def _drawn(self, judged: Sequences, draws: Draws) -> Sequences:
        """The log of one epoch. Events that may not be trained on stay, or go, without being missed."""
        if not self.sampled and not self.drop_events:
            return judged
        stay = torch.full((len(judged.items),), 1 - self.drop_events, device=judged.device)
        if self.sampled:
            assert judged.keep is not None
            stay = stay * judged.keep
        return judged.only(draws.fractions(len(stay)) < stay)

    def _with_corrupted_inputs(self, batch: Batch, draws: Draws) -> Batch:
        """Places that are masked, to be predicted, stay so."""
        shape = batch.items.shape
        inputs = (batch.segments > 0) & (batch.items != (self.base.appended or 0))
        chosen = (draws.fractions(*shape) < self.corrupt_inputs) & inputs
        others = 1 + draws.whole_numbers(draws.unseen.item_count, *shape)
        return replace(batch, items=torch.where(chosen, others, batch.items))
