"""Streams that join, leave, lose, back-fill, disconnect and restart, and tell of all of it: nothing
differs. A trade that is left out of one of them, and not told, is found."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.clients.outcomes import Disconnected, Restarted
from fanout.compare import What
from fanout.protocol import FeedState, GapState, Position
from fanout.protocol.records import Trade
from tests.fanout.compare.streams import (
    BTC,
    LIFE,
    Found,
    S,
    Timed,
    gap,
    loss,
    status,
    trade,
)

COUNT = 150


def market(random: Random) -> list[Trade]:
    """Trades of two symbols, with consecutive ids of each."""
    ids = {BTC: 0, LIFE: 0}
    trades = []
    for _ in range(COUNT):
        instrument = random.choice((BTC, BTC, LIFE))
        ids[instrument] += 1
        trades.append(trade(ids[instrument], instrument))
    return trades


class Honest:
    """A stream of a market, from one trade to another."""

    def __init__(self, random: Random, trades: list[Trade]) -> None:
        self._random = random
        self._trades = trades
        self._at = random.randrange(40)
        self._end = COUNT - random.randrange(40)
        self._lag_ns = random.randrange(5 * S)
        self._now_ns = 0
        self._filling: list[Trade] = []
        self.records: list[Timed] = []
        self.delivered: set[tuple[str, int]] = set()

    def run(self) -> None:
        mishaps = (self._lose, self._miss, self._go_down, self._disconnect, self._restart)
        while self._at < self._end:
            if self._random.random() < 0.08 and self._at + 12 < self._end:
                self._random.choice(mishaps)()
            else:
                self._next()
            if self._filling and self._random.random() < 0.3:
                self._fill()
        self._fill()

    def _add(self, *records: object) -> None:
        self._now_ns = max(self._now_ns, (self._at + 1) * S // 2 + self._lag_ns)
        for each in records:
            self._now_ns += 1
            self.records.append((self._now_ns, each))  # type: ignore[arg-type]
            if isinstance(each, Trade):
                self.delivered.add((each.symbol, each.trade_id))

    def _next(self) -> None:
        self._add(self._trades[self._at])
        self._at += 1

    def _skip(self) -> list[Trade]:
        count = self._random.randrange(1, 8)
        skipped = self._trades[self._at : self._at + count]
        self._at += count
        return skipped

    def _lose(self) -> None:
        self._add(loss(len(self._skip())))

    def _miss(self) -> None:
        """The venue's stream skips some trades of one symbol."""
        skipped = self._skip()
        self._open([each for each in skipped if each.instrument is BTC])
        self._add(*(each for each in skipped if each.instrument is not BTC))

    def _go_down(self) -> None:
        """Only the trades of one symbol can be back-filled."""
        self._add(status(FeedState.DOWN))
        skipped = self._skip()
        self._add(status(FeedState.LIVE))
        self._open([each for each in skipped if each.instrument is BTC])

    def _open(self, missing: list[Trade]) -> None:
        if missing:
            self._fill()
            self._add(gap(missing[0].trade_id, missing[-1].trade_id))
            self._filling = missing

    def _fill(self) -> None:
        missing, self._filling = self._filling, []
        for each in missing:
            if self._random.random() < 0.7:
                self._add(replace(each, back_filled=True))
                self._add(gap(each.trade_id, each.trade_id, GapState.BACK_FILLED))
            else:
                self._add(gap(each.trade_id, each.trade_id, GapState.UNRECOVERABLE))

    def _disconnect(self) -> None:
        """Everything comes later."""
        self._add(Disconnected(why="cut", pause_s=1.0))
        self._now_ns += self._random.randrange(100 * S)

    def _restart(self) -> None:
        """Without a journal. Some trades come again."""
        self._add(Restarted(before=Position(epoch_ns=1, seq=1), epoch_ns=2))
        again = [each for _, each in self.records[-3:] if isinstance(each, Trade)]
        self._add(*(replace(each, back_filled=True) for each in again))
        self._skip()


@given(st.integers(0, 2**32))
def test_honest_streams_differ_in_nothing(seed: int) -> None:
    random = Random(seed)
    trades = market(random)
    a, b = Honest(random, trades), Honest(random, trades)
    a.run()
    b.run()
    found = Found()
    found.take(a.records, b.records)
    assert found.report.differences == 0, found.differences
    assert sum(each.matched for each in found.report.symbols) == len(a.delivered & b.delivered)


@given(st.integers(0, 2**32))
def test_a_trade_that_goes_missing_untold_is_found_among_mishaps(seed: int) -> None:
    random = Random(seed)
    trades = market(random)
    streams = Honest(random, trades), Honest(random, trades)
    for each in streams:
        each.run()
    a, b = streams
    certain = [
        place
        for place in range(10, len(a.records) - 10)
        if all(type(each) is Trade for _, each in a.records[place - 8 : place + 9])
    ]
    victims = [
        place
        for place in certain
        if _key(a.records[place]) in b.delivered and _is_amid(a.records, b.records, place)
    ]
    if not victims:
        return
    place = random.choice(victims)
    found = Found()
    found.take(a.records[:place] + a.records[place + 1 :], b.records)
    missing = a.records[place][1]
    assert isinstance(missing, Trade)
    assert found.report.differences == 1
    differences = [each for each in found.findings if not each.what.is_reported]
    assert [(each.what, each.symbol, each.number) for each in differences] == [
        (What.ONLY_B, missing.symbol, missing.trade_id)
    ]


def _key(timed: Timed) -> tuple[str, int]:
    record = timed[1]
    assert isinstance(record, Trade)
    return record.symbol, record.trade_id


def _is_amid(a: list[Timed], b: list[Timed], place: int) -> bool:
    """Whether both streams have trades of the symbol around it, told and late ones left out."""
    symbol, number = _key(a[place])

    def ids_in(records: list[Timed]) -> list[int]:
        trades = [each for _, each in records if isinstance(each, Trade)]
        return [x.trade_id for x in trades if x.symbol == symbol and not x.back_filled]

    near = ids_in(a[place - 8 : place]), ids_in(a[place + 1 : place + 9])
    of_b = ids_in(b)
    return all(near) and number in of_b and of_b[0] < number < max(of_b)
