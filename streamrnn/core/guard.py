"""When a weight update is undone, and how carefully learning goes on after that.

An update is undone where loss, gradient or weights are not finite, where a weight has grown out of all proportion,
and where the loss is so far above what it usually is that the gradient cannot be of use. Each undone update halves
the rate; each one that stands gives some of it back.
"""

import math
from dataclasses import dataclass

from streamrnn.core.backend import Parameters, array_module

LARGEST_WEIGHT = (
    1e3  # inputs are at most 4 and states at most 1 (20 with relu), so that a few dozen already saturate every gate
)
LOSS_LIMIT = 50.0  # times the running mean of the loss
LOSS_WINDOW = 100  # updates
FIRST = 20  # updates before which no loss is unusual
CAREFUL, RECOVERY, LEAST = 0.5, 1.1, 2.0**-10


@dataclass(slots=True)
class Guard:
    """What it must remember between updates."""

    rate: float = 1.0  # factor of the learning rate
    usual_loss: float = 0.0
    judged: int = 0  # losses behind it

    def stands(self, loss: float, norm: float, parameters: Parameters) -> bool:
        """Judge an update by the batch's loss, its gradient's norm and the weights that it leads to."""
        kept = math.isfinite(loss) and math.isfinite(norm)
        if kept:
            limit = LOSS_LIMIT * self.usual_loss
            kept = self.judged < FIRST or loss <= limit
            # what is above counts as the limit, so that data whose losses have grown for good are learnt again
            heeded = loss if kept else limit
            self.judged = min(self.judged + 1, LOSS_WINDOW)
            self.usual_loss += (heeded - self.usual_loss) / self.judged
        kept = kept and _bounded(parameters)
        self.rate = min(1.0, self.rate * RECOVERY) if kept else max(LEAST, self.rate * CAREFUL)
        return kept

    def state(self) -> list[float]:
        """All it remembers."""
        return [self.rate, self.usual_loss, float(self.judged)]

    @classmethod
    def restored(cls, state: list[float]) -> "Guard":
        """From what `state` gave."""
        rate, usual_loss, judged = state
        return cls(rate, usual_loss, int(judged))


def _bounded(parameters: Parameters) -> bool:
    """No element is beyond the limit; NaN is not within it either."""
    within = [(abs(value) <= LARGEST_WEIGHT).all() for value in parameters.values()]
    return not within or bool(array_module(next(iter(parameters.values()))).stack(within).all())
