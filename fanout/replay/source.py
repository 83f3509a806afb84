"""What the monitor sees of a replay, in the place of sources and feeds."""

from typing import Final, NoReturn

from fanout.channel.channel import Channel
from fanout.protocol.constants import FeedState
from fanout.stats.pieces import Pieces
from fanout.stats.snapshots import FeedStats

_STATS: Final = FeedStats(state=FeedState.LIVE.name)


class NoDelays:
    """The delays of no instruments."""

    def delay(self, index: int) -> NoReturn:
        raise LookupError(f"a replay has no delay of instrument {index}")


class ReplayFeed:
    """A feed that takes nothing from an exchange."""

    view = NoDelays()

    def turn(self) -> None:
        """There are no rates."""

    def states(self) -> dict[str, str]:
        """None: a replay is ready, whatever the symbols were when the journal was written."""
        return {}

    def pieces(self) -> Pieces[FeedStats]:
        yield from ()
        return _STATS


class ReplayVenue:
    """The exchange by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


class ReplaySource:
    """One channel of a replay, with the face of a source."""

    why = ""

    def __init__(self, channel: Channel) -> None:
        self.name = channel.name
        self.channel = channel
        self.venue = ReplayVenue(channel.header.venue)
        self.feed = ReplayFeed()

    @property
    def has_ended(self) -> bool:
        return self.channel.log.closed
