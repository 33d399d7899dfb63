"""An array module over NumPy that is as strict as CuPy: what runs on it is fit for a GPU, without one to see it.

Its arrays live on a device that is only imagined.

* They mix with one another and with scalars. A plain ndarray beside one is a TypeError, in assignments too.
* Nothing is converted by itself. `.get()`, `float()`, `int()`, `bool()` and the like are counted as copies out;
  `asarray`, an index or a scalar that must first be sent to the device, as copies in.
* Where the shape of a result depends on values (masks, `flatnonzero`) the host waits for a number: a copy out.
* There are only the functions, methods and arguments that CuPy 13 documents, and reductions stay arrays.
* In a function under `fuse` there are only elementwise operations: no index, no shape.

Of types in mixed arithmetic nothing is proved: CuPy 13 still has NumPy 1's rules for NumPy's scalars.
"""

import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

BORROWED = (
    "bool_",
    "dtype",
    "float16",
    "float32",
    "float64",
    "inf",
    "int32",
    "int64",
    "nan",
    "newaxis",
    "pi",
    "uint8",
)
ELEMENTWISE = (
    *("abs", "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "cbrt", "ceil", "cos", "cosh", "divide"),
    *("equal", "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "greater", "greater_equal"),
    *("hypot", "invert", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p", "log2"),
    *("logical_and", "logical_not", "logical_or", "maximum", "minimum", "mod", "multiply", "negative", "not_equal"),
    *("power", "reciprocal", "remainder", "rint", "sign", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh"),
    *("true_divide", "trunc"),
)
OF_ARRAYS = (
    *("all", "any", "arange", "argmax", "argmin", "ascontiguousarray", "broadcast_to", "clip", "concatenate"),
    *("copy", "cumsum", "diag", "diagonal", "diff", "dot", "einsum", "empty", "empty_like", "expand_dims", "eye"),
    *("flip", "full", "full_like", "hstack", "linspace", "matmul", "max", "mean", "min", "moveaxis", "ones"),
    *("ones_like", "outer", "prod", "ravel", "repeat", "reshape", "roll", "sort", "squeeze", "stack", "std", "sum"),
    *("swapaxes", "take", "take_along_axis", "tensordot", "tile", "transpose", "tri", "tril", "triu", "var"),
    *("vstack", "zeros", "zeros_like"),
)
READING = ("bincount", "flatnonzero", "nonzero", "unique")  # the host must know a number before it can go on
WITH_AT = ("add", "maximum", "minimum")
METHODS = (
    *("all", "any", "argmax", "argmin", "astype", "clip", "copy", "cumsum", "diagonal", "dot", "flatten", "max"),
    *("mean", "min", "prod", "ravel", "repeat", "reshape", "round", "squeeze", "std", "sum", "swapaxes", "take"),
    *("transpose", "var", "view"),
)
ATTRIBUTES = ("dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides")
BINARY = ("add", "and", "floordiv", "matmul", "mod", "mul", "or", "pow", "sub", "truediv", "xor")
COMPARED = ("eq", "ge", "gt", "le", "lt", "ne")
UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": operator.abs,
    "invert": operator.invert,
    "neg": operator.neg,
    "pos": operator.pos,
}
SCALARS = (bool, int, float, np.generic)


@dataclass(slots=True)
class Traffic:
    """Copies between host and device."""

    into: int = 0
    out: int = 0


traffic = Traffic()  # of all arrays, since a test set it to nothing


class ndarray:  # noqa: N801 (as in CuPy)
    """An array that the host cannot look into."""

    __slots__ = ("_held",)
    __array_ufunc__ = None  # NumPy's arrays and scalars leave all arithmetic to this one
    __hash__ = None  # type: ignore[assignment]
    dtype: Any
    shape: Any

    def __init__(self, held: np.ndarray) -> None:
        self._held = held

    def get(self) -> np.ndarray:
        traffic.out += 1
        return self._held.copy()

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def fill(self, value: float) -> None:
        self._held.fill(value)

    @property
    def T(self) -> "ndarray":  # noqa: N802
        return type(self)(self._held.T)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator["ndarray"]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __repr__(self) -> str:
        return f"strict {self._held!r}"

    def __getitem__(self, index: Any) -> "ndarray":
        return _on_device(self._held[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _operand(value)
        if not isinstance(value, ndarray) and _is_advanced(index):
            traffic.into += 1
        self._held[_index(index)] = _inside(value)


class _Traced(ndarray):
    """What a function under `fuse` is handed: elementwise operations are all that it knows."""

    __slots__ = ()
    shape = property(lambda _: _not_fused("shape"))

    def __getitem__(self, index: Any) -> ndarray:
        return _not_fused(f"[{index!r}]")

    def __setitem__(self, index: Any, value: Any) -> None:
        if index is not Ellipsis:
            _not_fused(f"[{index!r}] =")
        super().__setitem__(index, value)

    def get(self) -> np.ndarray:
        return _not_fused("get")


def _not_fused(what: str) -> Any:
    raise NotImplementedError(f"{what} is not known to CuPy's fuse")


def fuse(*given: Callable[..., Any], **_: str) -> Any:
    """CuPy's decorator that makes one kernel of elementwise operations; here it only holds to what CuPy can fuse."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        def fused(*arrays: Any) -> Any:
            made = function(*(_Traced(each._held) if isinstance(each, ndarray) else each for each in arrays))
            if made is None:  # what it made it has written into its arguments
                return None
            results = made if isinstance(made, tuple) else (made,)
            whole = tuple(ndarray(each._held) for each in results)
            return whole if isinstance(made, tuple) else whole[0]

        return fused

    return decorated(*given) if given else decorated


def asarray(given: Any, dtype: Any = None) -> ndarray:
    """An array itself, or a copy of what the host has."""
    if isinstance(given, ndarray):
        return type(given)(given._held.astype(dtype or given.dtype, copy=False))
    traffic.into += 1
    return ndarray(np.array(_inside(given, host=True), dtype))


def array(given: Any, dtype: Any = None) -> ndarray:
    """A copy."""
    return asarray(given, dtype) if not isinstance(given, ndarray) else ndarray(np.array(given._held, dtype))


def argsort(given: ndarray, axis: int = -1, kind: str | None = None) -> ndarray:
    """CuPy's, which is always stable."""
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    return _on_device(np.argsort(_operand(given), axis, kind="stable"))


def where(condition: Any, *given: Any) -> Any:
    """With one argument the host waits for the number of places."""
    if not given:
        traffic.out += 1
    return _on_device(np.where(_operand(condition), *(_operand(each) for each in given)))


def copyto(target: ndarray, given: Any, where: Any = True) -> None:
    """Copies on the device, where a condition holds."""
    np.copyto(_operand(target), _operand(given), where=_operand(where))


class ufunc:  # noqa: N801 (as in CuPy)
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self._function, self._name = getattr(np, name), name

    def __call__(self, *given: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
        kind = _Traced if any(isinstance(each, _Traced) for each in given) else ndarray
        values = [_operand(each) for each in given]
        if out is None:
            return _on_device(self._function(*values, dtype=dtype, casting=casting), kind)
        if not isinstance(out, ndarray):
            raise TypeError(f"Unsupported type {type(out)} of out")
        self._function(*values, out=out._held, dtype=dtype, casting=casting)
        return out

    def at(self, target: ndarray, index: Any, values: Any) -> None:
        if self._name not in WITH_AT or target.dtype not in (np.int32, np.float16, np.float32, np.float64):
            raise TypeError(f"CuPy has no {self._name}.at for {target.dtype}")
        if not isinstance(values, ndarray):
            traffic.into += 1
        self._function.at(_operand(target), _index(index), _operand(values))


def _operand(value: Any) -> Any:
    """What stands in arithmetic: an array of this module, or a scalar."""
    if isinstance(value, ndarray):
        return value._held
    if isinstance(value, SCALARS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _inside(value: Any, host: bool = False) -> Any:
    """An argument as NumPy's functions take it; a plain ndarray only where it may come from the host."""
    if isinstance(value, ndarray):
        return value._held
    if isinstance(value, np.ndarray) and not host:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(_inside(each, host) for each in value)
    return value


def _on_device(value: Any, kind: Callable[[np.ndarray], ndarray] = ndarray) -> Any:
    """What NumPy's functions gave; a scalar becomes an array."""
    if isinstance(value, list | tuple):
        return type(value)(_on_device(each, kind) for each in value)
    return kind(np.asarray(value))


def _is_advanced(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, ndarray | np.ndarray | list) for part in parts)


def _index(index: Any) -> Any:
    """An index as NumPy takes it; what must be sent to the device is counted, and masks are waited for."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        traffic.into += isinstance(part, list | np.ndarray)
        traffic.out += getattr(part, "dtype", None) == np.dtype(bool)
    return tuple(map(_inside, parts, (True,) * len(parts))) if isinstance(index, tuple) else _inside(index, host=True)


def _function(name: str) -> Callable[..., Any]:
    """NumPy's function over arrays of this module."""
    made = getattr(np, name)

    def function(*given: Any, **named: Any) -> Any:
        traffic.out += name in READING
        out = named.get("out")
        done = made(*map(_inside, given), **{key: _inside(value) for key, value in named.items()})
        return _on_device(done) if out is None else out

    return function


def _method(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *given: Any, **named: Any) -> Any:
        if isinstance(self, _Traced):
            _not_fused(name)
        made = getattr(self._held, name)
        return _on_device(made(*map(_inside, given), **{key: _inside(value) for key, value in named.items()}))

    return method


def _binary(name: str, kind: str = "") -> Callable[..., Any]:
    made = getattr(operator, f"i{name}" if kind == "i" else f"{name}_" if name in ("and", "or") else name)

    def method(self: ndarray, other: Any) -> Any:
        value = _operand(other)
        if kind == "i":
            made(self._held, value)
            return self
        traced = _Traced if isinstance(self, _Traced) or isinstance(other, _Traced) else ndarray
        return _on_device(made(value, self._held) if kind == "r" else made(self._held, value), traced)

    return method


def _unary(made: Callable[..., Any]) -> Callable[[ndarray], Any]:
    return lambda self: _on_device(made(self._held), type(self))


def _attribute(name: str) -> property:
    return property(lambda self: getattr(self._held, name))


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))
for _name in ATTRIBUTES:
    setattr(ndarray, _name, _attribute(_name))
for _name in (*BINARY, *COMPARED):
    setattr(ndarray, f"__{_name}__", _binary(_name))
for _name in BINARY:
    setattr(ndarray, f"__r{_name}__", _binary(_name, "r"))
    setattr(ndarray, f"__i{_name}__", _binary(_name, "i"))
for _name, _made in UNARY.items():
    setattr(ndarray, f"__{_name}__", _unary(_made))

strict: Any = ModuleType("strict_arrays")  # what stands for CuPy: a module of its own, found by its arrays' type
strict.__dict__.update({each.__name__: each for each in (ndarray, fuse, asarray, array, argsort, copyto, where)})
strict.__dict__.update({name: ufunc(name) for name in ELEMENTWISE})
strict.__dict__.update({name: _function(name) for name in (*OF_ARRAYS, *READING)})
strict.__dict__.update({name: getattr(np, name) for name in BORROWED})
ndarray.__module__ = _Traced.__module__ = strict.__name__
sys.modules[strict.__name__] = strict
