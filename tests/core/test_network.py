"""What a network promises: architectures, pieces and wholes, masks, seeds, and clear words where it is misused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import Array
from streamrnn.core.cells import CELLS
from streamrnn.core.encoder_decoder import EncoderDecoder
from streamrnn.core.feedback import generate, likeliest_symbol
from streamrnn.core.network import Network, State
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm
from streamrnn.errors import StreamRNNError

SEEDS = st.integers(0, 2**32 - 1)


def sequences(B: int = 3, T: int = 6, D: int = 2, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(B, T, D))


def network(cell: str = "gru", **shape: Any) -> Network:
    usual: dict[str, Any] = {"inputs": 2, "hidden": 3, "layers": 2, "outputs": 2, "dtype": "float64"}
    return Network(cell, **usual | shape)


def flat(state: State) -> Array:
    return np.concatenate([np.concatenate(one, 1) if isinstance(one, tuple) else one for one in state], 1)


@pytest.mark.parametrize("cell", CELLS)
@given(seed=SEEDS, cuts=st.sets(st.integers(1, 8)))
@settings(max_examples=10, deadline=None)
def test_a_sequence_in_pieces_gives_what_the_whole_gives(cell: str, seed: int, cuts: set[int]) -> None:
    x, net = sequences(T=9, seed=seed), network(cell, layers=3)
    whole, last = net.forward(x)
    pieces, state = [], None
    for piece in np.split(x, sorted(cuts), axis=1):
        y, state = net.forward(piece, state)
        pieces.append(y)
    assert state is not None
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(flat(state), flat(last), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@given(seed=SEEDS, lengths=st.lists(st.integers(1, 6), min_size=3, max_size=3))
@settings(max_examples=10, deadline=None)
def test_each_sequence_of_unequal_lengths_gets_what_it_gets_alone(
    cell: str, bidirectional: bool, seed: int, lengths: list[int]
) -> None:
    x, net = sequences(seed=seed), network(cell, bidirectional=bidirectional)
    first = net.forward(sequences(seed=1))[1]
    padded = x.copy()
    for b, length in enumerate(lengths):
        padded[b, length:] = np.nan  # whatever is there
    together, last = net.forward(padded, first, lengths)
    for b, length in enumerate(lengths):
        own: Any = [tuple(a[b : b + 1] for a in s) if isinstance(s, tuple) else s[b : b + 1] for s in first]
        alone, own_last = net.forward(x[b : b + 1, :length], own)
        np.testing.assert_allclose(together[b, :length], alone[0], rtol=1e-12, atol=1e-14)
        assert not together[b, length:].any()
        np.testing.assert_allclose(flat(last)[b], flat(own_last)[0], rtol=1e-12, atol=1e-14)


def test_what_fills_up_a_short_sequence_changes_neither_loss_nor_gradient() -> None:
    net, x, target, lengths = network(), sequences(), sequences(seed=1), np.array([6, 2, 4])
    loss, grads, _ = net.loss_and_gradients(x, target, lengths=lengths)
    for b, length in enumerate(lengths):
        x[b, length:], target[b, length:] = np.nan, np.inf
    other, other_grads, _ = net.loss_and_gradients(x, target, lengths=lengths)
    assert other == loss
    for name, g in grads.items():
        np.testing.assert_array_equal(other_grads[name], g)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_many_to_one_is_the_output_of_the_last_states(bidirectional: bool) -> None:
    net, x, lengths = network(bidirectional=bidirectional), sequences(), np.array([6, 2, 4])
    y, state = net.forward(x, lengths=lengths, steps="last")
    n = 2 if bidirectional else 1
    hidden = np.concatenate(state[-n:], axis=1)
    expected = hidden @ net.parameters["output.weight"].T + net.parameters["output.bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    if not bidirectional:
        every, _ = net.forward(x, lengths=lengths)
        np.testing.assert_allclose(y, every[np.arange(3), lengths - 1], rtol=1e-12)


def test_the_second_direction_is_the_first_one_s_way_over_the_reversed_sequence() -> None:
    net = network(layers=1, bidirectional=True, outputs=None)
    forward = Network.from_torch({k: v for k, v in net.parameters.items() if "reverse" not in k}, "gru")
    swapped = {k.removesuffix("_reverse"): v for k, v in net.parameters.items() if "reverse" in k}
    backward, x = Network.from_torch(swapped, "gru"), sequences()
    y, state = net.forward(x)
    np.testing.assert_allclose(y[:, :, :3], forward.forward(x)[0], rtol=1e-12)
    there, last = backward.forward(x[:, ::-1])
    np.testing.assert_allclose(y[:, :, 3:], there[:, ::-1], rtol=1e-12)
    np.testing.assert_allclose(state[1], last[0], rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_without_an_output_layer_the_hidden_states_are_shown(cell: str) -> None:
    net, x = network(cell, outputs=None, bidirectional=True), sequences()
    y, state = net.forward(x)
    assert y.shape == (3, 6, 6)
    last = state[2][0] if isinstance(state[2], tuple) else state[2]
    np.testing.assert_array_equal(y[:, -1, :3], last)
    assert "output.weight" not in net.to_torch()


def test_one_to_many_feeds_the_output_back_as_the_next_input() -> None:
    net, x = network("lstm"), sequences()[:, 0]
    y, lengths, last = generate(net, x, 4)
    state, given = None, x
    for t in range(4):
        made, state = net.forward(given[:, None], state)
        given = made[:, 0]
        np.testing.assert_allclose(y[:, t], given, rtol=1e-12)
    assert lengths.tolist() == [4, 4, 4]
    assert state is not None
    np.testing.assert_allclose(flat(last), flat(state), rtol=1e-12)


def test_a_sequence_ends_with_its_stop_symbol_and_the_others_go_on() -> None:
    net = network(inputs=4, outputs=4, hidden=8, seed=17)
    net.parameters = {name: 6 * value for name, value in net.parameters.items()}  # so that symbols change
    x = np.eye(4)
    free, _, _ = generate(net, x, 12, feedback=likeliest_symbol)
    symbols = free.argmax(2)
    stop = symbols[0, 3]
    assert stop != 0  # an ended row of zeros must not look like it
    y, lengths, last = generate(net, x, 12, stop=stop)
    for b in range(4):
        at = np.flatnonzero(symbols[b] == stop)
        expected = at[0] + 1 if at.size else 12
        assert lengths[b] == expected
        np.testing.assert_allclose(y[b, :expected], free[b, :expected], rtol=1e-12)
        assert not y[b, expected:].any()
        _, _, alone = generate(net, x[b : b + 1], int(expected), feedback=likeliest_symbol)
        np.testing.assert_allclose(flat(last)[b], flat(alone)[0], rtol=1e-12)
    assert len(set(lengths.tolist())) > 1


def test_an_encoder_and_a_decoder_learn_to_say_a_sequence_backwards() -> None:
    """Output as long as the input plus a stop, of lengths of their own: what one reads the other writes."""
    random, symbols = np.random.default_rng(0), 4  # 0 is start and stop
    both = EncoderDecoder(Network("gru", symbols, 32, seed=1), Network("gru", symbols, 32, outputs=symbols, seed=2))
    eye, states = np.eye(symbols, dtype="float32"), [adam_init(n.parameters) for n in (both.encoder, both.decoder)]

    def batch(B: int) -> tuple[Array, Array, Array, Array]:
        lengths = random.integers(1, 4, B)
        said = random.integers(1, symbols, (B, 3))
        back = np.zeros((B, 4), int)
        for b, n in enumerate(lengths):
            back[b, :n] = said[b, :n][::-1]
        return said, lengths, back, lengths + 1

    for _ in range(400):
        said, lengths, back, target_lengths = batch(32)
        given_ = eye[np.concatenate([np.zeros((32, 1), int), back[:, :-1]], axis=1)]
        _, *grads = both.loss_and_gradients(eye[said], given_, back, "cross_entropy", lengths, target_lengths)
        for i, net in enumerate((both.encoder, both.decoder)):
            net.parameters, states[i] = adam_update(
                net.parameters, clip_by_global_norm(grads[i], 1.0)[0], states[i], 0.01
            )
    said, lengths, back, target_lengths = batch(100)
    y, made, _ = both.forward(eye[said], np.repeat(eye[:1], 100, axis=0), 6, lengths, stop=0)
    right = [
        n == m and (one.argmax(1)[:n] == other[:n]).all()
        for one, other, n, m in zip(y, back, target_lengths, made, strict=True)
    ]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize("cell", CELLS)
@given(seed=SEEDS, T=st.integers(1, 8), k1=st.integers(1, 8))
@settings(max_examples=10, deadline=None)
def test_truncated_no_shorter_than_the_sequence_is_bptt_in_full(cell: str, seed: int, T: int, k1: int) -> None:
    """Windows of k1 labels that go back to the start add up to the whole; with k1 = T there is one."""
    net, x, target = network(cell), sequences(T=T, seed=seed), sequences(T=T, seed=seed + 1)
    k1 = min(k1, T)
    loss, grads, last = net.loss_and_gradients(x, target)
    total, sums, state = 0.0, {name: 0 * g for name, g in grads.items()}, None
    for number, (value, made, after) in enumerate(net.truncated(x, target, k1, T)):
        share = min(k1, T - number * k1) / T
        total, state = total + share * value, after
        sums = {name: sums[name] + share * g for name, g in made.items()}
    assert total == pytest.approx(loss, rel=1e-12)
    assert state is not None
    np.testing.assert_allclose(flat(state), flat(last), rtol=1e-12, atol=1e-14)
    for name, g in grads.items():
        np.testing.assert_allclose(sums[name], g, rtol=1e-10, atol=1e-13)


def test_each_window_is_run_with_the_weights_of_its_time_from_the_state_that_earlier_ones_led_to() -> None:
    net, x, target = network(), sequences(T=6), sequences(T=6, seed=1)
    earlier = net.forward(x[:, :1])[1]  # where the window of steps 1 to 4 starts
    made = net.truncated(x, target, 2, 3)
    _, grads, _ = next(made)
    net.parameters = {name: value - 0.5 * grads[name] for name, value in net.parameters.items()}
    loss, _, state = next(made)
    y, after = net.forward(x[:, 1:4], earlier)
    assert loss == pytest.approx(((y[:, 1:] - target[:, 2:4]) ** 2).mean(), rel=1e-12)
    np.testing.assert_allclose(flat(state), flat(after), rtol=1e-12)


def test_a_gradient_fades_on_its_way_back_through_tanh_and_explodes_where_weights_are_large() -> None:
    def flow(size: float) -> Array:
        net = network("relu" if size > 1 else "tanh", layers=1, hidden=16)
        net.parameters["weight_hh_l0"] *= size
        return net.gradient_flow(sequences(T=30), sequences(T=30, seed=1)[:, -1], steps="last")

    assert flow(0.5).shape == (1, 30)
    assert flow(0.5)[0, 0] < 1e-6 * flow(0.5)[0, -1]
    assert flow(4.0)[0, 0] > 1e6 * flow(4.0)[0, -1]


def test_the_gradient_flow_has_a_row_for_every_pass() -> None:
    flow = network("lstm", bidirectional=True).gradient_flow(sequences(), sequences(seed=1))
    assert flow.shape == (4, 6)
    assert (flow > 0).all()


def test_weights_depend_on_the_seed_alone() -> None:
    one, same, other = network(seed=1), network(seed=1), network(seed=2)
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, same.parameters[name])
    assert (one.parameters["weight_hh_l1"] != other.parameters["weight_hh_l1"]).any()


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_begin_orthogonal_and_an_lstm_begins_with_its_memory_open(cell: str) -> None:
    p, G = network(cell).parameters, CELLS[cell].gates
    for gate in range(G):
        U = p["weight_hh_l1"][3 * gate : 3 * gate + 3]
        np.testing.assert_allclose(U @ U.T, np.eye(3), atol=1e-12)
    if cell == "lstm":
        np.testing.assert_array_equal(p["bias_ih_l0"] + p["bias_hh_l0"], np.repeat([0.0, 1.0, 0.0, 0.0], 3))


def test_weights_keep_their_precision_and_inputs_are_taken_to_it() -> None:
    net = network(dtype="float32")
    y, state = net.forward(sequences())
    _, grads, _ = net.loss_and_gradients(sequences(), sequences(seed=1))
    assert {a.dtype.name for a in (y, *flat(state)[None], *grads.values())} == {"float32"}


def test_a_call_changes_nothing_that_it_was_given() -> None:
    net, x, target = network("lstm", bidirectional=True), sequences(), sequences(seed=1)
    state = net.forward(x)[1]
    before, kept = net.to_torch(), (x.copy(), target.copy(), flat(state).copy())
    first = net.loss_and_gradients(x, target, state=state, lengths=[6, 1, 3])
    again = net.loss_and_gradients(x, target, state=state, lengths=[6, 1, 3])
    assert first[0] == again[0]
    for array, was in zip((x, target, flat(state)), kept, strict=True):
        np.testing.assert_array_equal(array, was)
    for name, value in before.items():
        np.testing.assert_array_equal(net.parameters[name], value)


def state_dict(**changed: Any) -> dict[str, Any]:
    made = network("gru").to_torch() | changed
    return {name: value for name, value in made.items() if value is not None}


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda: Network("gur"), "'gur' is not a cell. Choose one of tanh, relu, gru, lstm. Did you mean 'gru'"),
        (lambda: Network(hidden=0), "hidden is 0, expected a whole number of at least 1"),
        (lambda: Network(dtype="int32"), "dtype is 'int32'"),
        (lambda: network().forward(sequences(D=3)), r"x has shape \(3, 6, 3\), expected \(B, T, 2\)"),
        (lambda: network().forward(sequences()[0]), r"x has shape \(6, 2\)"),
        (lambda: network().forward(sequences(), lengths=[1, 2]), "expected 3 whole numbers"),
        (lambda: network().forward(sequences(), lengths=[1, 2, 7]), "lengths go from 1 to 7, x has 6 steps"),
        (lambda: network().forward(sequences(), state=[np.zeros((3, 3))]), "state has 1 entries, expected a list"),
        (lambda: network("lstm").forward(sequences(), state=[np.zeros((3, 3))] * 2), "1 arrays, expected .* pairs"),
        (lambda: network().forward(sequences(), state=[np.zeros((3, 4))] * 2), r"state\[0\] has shape \(3, 4\)"),
        (lambda: network().loss_and_gradients(sequences(), sequences(T=5)), r"target has shape \(3, 5, 2\)"),
        (lambda: network().loss_and_gradients(sequences(), sequences(), "huger"), "Did you mean 'huber'"),
        (
            lambda: network().loss_and_gradients(sequences(), np.full((3, 6), 2), "cross_entropy"),
            "target holds classes 2 to 2, there are 2 outputs. Expected classes 0 to 1",
        ),
        (lambda: network(bidirectional=True).truncated(sequences(), sequences(), 1, 2), "reads in two directions"),
        (lambda: network().truncated(sequences(), sequences(), 4, 2), "k1 is 4, k2 is 2, expected 1 <= k1 <= k2"),
        (lambda: network().truncated(sequences(), sequences(T=7), 1, 2), r"target has shape \(3, 7, 2\)"),
        (
            lambda: network().loss_and_gradients(sequences(), sequences(), weight=np.ones(6)),
            r"weight has shape \(6,\), expected \(3, 6\)",
        ),
        (lambda: generate(network(outputs=3), sequences()[:, 0], 2), "has 3 outputs and 2 inputs"),
        (lambda: generate(network(), sequences()[:, 0], 0), "steps is 0"),
        (lambda: EncoderDecoder(network("gru"), network("lstm")), "'gru' in the encoder, 'lstm' in the decoder"),
        (lambda: Network.from_torch(state_dict(), "lstm"), r"\(9, 3\), 'lstm' expects \(12, 3\). Give cell='gru'"),
        (lambda: Network.from_torch(state_dict(weight_ih_l0=None), "gru"), "'weight_ih_l0' is missing"),
        (lambda: Network.from_torch(state_dict(bias_hh_l1=None), "gru"), "'bias_hh_l1' is missing beside the others"),
        (lambda: Network.from_torch(state_dict(weight_hr_l0=np.ones(3)), "gru"), "'weight_hr_l0' is not a name of"),
        (lambda: Network.from_torch(state_dict(weight_ih_l1=np.ones((9, 4))), "gru"), r"would be \(9, 3\)"),
        (lambda: Network.from_torch(state_dict(bias_ih_l1=np.ones(9, "f4")), "gru"), "float32.*Give all of one kind"),
        (lambda: Network.from_torch(state_dict(bias_ih_l1=[1.0]), "gru"), "bias_ih_l1 is a list, expected an array"),
        (lambda: Network.from_torch({**state_dict(), "output.bias": np.ones(5)}, "gru"), "output.bias has shape"),
    ],
)  # fmt: skip
def test_misuse_is_said_with_what_was_found_and_what_is_expected(misuse: Any, said: str) -> None:
    with pytest.raises(StreamRNNError, match=said):
        misuse()
