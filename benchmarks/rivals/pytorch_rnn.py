"""PyTorch's recurrent kernels for the CPU, those of a cell and those of a whole sequence; benchmarks.core asks.

Tuned: one thread, time-major sequences, no gradient of the inputs, inference mode for a step, gradients dropped and
not set to zero, the fused Adam.
"""

from collections.abc import Callable

import torch

from benchmarks.core import INPUTS, OUTPUTS, RATE, T
from benchmarks.stopwatch import Case, Works, answer

KINDS = {"gru": (torch.nn.GRU, torch.nn.GRUCell), "lstm": (torch.nn.LSTM, torch.nn.LSTMCell)}


def works_of(case: Case) -> Works:
    """A step and an update by the cell, and by the sequence."""
    cell, H, B = case
    of_sequence, of_cell = (kind(INPUTS, H) for kind in KINDS[cell])
    x, target = torch.randn(T, B, INPUTS), torch.randn(T, B, OUTPUTS)
    parts = [torch.randn(B, H) for _ in range(1 if cell == "gru" else 2)]
    one, whole = (parts[0], parts[0][None]) if cell == "gru" else (tuple(parts), tuple(part[None] for part in parts))

    def by_cell() -> torch.Tensor:
        state, shown = one, []
        for t in range(T):
            state = of_cell(x[t], state)
            shown.append(state if cell == "gru" else state[0])
        return torch.stack(shown)

    return {
        "step by cell": inferred(lambda: of_cell(x[0], one)),
        "step by sequence": inferred(lambda: of_sequence(x[:1], whole)),
        "update by cell": update(of_cell, by_cell, target),
        "update by sequence": update(of_sequence, lambda: of_sequence(x, whole)[0], target),
    }


def inferred(step: Callable[[], object]) -> Callable[[], object]:
    """The step without a graph for gradients."""
    return torch.inference_mode()(step)


def update(rnn: torch.nn.Module, hidden: Callable[[], torch.Tensor], target: torch.Tensor) -> Callable[[], None]:
    """Forward, loss, backward, clipping and Adam."""
    output = torch.nn.Linear(rnn.hidden_size, OUTPUTS)
    parameters = [*rnn.parameters(), *output.parameters()]
    adam = torch.optim.Adam(parameters, RATE, fused=True)

    def work() -> None:
        adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.mse_loss(output(hidden()), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()

    return work


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    answer(works_of)
