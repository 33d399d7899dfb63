"""Each example, run as a reader runs it, shows what it says that it shows; `make test-examples`."""

import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shown(name: str, *arguments: str) -> str:
    """What the example prints."""
    answer = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def number(pattern: str, text: str) -> float:
    """The number where the pattern has its group."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return float(found[1])


def test_digits_are_read_row_by_row_as_well_as_at_once() -> None:
    text = shown("digits")
    assert number(r"^at once: ([\d.]+)%", text) > 95
    assert number(r"^by rows: ([\d.]+)%", text) > 95


def test_a_character_costs_fewer_bits_than_by_pairs_and_text_is_written() -> None:
    text = shown("text", "--characters", "200")
    assert number(r"([\d.]+) bits by the network", text) < 0.75 * number(r"([\d.]+) bits by pairs", text)
    written = text.partition(" characters, ")[0]
    assert len(written) > 200
    assert len(re.findall(r"\b(?:the|is|of|to|a|and)\b", written)) >= 5


def test_a_tune_goes_on_from_its_first_note_and_sounds() -> None:
    text = shown("tune", "--output", "played.wav")
    assert number(r"^(\d+) of 126 notes", text) >= 120
    with wave.open("played.wav") as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert 30 * rate < len(samples) < 60 * rate
    loudest = [int(np.abs(part.astype(int)).max()) for part in np.array_split(samples, 100)]  # of each half second
    assert min(loudest) > 500


def test_numbers_never_seen_are_put_into_words() -> None:
    assert number(r"^([\d.]+)% of 6,000 numbers", shown("spelling")) > 95


def test_gaps_are_filled_better_by_two_directions_than_by_one_or_by_a_straight_line() -> None:
    text = shown("gaps", "--output", "filled.png")
    both = number(r"^both directions +([\d.]+) °F", text)
    assert both < 0.8 * number(r"^forward only +([\d.]+) °F", text)
    assert both < 0.9 * number(r"^straight line +([\d.]+) °F", text)
    assert Path("filled.png").read_bytes().startswith(PNG)


def test_gradients_vanish_and_explode_and_each_remedy_does_what_it_is_said_to() -> None:
    text = shown("gradients", "--output", "flow.png")

    def told(name: str) -> float:
        """What is printed behind a name: how much of the gradient reaches the first step, or a loss."""
        return number(rf"^{name} +(\S+)$", text)

    assert told("tanh, normal x 0.7") < 1e-9 < 1e-4 < told("tanh, orthogonal")
    assert told("tanh, normal x 2") > 1e3
    assert told("ReLU, normal x 1") < 1e-9 < 1e-2 < told("ReLU, identity")
    assert told("ReLU, normal x 2") > 1e9
    assert told("gates, GRU, bias 4") > 1e-2
    assert told("gates, LSTM, bias 3") > 1e-2
    for cell in ("tanh", "ReLU"):
        assert told(f"{cell}, clipped at 1") < 0.1
        # learning that explodes is chaotic: it ends anywhere above, or overflows to NaN
        assert not told(f"{cell}, not clipped") < 5 * told(f"{cell}, clipped at 1")
    assert Path("flow.png").read_bytes().startswith(PNG)
