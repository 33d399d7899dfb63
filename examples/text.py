"""Text, learnt character by character, then written: many to many and one to many.

    python examples/text.py [--characters 400] [--temperature 0.6]

The text is the documentation that Python's own `help()` shows, each paragraph once. The network is given each
character and says how probable every one is as the next. It learns from 50 characters at a time and carries its
hidden state on to the next 50, so that it may remember longer than it learns back (truncated back-propagation).

Prints what the network writes when its own guesses are drawn and fed back; then what a character of unread text costs
in bits, by the network and by a table of how often each character followed each in what it has learnt from.
"""

import argparse
from pydoc_data.topics import topics

import numpy as np

from streamrnn import Network, generate
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm

ROWS = 64  # places in the text that are read side by side
STEPS = 50
UPDATES = 800
HELD_OUT = 0.05
START = "The "


def documentation() -> str:
    """The documentation's prose, a line each paragraph; many stand under more than one topic."""
    paragraphs = [" ".join(one.split()) for one in "\n\n".join(topics.values()).split("\n\n")]
    prose = [one for one in paragraphs if one.endswith(".") and one.isascii() and "|" not in one and ">>>" not in one]
    return "\n".join(dict.fromkeys(prose))


def learn(network: Network, text: np.ndarray) -> None:
    """Teach the network to foretell the symbols of the text (N,)."""
    rows = text[: len(text) // ROWS * ROWS].reshape(ROWS, -1)
    eye, hidden, moments = one_hot(network), None, adam_init(network.parameters)
    for update in range(UPDATES):
        start = update * STEPS % (rows.shape[1] - STEPS)
        x, target = rows[:, start : start + STEPS], rows[:, start + 1 : start + STEPS + 1]
        _, gradients, hidden = network.loss_and_gradients(eye[x], target, "cross_entropy", hidden)
        gradients, _ = clip_by_global_norm(gradients, 1.0)
        rate = 0.01 * (1 - update / UPDATES)
        network.parameters, moments = adam_update(network.parameters, gradients, moments, rate)


def one_hot(network: Network) -> np.ndarray:
    """The input that stands for each symbol, a row each."""
    return np.eye(network.shape.inputs, dtype="float32")


def bits_by_network(network: Network, text: np.ndarray) -> float:
    """What a symbol of the text (N,) costs when the network foretells it."""
    loss, _, _ = network.loss_and_gradients(one_hot(network)[text[None, :-1]], text[None, 1:], "cross_entropy")
    return loss / np.log(2)


def bits_by_pairs(learnt: np.ndarray, text: np.ndarray, symbols: int) -> float:
    """What a symbol of the text (N,) costs when it is foretold by the pairs in the text `learnt`, each counted."""
    counts = np.ones((symbols, symbols))
    np.add.at(counts, (learnt[:-1], learnt[1:]), 1)
    probability = counts / counts.sum(1, keepdims=True)
    return float(-np.log2(probability[text[:-1], text[1:]]).mean())


def write(network: Network, start: np.ndarray, steps: int, temperature: float) -> list[int]:
    """Go on from the symbols `start`, each next one drawn; the lower the temperature, the likelier ones."""
    random, eye, written = np.random.default_rng(1), one_hot(network), list[int]()

    def drawn(y: np.ndarray) -> np.ndarray:
        z = (y[0] - y[0].max()) / temperature
        p = np.exp(z.astype("float64"))
        written.append(random.choice(len(p), p=p / p.sum()))
        return eye[written[-1:]]

    _, state = network.forward(eye[start[None, :-1]])
    generate(network, eye[start[-1:]], steps, state, drawn)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn Python's documentation by characters, then write some.")
    parser.add_argument("--characters", type=int, default=400, help="how many to write")
    parser.add_argument("--temperature", type=float, default=0.6, help="near 0: the likeliest; 1: as probable")
    options = parser.parse_args()
    alphabet, text = np.unique(list(documentation()), return_inverse=True)
    cut = round(len(text) * (1 - HELD_OUT))
    network = Network("gru", inputs=len(alphabet), hidden=128, outputs=len(alphabet))
    learn(network, text[:cut])
    start = np.searchsorted(alphabet, list(START))
    print(f"{START}{''.join(alphabet[write(network, start, options.characters, options.temperature)])}\n")
    print(f"{len(text):,} characters, {len(alphabet)} different ones; of the last {len(text) - cut:,} each costs")
    print(f"  {bits_by_pairs(text[:cut], text[cut:], len(alphabet)):.2f} bits by pairs")
    print(f"  {bits_by_network(network, text[cut:]):.2f} bits by the network")


if __name__ == "__main__":
    main()
