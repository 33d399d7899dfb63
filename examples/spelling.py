"""Numbers put into words: encode, then decode (many to many of unequal lengths).

    python examples/spelling.py

One network reads the digits of a number and ends in a hidden state. Another begins in that state and writes words,
each the next input, until it writes the stop symbol: 4083 has four digits, "four thousand eighty three" four words,
4000 has two and 4777 six. They learn from some of the numbers below 10,000 and never see the others.

Prints how they write some of those others, and the share of them that is right to the last word.
"""

import numpy as np

from streamrnn import EncoderDecoder, Network
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm

NAMES = """
zero one two three four five six seven eight nine
ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety
hundred thousand
"""
WORDS = ["stop", *NAMES.split()]
SMALL, TENS = WORDS[1:21], WORDS[21:29]
STOP = 0  # also what is given before the first word
DIGITS = np.eye(10, dtype="float32")  # the input that stands for each digit, a row each
GIVEN = np.eye(len(WORDS), dtype="float32")  # and for each word

BELOW = 10_000
LEARNT = 4000
EPOCHS = 25
BATCH = 32


def in_words(number: int) -> list[str]:
    """A number below 10,000 as it is said."""
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if number >= unit:
            rest = in_words(number % unit) if number % unit else []
            return [SMALL[number // unit], name, *rest]
    if number < len(SMALL):
        return [SMALL[number]]
    return [TENS[number // 10 - 2], *([SMALL[number % 10]] if number % 10 else [])]


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of unequal lengths as one array (B, T), 0 behind their ends, and the lengths (B,)."""
    lengths = np.array([len(row) for row in rows])
    made = np.zeros((len(rows), lengths.max()), int)
    for whole, row in zip(made, rows, strict=True):
        whole[: len(row)] = row
    return made, lengths


def digits_of(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the encoder reads of the numbers (B,): x (B, T, 10) and lengths (B,)."""
    digits, lengths = padded([[int(digit) for digit in str(number)] for number in numbers])
    return DIGITS[digits], lengths


def learn(both: EncoderDecoder, numbers: np.ndarray) -> None:
    """Teach the networks the numbers (N,) in words, giving the decoder the right words so far (teacher forcing)."""
    random, networks = np.random.default_rng(0), (both.encoder, both.decoder)
    states = [adam_init(network.parameters) for network in networks]
    for epoch in range(EPOCHS):
        rate = 0.005 * (1 - epoch / EPOCHS)
        for chosen in np.array_split(random.permutation(numbers), len(numbers) // BATCH):
            x, lengths = digits_of(chosen)
            target, steps = padded([[*map(WORDS.index, in_words(n)), STOP] for n in chosen])
            given = GIVEN[np.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=STOP)]  # one step late
            _, *gradients = both.loss_and_gradients(x, given, target, "cross_entropy", lengths, steps)
            for i, network in enumerate(networks):
                clipped, _ = clip_by_global_norm(gradients[i], 1.0)
                network.parameters, states[i] = adam_update(network.parameters, clipped, states[i], rate)


def written(both: EncoderDecoder, numbers: np.ndarray) -> list[list[str]]:
    """The words that the networks write for the numbers (B,)."""
    x, lengths = digits_of(numbers)
    y, steps, _ = both.forward(x, GIVEN[[STOP] * len(numbers)], 10, lengths, stop=STOP)
    return [[WORDS[word] for word in row[: n - 1]] for row, n in zip(y.argmax(2), steps, strict=True)]


def main() -> None:
    order = np.random.default_rng(0).permutation(BELOW)
    new = order[LEARNT:]
    encoder = Network("gru", inputs=10, hidden=64, seed=1)
    decoder = Network("gru", inputs=len(WORDS), hidden=64, outputs=len(WORDS), seed=2)
    both = EncoderDecoder(encoder, decoder)
    learn(both, order[:LEARNT])
    answers = written(both, new)
    for number, words in zip(new[:6], answers, strict=False):
        print(f"{number:>6} {' '.join(words)}")
    right = [words == in_words(number) for number, words in zip(new, answers, strict=True)]
    print(f"{np.mean(right):.1%} of {len(new):,} numbers not learnt from are right to the last word")


if __name__ == "__main__":
    main()
