"""A tune, continued from its first note and written as sound: one to many.

    python examples/tune.py [--output tune.wav]

The tune is the Minuet in G from Anna Magdalena Bach's notebook (Christian Petzold, about 1725). The network learns
which note follows; then it gets the first one, and each note that it names is its next input. Bars 1 to 6 come again
as bars 9 to 14 and go on differently: which time it is stands nowhere but in the network's hidden state.

Prints how many of the notes came as they were written, and writes what came as a WAV file.
"""

import argparse
import wave
from pathlib import Path

import numpy as np

from streamrnn import Network, generate
from streamrnn.core.feedback import likeliest_symbol
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm

# a bar between strokes; a note is its name, its octave, and its length in beats where that is not 1
TUNE = """
D5 G4/.5 A4/.5 B4/.5 C5/.5 | D5 G4 G4 | E5 C5/.5 D5/.5 E5/.5 F#5/.5 | G5 G4 G4 |
C5 D5/.5 C5/.5 B4/.5 A4/.5 | B4 C5/.5 B4/.5 A4/.5 G4/.5 | F#4 G4/.5 A4/.5 B4/.5 G4/.5 | A4/3 |
D5 G4/.5 A4/.5 B4/.5 C5/.5 | D5 G4 G4 | E5 C5/.5 D5/.5 E5/.5 F#5/.5 | G5 G4 G4 |
C5 D5/.5 C5/.5 B4/.5 A4/.5 | B4 C5/.5 B4/.5 A4/.5 G4/.5 | A4 B4/.5 A4/.5 G4/.5 F#4/.5 | G4/3 |
B5 G5/.5 A5/.5 B5/.5 G5/.5 | A5 D5/.5 E5/.5 F#5/.5 D5/.5 | G5 E5/.5 F#5/.5 G5/.5 D5/.5 | C#5 B4/.5 C#5/.5 A4 |
A4/.5 B4/.5 C#5/.5 D5/.5 E5/.5 F#5/.5 | G5 F#5 E5 | F#5 A4 C#5 | D5/3 |
D5 G4/.5 F#4/.5 G4 | E5 G4/.5 F#4/.5 G4 | D5 C5 B4 | A4/.5 G4/.5 F#4/.5 G4/.5 A4 |
D4/.5 E4/.5 F#4/.5 G4/.5 A4/.5 B4/.5 | C5 B4 A4 | B4/.5 D5/.5 G4 F#4 | G4/3
"""
SEMITONES = {"C": -9, "C#": -8, "D": -7, "E": -5, "F#": -3, "G": -2, "A": 0, "B": 2}  # from A, in the same octave

UPDATES = 300
SAMPLES = 22_050  # a second
BEAT = 0.45  # seconds
OVERTONES = (1.0, 0.5, 0.25, 0.12)  # how loud a string's multiples of its frequency are


def learn(network: Network, x: np.ndarray, target: np.ndarray) -> None:
    """Teach the network the symbols target (1, T) that follow the inputs x (1, T, D)."""
    state = adam_init(network.parameters)
    for _ in range(UPDATES):
        _, gradients, _ = network.loss_and_gradients(x, target, "cross_entropy")
        gradients, _ = clip_by_global_norm(gradients, 1.0)
        network.parameters, state = adam_update(network.parameters, gradients, state, 0.01)


def sound(note: str) -> np.ndarray:
    """A plucked string's samples, each in -1..1."""
    name, _, beats = note.partition("/")
    frequency = 440 * 2 ** (SEMITONES[name[:-1]] / 12 + int(name[-1]) - 4)
    seconds = np.arange(round(float(beats or 1) * BEAT * SAMPLES)) / SAMPLES
    tone = sum(loud * np.sin(2 * np.pi * k * frequency * seconds) for k, loud in enumerate(OVERTONES, 1))
    edges = np.minimum(1, 100 * np.minimum(seconds, seconds[::-1]))  # 10 ms, so that it does not click
    return tone / sum(OVERTONES) * np.exp(-2 * seconds) * edges


def save(path: Path, samples: np.ndarray) -> None:
    """Write the samples (N,) from -1 to 1 as a WAV file of 16 bits and one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLES)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn a minuet, then play it from its first note.")
    parser.add_argument("--output", type=Path, default=Path("tune.wav"), help="the WAV file to write")
    path = parser.parse_args().output
    names, tune = np.unique(TUNE.replace("|", " ").split(), return_inverse=True)
    eye = np.eye(len(names), dtype="float32")
    network = Network("gru", inputs=len(names), hidden=64, outputs=len(names))
    learn(network, eye[tune[None, :-1]], tune[None, 1:])
    y, _, _ = generate(network, eye[tune[:1]], len(tune) - 1, feedback=likeliest_symbol)
    played = np.concatenate([tune[:1], y[0].argmax(1)])
    save(path, np.concatenate([sound(note) for note in names[played]]))
    print(f"{(played == tune).sum()} of {len(tune)} notes as written, from the first alone; {path}")


if __name__ == "__main__":
    main()
