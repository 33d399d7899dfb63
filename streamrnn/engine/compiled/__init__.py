"""A step's arithmetic as plain loops, one series after the other, compiled where numba is installed."""
