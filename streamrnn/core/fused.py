"""The elementwise part of each cell as one kernel forward and one backward, for a device, where every launch costs.

The products of matrices stay as they are. What stands between them is a function of arrays of one shape (a bias is
broadcast) without an index, which CuPy's `fuse` makes one kernel of. The equations are those of `cells.py`, in whose
names they are quoted, in the same order of operations. A kernel reads its first arguments and fills its last.

Axes as in `cells.py`: B rows, H hidden units.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from types import ModuleType
from typing import TypeAlias

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import CELLS, LIMITS, Cell, Room, bounded, product_backward

Kernel: TypeAlias = Callable[..., None]


def cell_for(name: str, xp: ModuleType, *, endless: bool) -> Cell:
    """The cell of this name for a module's arrays; endless: with a state that stays bounded for ever."""
    if xp is np:
        return bounded(CELLS[name]) if endless else CELLS[name]
    return fused(name, xp, LIMITS.get(name, math.inf) if endless else math.inf)


@cache
def fused(name: str, xp: ModuleType, limit: float) -> Cell:
    """The cell of this name, its state within ±limit, on the arrays of a module that has `fuse`."""
    kernels, (forward, backward), cell = KERNELS[name](xp, limit), STEPS[name], CELLS[name]
    merged = [
        xp.fuse(kernel_name=f"{name}_{way}")(kernel)
        for kernel, way in zip(kernels, ("forward", "backward"), strict=True)
    ]
    return replace(cell, forward=partial(forward, merged[0]), backward=partial(backward, merged[1]))


def _tanh_kernels(xp: ModuleType, _: float) -> tuple[Kernel, Kernel]:
    def forward(xw: Array, hu: Array, h_next: Array) -> None:
        h_next[...] = xp.tanh(xw + hu)

    def backward(dh_next: Array, h_next: Array, da: Array) -> None:
        da[...] = dh_next * (1.0 - h_next * h_next)

    return forward, backward


def _relu_kernels(xp: ModuleType, limit: float) -> tuple[Kernel, Kernel]:
    def forward(xw: Array, hu: Array, h_next: Array) -> None:
        h = xp.maximum(xw + hu, 0.0)
        h_next[...] = xp.minimum(h, limit) if limit < math.inf else h

    def backward(dh_next: Array, h_next: Array, da: Array) -> None:
        passes = h_next > 0.0
        da[...] = dh_next * (passes & (h_next < limit) if limit < math.inf else passes)

    return forward, backward


def _gru_kernels(xp: ModuleType, _: float) -> tuple[Kernel, Kernel]:
    def forward(
        xr: Array,
        hr: Array,
        xz: Array,
        hz: Array,
        xn: Array,
        hn: Array,
        c: Array,
        h: Array,
        h_next: Array,
        r_kept: Array,
        z_kept: Array,
        m_kept: Array,
        n_kept: Array,
    ) -> None:
        r = 0.5 + 0.5 * xp.tanh(xr + hr)
        z = 0.5 + 0.5 * xp.tanh(xz + hz)
        m = hn + c
        n = xp.tanh(xn + r * m)
        h_next[...] = n + z * (h - n)
        r_kept[...], z_kept[...], m_kept[...], n_kept[...] = r, z, m, n

    def backward(
        dh_next: Array,
        h_next: Array,
        r: Array,
        z: Array,
        m: Array,
        n: Array,
        dxr: Array,
        dxz: Array,
        dxn: Array,
        dhr: Array,
        dhz: Array,
        dhn: Array,
        kept: Array,
    ) -> None:
        through = dh_next * (1.0 - z)  # h' = n + z (h - n)
        dz = through * (h_next - n)  # z = sigmoid(...)
        dn = through * (1.0 - n * n)  # n = tanh(...)
        dm = dn * r
        dr = dm * m * (1.0 - r)  # r = sigmoid(...)
        dxr[...], dxz[...], dxn[...] = dr, dz, dn
        dhr[...], dhz[...], dhn[...] = dr, dz, dm
        kept[...] = dh_next * z

    return forward, backward


