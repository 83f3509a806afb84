"""A venue, a service and a reader in one, with a model of what the reader's books may show.

The venue's books have a history: each update id and the levels after it. The service publishes
numbered records, in order. The reader gets them, or loses some; snapshots come from the service's
present, which is ahead of the reader. After each record the model checks every book of the reader:

- a known book has the levels that the venue had at the book's update id;
- it is not behind the newest update that was read;
- it is unknown where something was lost, and no whole book has come since;
- it is unknown where the newest state of the symbol or of the feed is not LIVE;
- it is known where nothing of this holds, and no update is incomplete.
"""

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    FeedState,
    Instrument,
    Loss,
    LossReason,
    Position,
    Status,
    Trade,
    pack_levels,
)
from tests.protocol.golden import BTC, LIFE

Levels = tuple[dict[int, int], dict[int, int]]
Change = tuple[int, int, int]
"""Side, distance from the middle, and quantity."""

INSTRUMENTS = (BTC, LIFE)
MIDDLE = 1_000


class Market:
    """One book at the venue, as the service has it."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.update_id = 1
        self.levels: Levels = ({}, {})
        self.history: dict[int, Levels] = {}
        self.is_followed = False
        """Whether the service has missed nothing since its last whole book."""

    def change(self, changes: list[Change]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Make the next update; give the levels that it changes, from the best outwards."""
        changed: Levels = ({}, {})
        for side, distance, quantity in changes:
            price = MIDDLE + (1 + distance if side else -distance)
            changed[side][price] = self.levels[side][price] = quantity
            if not quantity:
                del self.levels[side][price]
        self.update_id += 1
        self.note()
        return sorted(changed[0].items(), reverse=True), sorted(changed[1].items())

    def note(self) -> None:
        self.history[self.update_id] = (dict(self.levels[0]), dict(self.levels[1]))

    def whole(self, *, is_cut: bool, is_snapshot: bool) -> list[BookUpdate]:
        bids, asks = sorted(self.levels[0].items(), reverse=True), sorted(self.levels[1].items())
        return list(parts(self, bids, asks, is_cut, is_snapshot, BookFlags.WHOLE))


def parts(
    market: Market,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    is_cut: bool,
    is_snapshot: bool = False,
    first: BookFlags = BookFlags.NONE,
) -> Iterator[BookUpdate]:
    """An update, in one part or in two. Numbered ones get their number when published."""

    def part(its_bids: Any, its_asks: Any, flags: BookFlags) -> BookUpdate:
        packed = pack_levels(its_bids), pack_levels(its_asks)
        seq = 0 if is_snapshot else 1
        return BookUpdate(market.instrument, market.update_id, 5, *packed, flags, seq)

    if is_cut:
        yield part(bids, [], first | BookFlags.MORE)
        yield part([], asks, BookFlags.NONE)
    else:
        yield part(bids, asks, first)


class View:
    """What the model knows of a reader's book."""

    def __init__(self) -> None:
        self.read_id = 0
        """The newest update that was read in full, or lost."""
        self.is_away = self.has_snapshot_since = False
        """Whether the connection was lost; and whether a snapshot has come since."""
        self.forget()

    def forget(self) -> None:
        self.is_live = True
        """What the newest Status that was read says; True if it may have been lost."""
        self.may_show = False
        """Whether a whole book has come, and nothing was lost since."""
        self.is_amid = self.is_filling = False
        """Whether the last numbered update is to be continued; and whether it is a whole book."""
        self.is_open = False
        """Whether a snapshot was begun and not completed, or came amid a whole book. What the
        reader does then is not modelled, as long as it shows nothing wrong."""

    @property
    def must_show(self) -> bool:
        is_amid = self.is_amid or self.is_open or self.is_away
        return self.may_show and self.is_live and not is_amid

    def note(self, update: BookUpdate) -> None:
        """A numbered update is read."""
        self.is_amid = update.has_more
        self.is_filling = self.is_filling or update.is_whole
        if update.is_whole:
            self.is_open = False
        if not update.has_more:
            self.read_id = update.update_id
            self.may_show, self.is_filling = self.may_show or self.is_filling, False

    def note_snapshot(self) -> None:
        """All of a snapshot has come."""
        self.may_show, self.has_snapshot_since, self.is_open = True, True, self.is_filling


