"""Vanishing and exploding gradients, and what is done about them, in one picture.

    python examples/gradients.py [--output gradients.png]

A network reads 100 steps of noise with a symbol at the first, and says at the end which it was. What the loss says of
the hidden state after each step, dL/dh_t, goes back through the recurrent weights once a step: small weights make it
vanish, large ones make it explode. Drawn are its norms for

    tanh           with normal weights, small and large, and with orthogonal ones, which keep the norm
    ReLU           the same, and the identity (Le et al. 2015): orthogonal weights do not help where half the units
                   are cut off at zero
    GRU and LSTM   whose gates decide what stays, the more, the further a bias opens them (Jozefowicz et al. 2015);
                   of an LSTM's state h and c, h is drawn
    clipping       which changes no dL/dh_t but the step that is taken: the loss while learning, with it and without

Prints ||dL/dh_1|| / ||dL/dh_100|| for each line, which one wants near 1, and the losses at the end: 1.4 (ln 4) is
what a guess costs, so nothing was learnt.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from streamrnn import Network
from streamrnn.core.optimisers import clip_by_global_norm, momentum_init, momentum_update

STEPS = 100
SYMBOLS = 4
HIDDEN = 64
NORMAL = np.random.default_rng(1).standard_normal((HIDDEN, HIDDEN)) / HIDDEN**0.5  # spectral radius about 1

UPDATES = 200
LEARNT_STEPS = 30
RATE = 0.02


def recurrent(cell: str, weights: np.ndarray) -> Network:
    """A network of the cell with these recurrent weights (H, H)."""
    network = gated(cell)
    network.parameters["weight_hh_l0"] = weights
    return network


def gated(cell: str, bias: float = 0.0) -> Network:
    """A network of the cell as it is made, orthogonal, with a bias on the gate that keeps: a GRU's z, an LSTM's f."""
    network = Network(cell, SYMBOLS, HIDDEN, outputs=SYMBOLS, dtype="float64")
    network.parameters["bias_hh_l0"][HIDDEN : 2 * HIDDEN] += bias
    return network


def question(random: np.random.Generator, B: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise x (B, T, D) with a symbol at the first step, and the symbols (B,)."""
    x, symbol = 0.1 * random.standard_normal((B, T, SYMBOLS)), random.integers(0, SYMBOLS, B)
    x[np.arange(B), 0, symbol] += 1
    return x, symbol


def flow(network: Network) -> np.ndarray:
    """The norm of dL/dh_t after each step (T,)."""
    x, symbol = question(np.random.default_rng(0), 64, STEPS)
    return network.gradient_flow(x, symbol, "cross_entropy", steps="last")[0]


def losses(network: Network, limit: float) -> list[float]:
    """The losses of all updates, the gradients clipped at a norm; NaN should numbers overflow."""
    random, velocity, made = np.random.default_rng(0), momentum_init(network.parameters), list[float]()
    for update in range(UPDATES):
        x, symbol = question(random, 32, LEARNT_STEPS)
        loss, gradients, _ = network.loss_and_gradients(x, symbol, "cross_entropy", steps="last")
        made.append(loss)
        gradients, _ = clip_by_global_norm(gradients, limit)
        rate = RATE * (1 - update / UPDATES)
        network.parameters, velocity = momentum_update(network.parameters, gradients, velocity, rate)
    return made


def draw_flows(axes: Axes, title: str, networks: dict[str, Network]) -> None:
    """Draw a line for each network, and print how much of the gradient reaches the first step."""
    for name, network in networks.items():
        norms = flow(network)
        axes.semilogy(np.arange(1, STEPS + 1), norms, label=name)
        print(f"{title + ', ' + name:<26} {norms[0] / norms[-1]:.1e}")
    axes.set(title=title, xlabel="step t (the loss is at the last)", ylabel="norm of dL/dh$_t$", ylim=(1e-20, 1e18))
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def draw_losses(axes: Axes) -> None:
    """Draw how tanh and ReLU with large weights learn, clipped and not, and print where they end."""
    for cell, weights, colour in (("tanh", 2 * NORMAL, "C0"), ("ReLU", 1.05 * np.eye(HIDDEN), "C1")):
        for limit, way, style in ((np.inf, "not clipped", ":"), (1.0, "clipped at 1", "-")):
            made = losses(recurrent(cell.lower(), weights), limit)
            axes.plot(made, style, color=colour, label=f"{cell}, {way}")
            print(f"{cell + ', ' + way:<26} {np.mean(made[-10:]):.1e}")
    axes.set(
        title="clipping: tanh from normal x 2, ReLU from identity x 1.05",
        xlabel="update",
        ylabel="loss (cross-entropy)",
        ylim=(0, 3),
    )
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw how gradients vanish and explode.")
    parser.add_argument("--output", type=Path, default=Path("gradients.png"), help="the picture to write")
    path = parser.parse_args().output
    figure, ((first, second), (third, fourth)) = plt.subplots(2, 2, figsize=(11, 8), dpi=96, layout="constrained")
    print(f"||dL/dh_1|| / ||dL/dh_{STEPS}||")
    draw_flows(
        first,
        "tanh",
        {
            "normal x 0.7": recurrent("tanh", 0.7 * NORMAL),
            "normal x 2": recurrent("tanh", 2.0 * NORMAL),
            "orthogonal": gated("tanh"),
        },
    )
    draw_flows(
        second,
        "ReLU",
        {
            "normal x 1": recurrent("relu", NORMAL),
            "normal x 2": recurrent("relu", 2.0 * NORMAL),
            "orthogonal": gated("relu"),
            "identity": recurrent("relu", np.eye(HIDDEN)),
        },
    )
    draw_flows(
        third,
        "gates",
        {
            "GRU, bias 0": gated("gru"),
            "GRU, bias 4": gated("gru", 4.0),
            "LSTM, bias 1": gated("lstm"),
            "LSTM, bias 3": gated("lstm", 2.0),
        },
    )
    with np.errstate(over="ignore", invalid="ignore"):  # what explodes here is meant to
        print(f"loss after {UPDATES} updates")
        draw_losses(fourth)
    figure.savefig(path)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
