"""A network on disk: safetensors under PyTorch's names, with its shape in a header that anyone can read."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from streamrnn.core.backend import to_host
from streamrnn.core.network import Network
from streamrnn.errors import StreamRNNError

FORMAT = "1"


def save_network(network: Network, path: str | Path) -> None:
    """Write the network's weights and shape."""
    arrays = {name: np.ascontiguousarray(to_host(value)) for name, value in network.parameters.items()}
    save_file(arrays, path, {"format": FORMAT, "network": json.dumps(network.shape.to_json())})


def load_network(path: str | Path, cell: str | None = None) -> Network:
    """Read a network that `save_network` wrote, or with `cell` any file of weights under PyTorch's names.

    Raises StreamRNNError where the file cannot be read, or holds something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if "network" in header:
            if header.get("format") != FORMAT:
                found = f"has format {header.get('format')!r}, expected {FORMAT!r}"
                raise StreamRNNError(f"{path}: {found}. Read it with the version that wrote it")
            cell = json.loads(header["network"])["cell"]
    except (OSError, SafetensorError) as error:
        raise StreamRNNError(f"{path}: cannot be read: {error}. It is written by save_network") from None
    except (KeyError, TypeError, ValueError):
        raise StreamRNNError(f"{path}: the header does not describe a network. Save it anew") from None
    if cell is None:
        raise StreamRNNError(f"{path}: the header does not say what the weights are. Give cell, such as cell='gru'")
    try:
        return Network.from_torch(arrays, cell)
    except StreamRNNError as error:
        raise StreamRNNError(f"{path}: {error}") from None
