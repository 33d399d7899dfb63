"""Where records come from and forecasts go: one contract, several implementations."""
