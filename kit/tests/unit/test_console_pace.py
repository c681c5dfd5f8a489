"""An open loop asks by the clock, whatever the server does."""

import pytest

from paceline.console.pace import AtOnce, Steady


def test_each_request_has_its_moment_and_keeps_it_when_nobody_could_send_it() -> None:
    pace = Steady(10, 100.0)
    assert pace.take(99.9) is None
    assert pace.take(100.0) == 100.0
    assert pace.take(100.05) is None
    assert pace.wait(100.05) == pytest.approx(0.05)
    assert pace.take(101.0) == pytest.approx(100.1)
    assert pace.take(101.0) == pytest.approx(100.2)
    assert pace.wait(101.0) == 0.0


def test_what_was_never_sent_is_known() -> None:
    pace = Steady(10, 0.0)
    pace.take(0.0)
    assert pace.behind(1.01) == 9
    assert pace.behind(0.0) == 0


def test_in_a_closed_loop_a_request_is_always_due() -> None:
    pace = AtOnce()
    assert (pace.take(5.0), pace.wait(5.0), pace.behind(5.0)) == (5.0, 0.0, 0)
