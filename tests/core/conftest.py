"""`--backend`: every function of the core that a test calls is called with arrays of that module.

The tests build NumPy's arrays. They are sent as a function is called; what it gives, and what it has changed in
place, is fetched as it returns. What works on the host by design is called as it is.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from streamrnn.core.backend import to_host
from streamrnn.core.encoder_decoder import EncoderDecoder
from streamrnn.core.guard import Guard
from streamrnn.core.network import Network
from tests.backends import chosen

CORE = "streamrnn.core."
ON_THE_HOST = {"initial_cell", "initial_quantile", "inverse", "newborn", "priors", "windows"}
MODULES_ON_THE_HOST = {f"{CORE}season", f"{CORE}torch_names", f"{CORE}network_checks"}
CLASSES = (Network, EncoderDecoder, Guard)
FROM_THE_HOST = {"__init__", "from_torch", "to_torch", "state", "restored"}


class Journey:
    """What one call has sent to the device, and how it comes back."""

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self._sent: dict[int, tuple[np.ndarray, Any]] = {}  # by the array's id
        self._networks: list[tuple[Network, dict[str, np.ndarray]]] = []

    def sent(self, value: Any) -> Any:
        """The value with NumPy's arrays on the device; networks are changed in place until `home`."""
        if isinstance(value, np.ndarray):
            if id(value) not in self._sent:
                self._sent[id(value)] = value, self.xp.asarray(value)
            return self._sent[id(value)][1]
        if isinstance(value, Network):
            if isinstance(next(iter(value.parameters.values())), np.ndarray):
                self._networks.append((value, value.parameters))
                value.parameters = self.sent(value.parameters)
            return value
        if isinstance(value, EncoderDecoder):
            self.sent(value.encoder), self.sent(value.decoder)
            return value
        if isinstance(value, Guard):
            return value  # it remembers, and holds no array
        return rebuilt(value, self.sent) if not callable(value) else getattr(value, "__wrapped__", value)

    def home(self) -> None:
        """What was changed in place is changed on the host too."""
        for network, parameters in self._networks:
            network.parameters = parameters
        for here, there in self._sent.values():
            if here.flags.writeable:
                here[...] = to_host(there)

    def fetched(self, value: Any) -> Any:
        """A result with NumPy's arrays; those that were sent are themselves again."""
        for here, there in self._sent.values():
            if value is there:
                return here
        if type(value).__module__.partition(".")[0] == self.xp.__name__ and hasattr(value, "get"):
            return value.get()
        return rebuilt(value, self.fetched)

    @property
    def began(self) -> bool:
        return bool(self._sent)


def rebuilt(value: Any, part: Callable[[Any], Any]) -> Any:
    """The same container of other parts."""
    if isinstance(value, dict):
        return {key: part(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(part(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: part(getattr(value, field.name)) for field in fields(value)})
    return value


def there(function: Callable[..., Any], xp: ModuleType) -> Callable[..., Any]:
    """The function on the device. Called with the device's arrays, as functions of the core call it, it is itself."""

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        journey = Journey(xp)
        arguments, by_name = journey.sent(given), journey.sent(named)
        if not journey.began:
            return function(*given, **named)
        try:
            made = function(*arguments, **by_name)
        finally:
            journey.home()
        return steps(made, given, xp) if inspect.isgenerator(made) else journey.fetched(made)

    return call


def steps(made: Iterator[Any], given: tuple[Any, ...], xp: ModuleType) -> Iterator[Any]:
    """A generator's results; networks are on the device only while it works."""
    while True:
        journey = Journey(xp)
        journey.sent(given)
        try:
            value = next(made)
        except StopIteration:
            return
        finally:
            journey.home()
        yield journey.fetched(value)


class ModuleThere:
    """A module of the core whose functions are called on the device."""

    def __init__(self, module: ModuleType, xp: ModuleType) -> None:
        self._module, self._xp = module, xp

    def __getattr__(self, name: str) -> Any:
        return moved(getattr(self._module, name), self._xp)


def moved(value: Any, xp: ModuleType) -> Any:
    """What a test finds under a name of the core."""
    if isinstance(value, ModuleType):
        whole = value.__name__.startswith(CORE) and value.__name__ not in MODULES_ON_THE_HOST
        return ModuleThere(value, xp) if whole else value
    if isinstance(value, dict):
        return {key: moved(each, xp) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return rebuilt(value, lambda part: moved(part, xp))
    origin = getattr(value, "func", value)  # of a partial
    module = getattr(origin, "__module__", None) or ""
    if not callable(value) or isinstance(value, type) or not module.startswith(CORE) or module in MODULES_ON_THE_HOST:
        return value
    return value if origin.__name__ in ON_THE_HOST else there(value, xp)


@pytest.fixture(autouse=True)
def _on_the_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    xp = chosen(request.config)
    if xp is np:
        return
    for name, value in list(vars(request.module).items()):
        if not name.startswith("__"):
            monkeypatch.setattr(request.module, name, moved(value, xp))
    for kind in CLASSES:
        for name, method in list(vars(kind).items()):
            if inspect.isfunction(method) and name not in FROM_THE_HOST and not name.startswith("_"):
                monkeypatch.setattr(kind, name, there(method, xp))
