"""`python -m streamrnn.engine.compiled`: make the machine code now, so that no later start waits for it."""

from streamrnn.engine.forecaster import warm_up
from streamrnn.engine.settings import ForecastSettings

for features in (1, 2):
    warm_up(ForecastSettings(features=features))
