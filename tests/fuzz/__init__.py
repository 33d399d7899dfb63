"""Arbitrary bytes at every place where bytes come in from outside."""
