"""Publishes what the connections of a feed bring if that is more than new trades.

Trades, quotes and changes of books are published in the order in which a read brought them, and the
states of instruments between them. Past trades, which a venue sends as the answer to a
subscription, are published as back-filled if they are missing. A feed that takes only trades, from
a venue that brings nothing else, publishes them in `Feed.take`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeGuard

import trio

from fanout.channel.channel import Channel, Published
from fanout.feed.book_sync import Taken as BookTaken
from fanout.feed.books import BOOK, WHOLE
from fanout.feed.connection import Connection
from fanout.feed.liveness import Change
from fanout.feed.parts import Parts
from fanout.feed.sequences import Taken
from fanout.feed.shard import Shard
from fanout.feed.stream_books import WithQuotes
from fanout.feed.view import FeedView
from fanout.net.websocket import Burst
from fanout.protocol.constants import BlockFlags, DataKinds, FeedState, TradeKind
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.records import Trade
from fanout.venues.values import (
    Alive,
    BookChecksum,
    DepthLost,
    NewestId,
    SpentId,
    VenueDepth,
    VenueItem,
    VenueOrders,
    VenueQuote,
    VenueTrade,
)

_NAMES: Final = {
    DataKinds.QUOTES: "quotes",
    BOOK: "changes of the order book",
    DataKinds.BOOK_BY_ORDER: "changes of the order book",
}


_FILLS: Final = (TradeKind.MARKET, TradeKind.AGGREGATE)
"""Trades that change the public book."""


class Intake:
    """One feed's way from the items of a read to the channel."""

    def __init__(
        self,
        parts: Parts,
        channel: Channel,
        view: FeedView,
        *,
        say: Callable[[list[Change]], None],
        monotonic_ns: Callable[[], int],
    ) -> None:
        """`say` publishes changes of state. `monotonic_ns` is the time base of
        `Burst.received_at_ns`."""
        self._parts = parts
        self._channel = channel
        self._quotes = parts.quotes
        self._books = parts.books
        self._view = view
        self._balance = parts.balance
        self._say = say
        self._monotonic_ns = monotonic_ns
        self._brings_signs = parts.connections.venue.brings_signs
        self._units = parts.units

    def restart(self, indexes: tuple[int, ...], kinds: DataKinds) -> None:
        """A first connection brings these kinds of data of instruments: what came before it leads
        nowhere."""
        if DataKinds.QUOTES in kinds:
            self._quotes.restart(indexes)
        if kinds & ~(DataKinds.TRADES | DataKinds.QUOTES):
            self._books.restart(indexes)
        now_s = trio.current_time()
        for index in indexes:
            self._balance.restart(index, now_s)

    def lost(self, shard: Shard, connection: Connection, why: str) -> None:
        """Messages of a connection are missing, and nothing says which."""
        if self._books.kind & shard.venue.data:
            self._books.lost(connection, shard.indexes, why)

    def take(
        self, items: list[VenueItem], shard: Shard, burst: Burst, connection: Connection
    ) -> Taken:
        """Publish the items of one read. The result has the trades and gaps among them."""
        return _Read(self, shard, burst, connection).take(items)


