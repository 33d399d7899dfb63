"""As `cupy.py` in a folder that Python looks into first: the strict double under CuPy's name, with one device."""

import sys
from types import SimpleNamespace

from tests.strict_arrays import ndarray, strict

strict.__name__ = ndarray.__module__ = "cupy"
strict.__version__ = "13"
strict.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1))
sys.modules["cupy"] = strict
