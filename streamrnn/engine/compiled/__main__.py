"""`python -m streamrnn.engine.compiled`: make the machine code now, so that no later start waits for it."""

from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_up import warm_up

for features in (1, 2):
    warm_up(ForecastSettings(features=features))
