"""Real data for the demo: a year of hourly weather at New York's three airports (see README.md)."""

from importlib.resources import files

WEATHER = files(__name__) / "weather.csv.gz"
