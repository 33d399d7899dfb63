"""Handwritten digits, seen at once and read row by row: one to one and many to one.

    python examples/digits.py

The same images of 8 x 8 pixels go to two networks. The first sees each as one step of 64 numbers. The second reads
it from top to bottom as eight steps of 8 numbers, and answers after the last: what it knows of the rows above is in
its hidden state alone. Prints the share of images that each names rightly, of those that it has not learnt from.
"""

import numpy as np
from sklearn.datasets import load_digits

from streamrnn import Network
from streamrnn.core.optimisers import adam_init, adam_update

HELD_OUT = 450  # of 1,797 images
EPOCHS = 40
BATCH = 32
RATE = 0.003


def learn(network: Network, x: np.ndarray, target: np.ndarray) -> None:
    """Teach the network the classes target (N,) of the sequences x (N, T, D)."""
    random, state = np.random.default_rng(0), adam_init(network.parameters)
    for _ in range(EPOCHS):
        for chosen in np.array_split(random.permutation(len(x)), len(x) // BATCH):
            _, gradients, _ = network.loss_and_gradients(x[chosen], target[chosen], "cross_entropy", steps="last")
            network.parameters, state = adam_update(network.parameters, gradients, state, RATE)


def accuracy(network: Network, x: np.ndarray, target: np.ndarray) -> float:
    """The share of the sequences x (N, T, D) whose largest output is that of their class."""
    y, _ = network.forward(x, steps="last")  # (N, 10)
    return float((y.argmax(1) == target).mean())


def main() -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, target = digits.images[order] / 16, digits.target[order]  # (N, 8, 8) from 0 to 1, (N,)
    for name, x in (("at once", images.reshape(-1, 1, 64)), ("by rows", images)):
        network = Network("gru", inputs=x.shape[2], hidden=64, outputs=10)
        learn(network, x[HELD_OUT:], target[HELD_OUT:])
        share = accuracy(network, x[:HELD_OUT], target[:HELD_OUT])
        print(f"{name}: {share:.1%} of {HELD_OUT} new images named rightly")


if __name__ == "__main__":
    main()