def _lstm_kernels(xp: ModuleType, limit: float) -> tuple[Kernel, Kernel]:
    def forward(
        xi: Array,
        hi: Array,
        xf: Array,
        hf: Array,
        xo: Array,
        ho: Array,
        xg: Array,
        hg: Array,
        c: Array,
        h_next: Array,
        c_next: Array,
        i_kept: Array,
        f_kept: Array,
        o_kept: Array,
        g_kept: Array,
        k_kept: Array,
    ) -> None:
        i = 0.5 + 0.5 * xp.tanh(xi + hi)
        f = 0.5 + 0.5 * xp.tanh(xf + hf)
        o = 0.5 + 0.5 * xp.tanh(xo + ho)
        g = xp.tanh(xg + hg)
        memory = f * c + i * g
        if limit < math.inf:
            memory = xp.minimum(xp.maximum(memory, -limit), limit)
        k = xp.tanh(memory)
        h_next[...], c_next[...] = o * k, memory
        i_kept[...], f_kept[...], o_kept[...], g_kept[...], k_kept[...] = i, f, o, g, k

    def backward(
        dh_next: Array,
        c: Array,
        c_next: Array,
        i: Array,
        f: Array,
        o: Array,
        g: Array,
        k: Array,
        di: Array,
        df: Array,
        dg: Array,
        do: Array,
        dc: Array,
    ) -> None:
        dk = dh_next * o  # h' = o k
        do[...] = dk * k * (1.0 - o)  # o = sigmoid(...)
        through = dc + dk * (1.0 - k * k)  # k = tanh(c')
        if limit < math.inf:
            through = through * (xp.absolute(c_next) < limit)
        into_g, kept = through * i, through * f  # c' = f c + i g
        di[...] = into_g * g * (1.0 - i)  # i, f = sigmoid(...)
        df[...] = kept * c * (1.0 - f)
        dg[...] = into_g * (1.0 - g * g)  # g = tanh(...)
        dc[...] = kept

    return forward, backward


def _one_gate_forward(
    kernel: Kernel, q: Parameters, xw: Array, state: Array, state_next: Array, _tape: Array
) -> None:
    kernel(xw, array_module(state).matmul(state, q["U"]), state_next)


def _one_gate_backward(
    kernel: Kernel,
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    _tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
) -> None:
    kernel(dh_next, state_next[0], dxw[0])
    product_backward(dxw, state[0], ds[0], grads, room)


def _gru_forward(kernel: Kernel, q: Parameters, xw: Array, state: Array, state_next: Array, tape: Array) -> None:
    kernel(*_by_gate(xw, state[0] @ q["U"]), q["c"], state[0], state_next[0], *tape)


def _gru_backward(
    kernel: Kernel,
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
) -> None:
    dh, kept = ds[0], room.spare[0]
    kernel(dh_next, state_next[0], *tape, *dxw, *room.d_hu, kept)
    grads["c"] += room.ones @ room.d_hu[2]
    product_backward(room.d_hu, state[0], dh, grads, room)
    dh += kept


def _lstm_forward(kernel: Kernel, q: Parameters, xw: Array, state: Array, state_next: Array, tape: Array) -> None:
    kernel(*_by_gate(xw, state[0] @ q["U"]), state[1], *state_next, *tape)


def _lstm_backward(
    kernel: Kernel,
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
) -> None:
    dh, dc = ds
    kernel(dh_next, state[1], state_next[1], *tape, *dxw, dc)
    product_backward(dxw, state[0], dh, grads, room)


def _by_gate(xw: Array, hu: Array) -> list[Array]:
    """The input's and the recurrent part of each gate, side by side: (G, B, H) twice -> 2 G of (B, H)."""
    return [part[gate] for gate in range(len(xw)) for part in (xw, hu)]


KERNELS: dict[str, Callable[[ModuleType, float], tuple[Kernel, Kernel]]] = {
    "tanh": _tanh_kernels,
    "relu": _relu_kernels,
    "gru": _gru_kernels,
    "lstm": _lstm_kernels,
}
STEPS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "tanh": (_one_gate_forward, _one_gate_backward),
    "relu": (_one_gate_forward, _one_gate_backward),
    "gru": (_gru_forward, _gru_backward),
    "lstm": (_lstm_forward, _lstm_backward),
}
