"""Which array module the tests of the core and of the engine run on: `pytest --backend numpy | strict | cupy`."""

from types import ModuleType

import numpy as np
import pytest

BACKENDS = ("numpy", "strict", "cupy")


def chosen(config: pytest.Config) -> ModuleType:
    """NumPy, its strict double, or CuPy, where a device must be."""
    name = config.getoption("--backend")
    if name == "numpy":
        return np
    if name == "strict":
        from tests.strict_arrays import strict

        return strict
    from streamrnn.service.backend import cupy_or_error

    return cupy_or_error("pytest --backend cupy")
