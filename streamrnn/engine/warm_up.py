"""Before the first record: have all machine code there that it would else wait for."""

from types import ModuleType

import numpy as np

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.engine.encoder import Encoder
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings


def warm_up(settings: ForecastSettings, xp: ModuleType = np) -> None:
    """Forecast two streams that nobody asked for, from bytes to bytes: what is compiled is made, or fetched."""
    message = b'{"values":[%b]}' % b",".join([b"0"] * settings.features)
    raw = RawColumns([0, 1], [0, 0], [b"a", b"b"], [message, message])
    records = Decoder(InputFormat(features=settings.features)).decode(raw).batch
    Encoder("", 0, settings.horizons).encode(records, Forecaster(settings, xp).forecast(records))
