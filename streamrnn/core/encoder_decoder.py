"""Many to many of unequal lengths: one network reads the input, another writes the output from its state.

    (Cho et al. 2014; Sutskever, Vinyals and Le 2014)

The decoder begins in the encoder's last state, so both have the same cell, hidden units, layers and directions.
"""

from dataclasses import dataclass

from streamrnn.core.backend import Array, Parameters
from streamrnn.core.feedback import Feedback, generate
from streamrnn.core.losses import Loss
from streamrnn.core.network import Lengths, Network, State
from streamrnn.errors import StreamRNNError


@dataclass(slots=True)
class EncoderDecoder:
    """Two networks that learn as one. Raises StreamRNNError where the state of one does not fit the other."""

    encoder: Network
    decoder: Network

    def __post_init__(self) -> None:
        mine, theirs = self.encoder.shape, self.decoder.shape
        for name in ("cell", "hidden", "layers", "bidirectional"):
            one, other = getattr(mine, name), getattr(theirs, name)
            if one != other:
                found = f"{name} is {one!r} in the encoder, {other!r} in the decoder"
                raise StreamRNNError(
                    f"EncoderDecoder: {found}. Make them equal: the state goes from one to the other"
                )

    def forward(
        self,
        x: Array,
        start: Array,
        steps: int,
        lengths: Lengths | None = None,
        feedback: Feedback | None = None,
        stop: int | None = None,
    ) -> tuple[Array, Array, State]:
        """Read x (B, T, D), then write from the first input start (B, D'): as `generate`, which see."""
        _, state = self.encoder.forward(x, lengths=lengths)
        return generate(self.decoder, start, steps, state, feedback, stop)

    def loss_and_gradients(
        self,
        x: Array,
        given: Array,
        target: Array,
        loss: str | Loss = "squared",
        lengths: Lengths | None = None,
        given_lengths: Lengths | None = None,
    ) -> tuple[float, Parameters, Parameters]:
        """Mean loss of the decoder's outputs, and the gradients of both networks, the encoder's first.

        x (B, T, D); given (B, U, D') are the decoder's inputs, as a rule the target one step late (teacher forcing,
        Williams and Zipser 1989); target (B, U, O), or (B, U) classes. lengths: of x, given_lengths: of given.
        """
        read = self.encoder.run(x, lengths=lengths)
        written = self.decoder.run(given, read.state, given_lengths)
        value, d_y = self.decoder.judge(written, target, loss)
        of_decoder = self.decoder.back(written, d_y)
        of_encoder = self.encoder.back(read, d_state=of_decoder.state)
        return value, of_encoder.parameters, of_decoder.parameters
