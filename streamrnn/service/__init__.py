"""The daemon: configuration, the task's life, the worker, metrics and endpoints."""
