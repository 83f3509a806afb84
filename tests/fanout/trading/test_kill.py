"""The kill switch: once pulled it stays pulled, over restarts, until a person resets it."""

import msgspec
import pytest

from fanout.trading.errors import TransitionError
from fanout.trading.kill import TRANSITIONS, KillCause, KillEvent, KillRecord, KillState, KillSwitch


def test_it_latches_when_nothing_is_open_and_not_before() -> None:
    kill = KillSwitch()
    report = kill.pull(KillCause.LIMIT, "drawdown", 5, (3, 4))
    assert report is not None
    assert (report.state, report.cause, report.open_orders) == ("cancelling", "limit", (3, 4))
    assert kill.prove((4,), 6) is None
    proof = kill.prove((), 7)
    assert proof is not None
    assert (proof.state, proof.why, proof.open_orders) == ("latched", "drawdown", ())
    assert kill.prove((), 8) is None


def test_the_first_reason_is_kept() -> None:
    kill = KillSwitch()
    kill.pull(KillCause.FILE, "first", 1, ())
    assert kill.pull(KillCause.SIGNAL, "second", 2, ()) is None
    assert kill.why == "first"


def test_it_cannot_be_reset_while_orders_are_open() -> None:
    kill = KillSwitch()
    kill.pull(KillCause.COMMAND, "", 1, (1,))
    with pytest.raises(TransitionError, match="the kill switch is cancelling, so reset cannot"):
        kill.reset("Ada", 2)


def test_an_armed_switch_cannot_be_reset() -> None:
    with pytest.raises(TransitionError, match="armed"):
        KillSwitch().reset("Ada", 2)


@pytest.mark.parametrize("is_proven", [False, True])
def test_it_stays_pulled_over_a_restart(*, is_proven: bool) -> None:
    kill = KillSwitch()
    kill.pull(KillCause.FEED, "the feed is DOWN", 1, (1,))
    if is_proven:
        kill.prove((), 2)
    saved = msgspec.json.encode(kill.export())
    again = KillSwitch(msgspec.json.decode(saved, type=KillRecord))
    assert not again.is_armed
    assert again.export() == kill.export()


def test_a_person_arms_it_again_and_is_named() -> None:
    kill = KillSwitch()
    kill.pull(KillCause.FEED, "", 1, ())
    kill.prove((), 2)
    assert kill.reset("Ada", 3).why == "reset by Ada"
    assert kill.is_armed
    assert kill.pull(KillCause.FEED, "again", 4, ()) is not None


def test_the_only_way_to_armed_is_a_reset() -> None:
    ways = {key for key, state in TRANSITIONS.items() if state is KillState.ARMED}
    assert ways == {(KillState.LATCHED, KillEvent.RESET)}
