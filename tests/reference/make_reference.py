"""Write the reference values of PyTorch, the only place where it is used:

    pip install '.[reference]'
    python -m tests.reference.make_reference

One file a cell. In it, for 1 to 3 layers in one direction and in two, sequences of equal and of unequal lengths, and
both precisions: outputs, last states, the mean squared error and the gradients of everything that went in. Weights
and inputs are numbers that single precision holds, so that both precisions begin with the same. All parameters, and
all their gradients, are one vector each, in the order of `names` in the file's header. The same PyTorch writes the
same files, byte for byte.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
CELLS = {"tanh": torch.nn.RNN, "relu": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
B, T, D, H, O = 3, 5, 2, 3, 2
LENGTHS = {"equal": [5, 5, 5], "unequal": [3, 5, 1]}
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def model_of(cell: str, layers: int, bidirectional: bool) -> torch.nn.ModuleDict:
    """A recurrent network and its output layer, with weights that saturate some gates and leave others open."""
    kind = {"nonlinearity": cell} if CELLS[cell] is torch.nn.RNN else {}
    rnn = CELLS[cell](D, H, layers, batch_first=True, bidirectional=bidirectional, **kind)
    model = torch.nn.ModuleDict({"rnn": rnn, "output": torch.nn.Linear(H * (2 if bidirectional else 1), O)})
    for p in model.parameters():
        torch.nn.init.uniform_(p, -0.8, 0.8)
    return model


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def computed(
    model: torch.nn.ModuleDict,
    cell: str,
    x: torch.Tensor,
    target: torch.Tensor,
    first: list[torch.Tensor],
    lengths: list[int],
) -> dict[str, torch.Tensor]:
    """Everything that is compared, of one model on one batch."""
    x = x.clone().requires_grad_()
    first = [state.clone().requires_grad_() for state in first]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    shown, last = model["rnn"](packed, tuple(first) if cell == "lstm" else first[0])
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(shown, batch_first=True, total_length=T)
    there = torch.arange(T) < torch.tensor(lengths)[:, None]  # (B, T)
    y = model["output"](hidden) * there[:, :, None]
    loss = ((y - target)[there] ** 2).mean()
    model.zero_grad()
    loss.backward()
    last = last if cell == "lstm" else (last,)
    made = {
        "y": y,
        "loss": loss.reshape(1),
        "d_x": x.grad,
        "d_parameters": flat([p.grad for p in model.parameters()]),
    }
    made |= {f"last_{name}": state for name, state in zip("hc", last, strict=False)}
    return made | {f"d_first_{name}": state.grad for name, state in zip("hc", first, strict=False)}


def main() -> None:
    for cell in CELLS:
        arrays: dict[str, torch.Tensor] = {}
        names: dict[str, dict[str, list[int]]] = {}
        for layers in (1, 2, 3):
            for bidirectional in (False, True):
                case = f"{layers} {'bidirectional' if bidirectional else 'forward'}"
                torch.manual_seed(layers + 10 * bidirectional)
                model = model_of(cell, layers, bidirectional)
                x, target = torch.randn(B, T, D), torch.randn(B, T, O)
                passes = layers * (2 if bidirectional else 1)
                first = [torch.randn(passes, B, H) for _ in range(2 if cell == "lstm" else 1)]
                names[case] = {name.removeprefix("rnn."): list(p.shape) for name, p in model.named_parameters()}
                arrays |= {
                    f"{case}/x": x,
                    f"{case}/target": target,
                    f"{case}/parameters": flat([*model.parameters()]),
                }
                arrays |= {f"{case}/first_{name}": state for name, state in zip("hc", first, strict=False)}
                for precision, dtype in PRECISIONS.items():
                    model.to(dtype)
                    given = x.to(dtype), target.to(dtype), [state.to(dtype) for state in first]
                    for kind, lengths in LENGTHS.items():
                        made = computed(model, cell, *given, lengths)
                        key = f"{case}/{precision}/{kind}"
                        arrays |= {f"{key}/{name}": value.detach().contiguous() for name, value in made.items()}
        told = {"made by": f"PyTorch {torch.__version__.split('+')[0]}", "names": names, "lengths": LENGTHS}
        save_file(arrays, FOLDER / f"{cell}.safetensors", {"reference": json.dumps(told)})


if __name__ == "__main__":
    main()
