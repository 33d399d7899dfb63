"""A short taste of the fuzzing; `make fuzz` does it for minutes."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_in_is_taken_or_refused_with_a_reason(name: str) -> None:
    target, inputs = TARGETS[name]
    settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))(given(inputs)(target))()
