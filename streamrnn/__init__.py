"""Forecasts for numbers that flow: a recurrent network that learns online, in a daemon for Apache Kafka."""

__version__ = "0.1.0"
