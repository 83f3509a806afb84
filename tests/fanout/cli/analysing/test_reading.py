"""What a fit takes for a hole in the records of its symbol."""

import pytest

from fanout.cli.analysing.reading import is_hole
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.protocol import End, EndReason, FeedState, Loss, LossReason, Position, Status
from tests.protocol.golden import BTC, QUOTES


def status(state: FeedState) -> Status:
    return Status(seq=1, instrument=BTC, state=state, since_ns=1, why="")


@pytest.mark.parametrize(
    "record",
    [
        Loss(first_seq=1, last_seq=2, reason=LossReason.SLOW),
        Restarted(before=Position(epoch_ns=1, seq=5), epoch_ns=2),
        Disconnected(why="gone", pause_s=1.0),
        End(reason=EndReason.SHUTDOWN, last_seq=1, retry_ms=None, why=""),
        status(FeedState.STALE),
        status(FeedState.DOWN),
    ],
)
def test_records_may_be_missing(record: Received) -> None:
    assert is_hole(record)


@pytest.mark.parametrize("record", [QUOTES.quotes[0], status(FeedState.LIVE)])
def test_nothing_is_missing(record: Received) -> None:
    assert not is_hole(record)
