"""Streams, their state and their forecasts: columns in, columns out, no effects."""