class _Read:
    """One read, and what is not published of it yet."""

    def __init__(self, intake: Intake, shard: Shard, burst: Burst, connection: Connection) -> None:
        self._of = intake
        self._shard = shard
        self._burst = burst
        self._connection = connection
        self._now_s = trio.current_time()
        self._ready: list[Published] = []
        self._taken = Taken([])
        self._alive: set[int] = set()
        self._filled: set[int] = set()
        self._quoted: set[int] = set()
        """Instruments that got fills, and quotes."""

    def take(self, items: list[VenueItem]) -> Taken:
        trades: list[VenueTrade | SpentId] = []
        for item in items:
            if _is_of_trades(item):
                trades.append(item)
                continue
            if trades:
                self._take_of_trades(trades)
                trades = []
            if type(item) is VenueDepth:
                self._take_depth(item)
            elif type(item) is VenueQuote:
                self._take_quote(item)
            elif type(item) is DepthLost:
                self._lose_book(item)
            elif type(item) is NewestId:
                self._take_newest(item)
            elif type(item) is VenueOrders:
                self._take_depth(item)
            elif type(item) is BookChecksum:
                self._verify_book(item)
            else:
                assert type(item) is Alive, "there are no other items"
                self._note_sign(item.symbol, of_trades=False)
        if trades:
            self._take_of_trades(trades)
        self._publish()
        self._compare()
        return self._taken

    def _compare(self) -> None:
        """Compare the streams of each instrument that brought something."""
        balance, now_s = self._of._balance, self._now_s
        for index in self._quoted:
            self._note_silence(index, balance.heard_quote(index, now_s))
        for index in self._filled:
            self._note_silence(index, balance.heard_fill(index, now_s))

    def _publish(self, flags: BlockFlags = BlockFlags.NONE) -> None:
        if self._ready:
            held_ns = self._of._monotonic_ns() - self._burst.received_at_ns
            self._of._channel.publish(
                self._ready, received_ns=self._burst.received_ns, held_ns=held_ns, flags=flags
            )
            self._ready = []

    def _say(self, changes: list[Change]) -> None:
        """Publish changes of state behind what came before them."""
        if changes:
            self._publish()
            self._of._say(changes)

    def _note_life(self, index: int) -> None:
        if index not in self._alive:
            self._alive.add(index)
            self._say(self._of._parts.liveness.traded(index, self._now_s))

    def _refine(self, symbol: str, *values: tuple[str, str]) -> None:
        """Make units finer if these prices and quantities need that, behind what came before."""
        finer = self._of._units.finer(symbol, values)
        if finer is not None:
            self._publish()
            self._of._units.change(finer)

    def _take_of_trades(self, items: list[VenueTrade | SpentId]) -> None:
        if self._of._units.follow_values:
            for item in items:
                if type(item) is VenueTrade:
                    self._refine(item.symbol, (item.price, item.quantity))
        if not self._of._brings_signs:
            self._take_trades(items)
            return
        for is_past, run in _runs(items):
            if is_past:
                self._take_past(run)
            else:
                self._take_trades(run)

    def _take_past(self, items: list[VenueTrade | SpentId]) -> None:
        """Past trades are a sign of life. Those that are missing are published as back-filled."""
        for symbol in {each.symbol: None for each in items}:
            self._note_sign(symbol)
        sequences, stream = self._of._parts.sequences, self._shard.venue.stream
        taken = sequences.take_past(items, stream, self._now_s)
        if taken.records:
            self._publish()
            self._ready += taken.records
            self._publish(BlockFlags.BACK_FILLED)
        self._add(taken)

    def _take_newest(self, item: NewestId) -> None:
        """The venue's newest trade is a sign of life if it has come. If not, it is missing."""
        stream = self._shard.venue.stream
        is_complete, gaps = self._of._parts.sequences.heed_newest(item, stream, self._now_s)
        self._ready += gaps
        self._taken.records += gaps
        if is_complete:
            self._note_sign(item.symbol)
        else:
            self._taken.has_holes = True

    def _note_sign(self, symbol: str, *, of_trades: bool = True) -> None:
        """Note a sign of life of an instrument that is no new trade. `of_trades`: it is of the
        stream of trades, not of any stream."""
        index = self._of._parts.roster.index_of(symbol)
        if index is None or self._of._parts.roster[index].is_gone:
            return
        liveness = self._of._parts.liveness
        if of_trades and liveness.trades is not liveness:
            liveness.trades.heard(index, self._now_s)
        self._say(liveness.heard(index, self._now_s))

    def _take_trades(self, items: list[VenueTrade | SpentId]) -> None:
        taken = self._of._parts.sequences.take(items, self._shard.venue.stream, self._now_s)
        traded = set[int]()
        for each in taken.records:
            index = each.instrument.index
            if type(each) is not Trade:
                continue
            if index not in traded:
                traded.add(index)
                self._note_trade(each, index)
            if each.kind in _FILLS:
                self._filled.add(index)
        self._ready += taken.records
        self._add(taken)

    def _add(self, taken: Taken) -> None:
        whole = self._taken
        whole.records += taken.records
        whole.has_misfits |= taken.has_misfits
        whole.has_holes |= taken.has_holes
        whole.turned = whole.turned + taken.turned
        whole.refused += taken.refused

    def _note_trade(self, trade: Trade, index: int) -> None:
        liveness = self._of._parts.liveness
        self._of._view.note(trade, received_ns=self._burst.received_ns, now_s=self._now_s)
        if liveness.trades is not liveness:
            liveness.trades.traded(index, self._now_s)
        self._note_life(index)
        if liveness.lacks(index, DataKinds.TRADES):
            self._say(liveness.back(index, DataKinds.TRADES, "it trades again"))

    def _note_silence(self, index: int, kind: DataKinds) -> None:
        """Act on a kind of data that is silent: connect anew."""
        if kind:
            self._of._balance.restart(index, self._now_s)
            if self._of._parts.liveness.state(index) is FeedState.HALTED:
                return  # the venue refuses it, or says that it does not trade
            symbol = self._of._parts.roster[index].instrument.symbol
            shards = [
                each
                for each in self._of._parts.connections
                if symbol in each.instruments and kind in each.venue.data
            ]
            if not any(each.open for each in shards):
                return  # it has no connection, which is known
            why = f"its {_NAMES[kind]} are silent, and the rest goes on"
            if kind is self._of._books.kind:
                self._of._books.doubt(index, why)
            else:
                self._of._quotes.restart((index,))  # their ids may have gone back
            self._say(self._of._parts.liveness.lost(index, kind, why))
            for shard in shards:
                shard.rotate()

    def _take_quote(self, item: VenueQuote) -> None:
        if self._of._units.follow_values:
            bid, ask = (item.bid_price, item.bid_quantity), (item.ask_price, item.ask_quantity)
            self._refine(item.symbol, bid, ask)
        try:
            quote = self._of._quotes.take(item, self._now_s, self._connection, self._shard.open)
        except NotRepresentableError:
            self._taken.has_misfits = True
            return
        if quote is None:
            return
        index = quote.instrument.index
        if index not in self._quoted:
            self._quoted.add(index)
            self._note_life(index)
            liveness = self._of._parts.liveness
            if liveness.lacks(index, DataKinds.QUOTES):
                self._say(liveness.back(index, DataKinds.QUOTES, "its quotes are back"))
        self._ready.append(quote)

    def _lose_book(self, lost: DepthLost) -> None:
        """A change cannot be read, so the book is not the venue's any more."""
        self._note_loss(lost.index, self._of._books.doubt(lost.index, lost.why, self._connection))

    def _verify_book(self, item: BookChecksum) -> None:
        self._note_loss(item.index, self._of._books.verify(item, self._connection))

    def _note_loss(self, index: int, taken: BookTaken | WithQuotes) -> None:
        self._ready += taken.updates
        if taken.broken:
            kind = self._of._books.kind
            self._say(self._of._parts.liveness.lost(index, kind, taken.broken))

    def _take_depth(self, depth: VenueDepth | VenueOrders) -> None:
        index, liveness = depth.update.instrument.index, self._of._parts.liveness
        entry = self._of._parts.roster[index]
        if entry.is_gone:
            return
        if entry.instrument is not depth.update.instrument and self._of._units.follow_values:
            return  # it was read in the units before, and its book begins anew
        books = self._of._books
        is_alone = len(self._shard.open) <= 1
        taken = books.take(depth, self._now_s, self._connection, is_alone=is_alone)
        self._of._balance.heard_book(index, self._now_s)
        if taken.broken:  # before the sign of life, which would turn a STALE instrument LIVE
            self._note_loss(index, taken)
            self._note_life(index)
            return
        self._note_life(index)
        self._ready += taken.updates
        if taken.updates and liveness.lacks(index, books.kind):
            self._say(liveness.back(index, books.kind, WHOLE))


def _runs(
    items: Iterable[VenueTrade | SpentId],
) -> Iterator[tuple[bool, list[VenueTrade | SpentId]]]:
    """Trades in runs that are past or not. Spent ids belong to the trade behind them."""
    is_past, run, spent = False, list[VenueTrade | SpentId](), list[VenueTrade | SpentId]()
    for item in items:
        spent.append(item)
        if type(item) is VenueTrade:
            if item.is_past is not is_past and run:
                yield is_past, run
                run = []
            is_past = item.is_past
            run += spent
            spent = []
    yield is_past, run + spent


def _is_of_trades(item: VenueItem) -> TypeGuard[VenueTrade | SpentId]:
    return type(item) is VenueTrade or type(item) is SpentId
