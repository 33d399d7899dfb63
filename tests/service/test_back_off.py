"""How long a failed task waits."""

from streamrnn.service.back_off import FIRST, FORGIVEN, LONGEST, BackOff


def test_it_doubles_up_to_a_limit() -> None:
    back_off = BackOff()
    waits = [back_off.after(1.0, fenced=True) for _ in range(10)]
    assert waits[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert waits[4:] == [LONGEST] * 6


def test_a_long_life_makes_up_for_earlier_failures() -> None:
    back_off = BackOff()
    for _ in range(5):
        back_off.after(1.0, fenced=True)
    assert back_off.after(FORGIVEN + 1, fenced=True) == FIRST


def test_while_the_broker_is_away_it_is_tried_often() -> None:
    back_off = BackOff()
    assert [back_off.after(1.0, fenced=False) for _ in range(5)] == [FIRST] * 5
