"""Forecasts for numbers that flow: a recurrent network that learns online, in a daemon for Apache Kafka."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from streamrnn.core.encoder_decoder import EncoderDecoder as EncoderDecoder
    from streamrnn.core.feedback import generate as generate
    from streamrnn.core.network import Network as Network
    from streamrnn.core.stepper import Stepper as Stepper
    from streamrnn.library import Forecast as Forecast
    from streamrnn.library import Forecaster as Forecaster
    from streamrnn.library_backtest import backtest as backtest
    from streamrnn.network_file import load_network as load_network
    from streamrnn.network_file import save_network as save_network

# the public names come when they are asked for: `import streamrnn` itself loads nothing
_PUBLIC = {
    "EncoderDecoder": "streamrnn.core.encoder_decoder",
    "Forecast": "streamrnn.library",
    "Forecaster": "streamrnn.library",
    "Network": "streamrnn.core.network",
    "backtest": "streamrnn.library_backtest",
    "Stepper": "streamrnn.core.stepper",
    "generate": "streamrnn.core.feedback",
    "load_network": "streamrnn.network_file",
    "save_network": "streamrnn.network_file",
}

__all__ = [
    "EncoderDecoder",
    "Forecast",
    "Forecaster",
    "Network",
    "Stepper",
    "__version__",
    "backtest",
    "generate",
    "load_network",
    "save_network",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
