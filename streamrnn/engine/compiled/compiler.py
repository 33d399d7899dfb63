"""`compiled`: a function of plain loops over arrays becomes machine code, where numba is installed."""

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from numba import config, njit

    AVAILABLE = not config.DISABLE_JIT  # type: ignore[attr-defined]  # numba's own switch: NUMBA_DISABLE_JIT=1
except (ImportError, PermissionError):  # the extra `compiled` is not installed, or code made at run time is forbidden
    AVAILABLE = False

F = TypeVar("F", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "error_model": "numpy",  # division by 0 gives inf
    "fastmath": {"reassoc", "contract", "nsz"},  # so that sums fill vector registers; NaN stays NaN
    "forceinline": True,
    "_nrt": False,  # references to arrays are not counted, so that nothing can be allocated: eight times as fast
}


def compiled(function: F) -> F:
    """Compile it at its first call, for the types of its arguments. Machine code is kept for the next process."""
    if not AVAILABLE:
        return function
    try:
        made: F = njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no folder to keep it in
        made = njit(**OPTIONS)(function)
    return made
