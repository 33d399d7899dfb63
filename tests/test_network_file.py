"""Networks on disk, and the names that the package shows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import streamrnn
from streamrnn.errors import StreamRNNError


@pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])
def test_a_saved_network_is_loaded_as_it_was(cell: str, tmp_path: Path) -> None:
    network = streamrnn.Network(cell, inputs=3, hidden=4, layers=2, bidirectional=True, outputs=2, seed=5)
    streamrnn.save_network(network, tmp_path / "network.safetensors")
    loaded = streamrnn.load_network(tmp_path / "network.safetensors")
    assert loaded.shape == network.shape
    assert list(loaded.to_torch()) == list(network.to_torch())
    for name, value in network.to_torch().items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
        assert loaded.parameters[name].dtype == value.dtype


def test_the_header_says_in_plain_words_what_the_network_is(tmp_path: Path) -> None:
    streamrnn.save_network(streamrnn.Network("lstm", inputs=3, hidden=4, outputs=2), tmp_path / "n")
    with safe_open(tmp_path / "n", framework="numpy") as file:
        header = file.metadata()
    assert header["format"] == "1"
    assert json.loads(header["network"]) == {
        "cell": "lstm", "inputs": 3, "hidden": 4, "layers": 1, "bidirectional": False, "outputs": 2,
    }  # fmt: skip


def test_weights_that_another_program_saved_are_loaded_where_the_cell_is_given(tmp_path: Path) -> None:
    network = streamrnn.Network("relu", inputs=3, hidden=4)
    save_file(network.to_torch(), tmp_path / "n")
    assert streamrnn.load_network(tmp_path / "n", cell="relu").shape == network.shape
    with pytest.raises(StreamRNNError, match=r"n: the header does not say what the weights are\. Give cell"):
        streamrnn.load_network(tmp_path / "n")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "2", "network": '{"cell": "gru"}'}, "has format '2', expected '1'"),
        ({"format": "1", "network": "nothing"}, "the header does not describe a network"),
        ({"format": "1", "network": '{"cell": "lstm"}'}, "weight_hh_l0 has shape"),
        ({"format": "1", "network": '{"cell": "x"}'}, "'x' is not a cell"),
    ],
)
def test_a_file_that_is_not_a_network_is_refused_by_its_name(
    header: dict[str, str], said: str, tmp_path: Path
) -> None:
    save_file(streamrnn.Network("gru").to_torch(), tmp_path / "odd", header)
    with pytest.raises(StreamRNNError, match=f"odd: .*{said}"):
        streamrnn.load_network(tmp_path / "odd")


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no tensors")
    for name in ("broken", "missing"):
        with pytest.raises(StreamRNNError, match=f"{name}: cannot be read"):
            streamrnn.load_network(tmp_path / name)


def test_the_package_loads_nothing_before_a_public_name_is_asked_for() -> None:
    program = "import sys, streamrnn; assert 'numpy' not in sys.modules; streamrnn.Network(); print(dir(streamrnn))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for name in streamrnn.__all__:
        assert name in said
        assert getattr(streamrnn, name) is not None


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        streamrnn.nothing  # noqa: B018
