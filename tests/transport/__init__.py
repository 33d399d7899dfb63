"""Tests of streamrnn.transport that need no broker; contract_case.py is shared with tests/kafka."""
