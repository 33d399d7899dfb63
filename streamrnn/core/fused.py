"""The elementwise part of each cell as one kernel forward and one backward, for a device, where every launch costs.

The products of matrices stay as they are. What stands between them is a function of arrays of one shape (a bias is
broadcast) without an index, which CuPy's `fuse` makes one kernel of. The equations are those of `cells.py`, in whose
names they are quoted; states stay within the same limits.

Axes as in `cells.py`: B rows, H hidden units.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import CELLS, LIMITS, Cell, Tape

Kernels: TypeAlias = tuple[Callable[..., Any], Callable[..., Any]]  # forward, backward


@cache
def fused(name: str, xp: ModuleType) -> Cell:
    """The bounded cell of this name, on the arrays of a module that has `fuse`."""
    kernels, (forward, backward) = KERNELS[name](xp), STEPS[name]
    merge = xp.fuse(kernel_name=f"{name}_forward")(kernels[0]), xp.fuse(kernel_name=f"{name}_backward")(kernels[1])
    cell = CELLS[name]
    return Cell(
        name,
        cell.gates,
        cell.states,
        lambda p, xw, state: forward(merge[0], p, xw, state),
        lambda p, d_next, state, tape, grads: backward(merge[1], p, d_next, state, tape, grads),
    )


def _tanh_kernels(xp: ModuleType) -> Kernels:
    def forward(xw: Array, hu: Array) -> Array:
        return xp.tanh(xw + hu)

    def backward(dh_next: Array, h_next: Array) -> Array:
        return dh_next * (1.0 - h_next * h_next)

    return forward, backward


def _relu_kernels(xp: ModuleType) -> Kernels:
    limit = LIMITS["relu"]

    def forward(xw: Array, hu: Array) -> Array:
        return xp.minimum(xp.maximum(xw + hu, 0.0), limit)

    def backward(dh_next: Array, h_next: Array) -> Array:
        return dh_next * ((h_next > 0.0) & (h_next < limit))

    return forward, backward


def _gru_kernels(xp: ModuleType) -> Kernels:
    def forward(
        xr: Array, hr: Array, xz: Array, hz: Array, xn: Array, hn: Array, c: Array, h: Array
    ) -> tuple[Array, ...]:
        r = 0.5 + 0.5 * xp.tanh(0.5 * (xr + hr))
        z = 0.5 + 0.5 * xp.tanh(0.5 * (xz + hz))
        m = hn + c
        n = xp.tanh(xn + r * m)
        return n + z * (h - n), r, z, n, m

    def backward(dh_next: Array, h: Array, r: Array, z: Array, n: Array, m: Array) -> tuple[Array, ...]:
        dn = dh_next * (1.0 - z) * (1.0 - n * n)  # h' = (1 - z) n + z h, n = tanh(...)
        dr = dn * m * r * (1.0 - r)  # r = sigmoid(...)
        dz = dh_next * (h - n) * z * (1.0 - z)  # z = sigmoid(...)
        return dr, dz, dn, dn * r, dh_next * z

    return forward, backward


def _lstm_kernels(xp: ModuleType) -> Kernels:
    limit = LIMITS["lstm"]

    def forward(
        xi: Array, hi: Array, xf: Array, hf: Array, xg: Array, hg: Array, xo: Array, ho: Array, c: Array
    ) -> tuple[Array, ...]:
        i = 0.5 + 0.5 * xp.tanh(0.5 * (xi + hi))
        f = 0.5 + 0.5 * xp.tanh(0.5 * (xf + hf))
        g = xp.tanh(xg + hg)
        o = 0.5 + 0.5 * xp.tanh(0.5 * (xo + ho))
        c_next = xp.minimum(xp.maximum(f * c + i * g, -limit), limit)
        k = xp.tanh(c_next)
        return o * k, c_next, i, f, g, o, k

    def backward(
        dh: Array, dc_next: Array, c: Array, i: Array, f: Array, g: Array, o: Array, k: Array, c_next: Array
    ) -> tuple[Array, ...]:
        dc = (dc_next + dh * o * (1.0 - k * k)) * (xp.absolute(c_next) < limit)  # h' = o k, k = tanh(c')
        di, df = dc * g * i * (1.0 - i), dc * c * f * (1.0 - f)  # c' = f c + i g, i and f = sigmoid(...)
        dg, do = dc * i * (1.0 - g * g), dh * k * o * (1.0 - o)  # g = tanh(...), o = sigmoid(...)
        return di, df, dg, do, dc * f

    return forward, backward


def _one_gate_forward(kernel: Callable[..., Any], p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    h_next = kernel(xw[0], h @ p["U"][0])
    return h_next, (h_next,)


def _one_gate_backward(
    kernel: Callable[..., Any], p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters
) -> tuple[Array, Array]:
    da = kernel(dh_next, *tape)
    grads["U"][0] += h.T @ da
    return da[None], da @ p["U"][0].T


def _gru_forward(kernel: Callable[..., Any], p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    h_next, *tape = kernel(*_by_gate(xw, h @ p["U"]), p["c"], h)
    return h_next, tuple(tape)


def _gru_backward(
    kernel: Callable[..., Any], p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters
) -> tuple[Array, Array]:
    xp = array_module(h)
    dr, dz, dn, dm, kept = kernel(dh_next, h, *tape)
    dhu = xp.stack([dr, dz, dm])
    grads["U"] += h.T @ dhu
    grads["c"] += dm.sum(0)
    return xp.stack([dr, dz, dn]), (dhu @ p["U"].transpose(0, 2, 1)).sum(0) + kept


def _lstm_forward(kernel: Callable[..., Any], p: Parameters, xw: Array, state: Array) -> tuple[Array, Tape]:
    H = state.shape[1] // 2
    h, c = state[:, :H], state[:, H:]
    h_next, c_next, *tape = kernel(*_by_gate(xw, h @ p["U"]), c)
    return array_module(state).concatenate([h_next, c_next], axis=1), (*tape, c_next)


def _lstm_backward(
    kernel: Callable[..., Any], p: Parameters, d_next: Array, state: Array, tape: Tape, grads: Parameters
) -> tuple[Array, Array]:
    xp, H = array_module(state), state.shape[1] // 2
    *gates, dc = kernel(d_next[:, :H], d_next[:, H:], state[:, H:], *tape)
    dxw = xp.stack(gates)
    grads["U"] += state[:, :H].T @ dxw
    return dxw, xp.concatenate([(dxw @ p["U"].transpose(0, 2, 1)).sum(0), dc], axis=1)


def _by_gate(xw: Array, hu: Array) -> list[Array]:
    """The input's and the recurrent part of each gate, side by side: (G, B, H) twice -> 2 G of (B, H)."""
    return [part[gate] for gate in range(len(xw)) for part in (xw, hu)]


KERNELS: dict[str, Callable[[ModuleType], Kernels]] = {
    "tanh": _tanh_kernels,
    "relu": _relu_kernels,
    "gru": _gru_kernels,
    "lstm": _lstm_kernels,
}
STEPS: dict[str, Kernels] = {
    "tanh": (_one_gate_forward, _one_gate_backward),
    "relu": (_one_gate_forward, _one_gate_backward),
    "gru": (_gru_forward, _gru_backward),
    "lstm": (_lstm_forward, _lstm_backward),
}
