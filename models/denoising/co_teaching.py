"""Co-teaching (Han et al., *Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels*, NeurIPS
2018): two networks, each of which trains on what the other finds easy.
"""

from torch import Tensor, nn

from models.denoising.robust import Truncated
from models.engine.batches import Batch
from models.engine.sequences import Sequences
from models.networks.backbone import AroundNextItem, NextItem
from models.recommender import Draws, Loss


class CoTeaching(AroundNextItem):
    """Two recommenders of one architecture that begin with weights of their own.

    In each step each leaves out the share of a batch's positions whose loss the *other* finds largest; `selection` says
    how large a share, which rises over a ramp. Both see the same batch and negatives, each under dropout of its own. A
    network that chose for itself would come to believe its own mistakes; two make different ones.

    It ranks with `base`, the first; the paper evaluates each by itself. The peer goes where the model goes, at the
    price of its memory. With nothing left out and no gradient clipped, which is done to both as one, `base` trains as
    it would alone but for the dropout that it draws.
    """

    def __init__(self, base: NextItem, peer: NextItem, selection: Truncated) -> None:
        super().__init__(base)
        self.peer = peer
        self.selection = selection

    def prepare(self, sequences: Sequences) -> None:
        super().prepare(sequences)
        self.peer.prepare(sequences)

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (*self.base.row_tables(), *self.peer.row_tables())

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """The loss of `base`; that of the peer, which no weight of `base` has a part in, is a penalty beside it."""
        shown, negatives = self.base.drawn(batch, draws)
        own, others = (
            network.position_losses(shown, negatives, dropout=draws.dropout()) for network in (self.base, self.peer)
        )
        easy_for_own = self.selection.weights(own, step=draws.step)
        easy_for_others = self.selection.weights(others, step=draws.step)
        return Loss(own, easy_for_others, penalties={"peer": Loss(others, easy_for_own).data_term()})

    def query(self, batch: Batch) -> Tensor:
        return self.base.query(batch)