class World:
    def __init__(self) -> None:
        self.books = Books()
        self.markets = {each.symbol: Market(each) for each in INSTRUMENTS}
        self.views = {each.symbol: View() for each in INSTRUMENTS}
        self.log: list[Any] = []
        self.is_down = self.is_read_down = False
        """Whether the feed is down, and whether the reader has read so."""
        self.place = 0
        """The index of the next record that the reader reads."""
        for symbol in self.markets:
            self.update(symbol, [(0, 0, 1), (0, 2, 2), (1, 0, 1)], is_cut=False)
            self.whole(symbol, is_cut=False)
        self.read(len(self.log))

    # The service.

    def publish(self, *records: Any) -> None:
        for each in records:
            self.log.append(replace(each, seq=len(self.log) + 1))

    def update(self, symbol: str, changes: list[Change], is_cut: bool) -> None:
        market = self.markets[symbol]
        levels = market.change(changes)
        if market.is_followed:
            self.publish(*parts(market, *levels, is_cut))

    def whole(self, symbol: str, is_cut: bool) -> None:
        market = self.markets[symbol]
        market.is_followed = True
        market.note()
        if self.is_down:
            self.is_down = False
            self.publish(self.status(FeedState.LIVE, None))
        self.publish(*market.whole(is_cut=is_cut, is_snapshot=False))
        self.publish(self.status(FeedState.LIVE, market.instrument))

    def lose_track(self, symbol: str | None) -> None:
        """The service misses an update, of one market or of all, and reports it."""
        for each in [symbol] if symbol else list(self.markets):
            self.markets[each].is_followed = False
        if symbol is None:
            self.is_down = True
            self.publish(self.status(FeedState.DOWN, None))
        else:
            self.publish(self.status(FeedState.STALE, self.markets[symbol].instrument))

    def fall_silent(self, symbol: str, is_over: bool) -> None:
        """A market is quiet for long, and then it is not. Nothing is missed."""
        market = self.markets[symbol]
        if market.is_followed:
            self.publish(self.status(FeedState.STALE, market.instrument))
            if is_over:
                self.publish(self.status(FeedState.LIVE, market.instrument))

    @staticmethod
    def status(state: FeedState, instrument: Instrument | None) -> Status:
        return Status(seq=1, instrument=instrument, state=state, since_ns=1)

    def trade(self) -> None:
        self.publish(Trade(BTC, 1, 2, 3, 4, False, seq=1))

    # The reader.

    def read(self, count: int) -> None:
        for record in self.log[self.place : self.place + count]:
            self.place += 1
            for view in self.views.values():
                view.is_away = view.has_snapshot_since = False
            if isinstance(record, BookUpdate):
                self.views[record.symbol].note(record)
            elif isinstance(record, Status) and record.instrument is None:
                self.is_read_down = record.state is not FeedState.LIVE
                for view in self.views.values():
                    view.is_live = view.is_live and not self.is_read_down
            elif isinstance(record, Status):
                self.views[record.instrument.symbol].is_live = record.state is FeedState.LIVE
            self.deliver(record)

    def lose(self, count: int) -> None:
        lost = self.skip(count)
        if lost:
            loss = Loss(first_seq=lost[0].seq, last_seq=lost[-1].seq, reason=LossReason.SLOW)
            self.deliver(loss)

    def join(self, count: int) -> None:
        """What a service does for a reader that lost something: whole books, and then the log."""
        self.lose(count)
        for symbol in self.markets:
            self.take_snapshot(symbol, is_cut=False, is_complete=True)

    def skip(self, count: int) -> list[Any]:
        """Leave records out, and note that every book may have missed something."""
        left_out = self.log[self.place : self.place + count]
        self.place += len(left_out)
        if left_out:
            self.forget()
        for each in left_out:
            if isinstance(each, BookUpdate):
                self.views[each.symbol].read_id = each.update_id
        return left_out

    def forget(self) -> None:
        self.is_read_down = False
        for view in self.views.values():
            view.forget()

    def take_snapshot(self, symbol: str, is_cut: bool, is_complete: bool) -> None:
        market, view = self.markets[symbol], self.views[symbol]
        if not market.is_followed:
            return
        records = market.whole(is_cut=is_cut, is_snapshot=True)
        for each in records[:-1]:
            view.is_open = True
            self.deliver(each)
        if is_complete:
            view.note_snapshot()
            self.deliver(records[-1])

    def disconnect(self) -> None:
        for view in self.views.values():
            view.is_away, view.has_snapshot_since = True, False
        self.deliver(Disconnected(why="cut", pause_s=0.1))

    def restart(self) -> None:
        self.skip(len(self.log))
        self.forget()
        for market in self.markets.values():
            market.is_followed = False
        self.deliver(Restarted(before=Position(epoch_ns=1, seq=1), epoch_ns=2))

    def deliver(self, record: Any) -> None:
        self.books.apply(record)
        for symbol, view in self.views.items():
            self.check(symbol, view)

    def check(self, symbol: str, view: View) -> None:
        book = self.books[symbol]
        bids, asks = book.levels()
        if not book.is_known:
            assert (bids, asks, book.best_bid, book.update_id) == ([], [], None, 0)
            assert self.is_read_down or not view.must_show, f"{symbol} is known"
            return
        assert view.may_show, f"{symbol} is not known"
        assert view.is_live, f"{symbol} is not live"
        assert not self.is_read_down, "the feed is down"
        assert view.has_snapshot_since or not view.is_away, "something may have been lost"
        assert (dict(bids), dict(asks)) == self.markets[symbol].history[book.update_id]
        assert book.update_id >= view.read_id


SYMBOLS = st.sampled_from([BTC.symbol, BTC.symbol, BTC.symbol, LIFE.symbol])
CHANGES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4
)


def _operation(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*arguments).map(lambda given: lambda world: getattr(world, name)(*given))


_BY_WEIGHT = [
    (6, _operation("update", SYMBOLS, CHANGES, st.booleans())),
    (4, _operation("read", st.integers(1, 4))),
    (2, _operation("take_snapshot", SYMBOLS, st.booleans(), st.booleans())),
    (1, _operation("join", st.integers(1, 4))),
    (1, _operation("whole", SYMBOLS, st.booleans())),
    (1, _operation("lose_track", st.none() | SYMBOLS)),
    (1, _operation("fall_silent", SYMBOLS, st.booleans())),
    (1, _operation("trade")),
    (1, _operation("lose", st.integers(1, 4))),
    (1, _operation("disconnect")),
    (1, _operation("restart")),
]
"""Updates, reads and snapshots are frequent, so that the reader is often behind a snapshot."""

OPERATIONS: st.SearchStrategy[Callable[[World], None]] = st.sampled_from(
    [each for weight, each in _BY_WEIGHT for _ in range(weight)]
).flatmap(lambda each: each)
