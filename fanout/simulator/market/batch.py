"""Puts trades of one symbol into one message, for a venue that sends them so.

At an interval of 0 a message has the trades of one sweep. Otherwise it has those that are issued
within the interval after its first one, and is sent at the end of that. Either way a full message
is sent at once, and the next trade begins another.

A batch holds trades that are issued already: REST and the ledger have them, and no stream does. A
recorded message is a batch as it is.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from fanout.simulator.market.clock import NS_PER_MS
from fanout.simulator.market.ticks import Tick, Trade


class _Open:
    """A message that is not sent yet."""

    __slots__ = ("due_ns", "stream", "trades")

    def __init__(self, due_ns: int, stream: str) -> None:
        self.due_ns = due_ns
        self.stream = stream
        self.trades: list[Trade] = []

    def tick(self, due_ns: int) -> Tick:
        first, *others = self.trades
        self.trades = []
        return Tick(due_ns, self.stream, first, others=tuple(others), is_batch=True)


class Batcher:
    """Issued trades in; messages out, when they are complete."""

    def __init__(self, interval_ms: int, most: int) -> None:
        self._interval_ns = interval_ms * NS_PER_MS
        self._most = most
        self._open: dict[str, _Open] = {}
        self._waiting: deque[_Open] = deque()  # with an interval, by due_ns
        self._left: dict[
            str, int
        ] = {}  # trades of a sweep that are to come, by the source's symbol

    def take(self, tick: Tick, issued: Tick | None) -> Tick | None:
        """The message to send, now that a trade of the source has been issued, or has not."""
        trade = tick.trade
        if trade is None or tick.recorded is not None:
            return issued
        is_over = self._is_over(tick, trade)
        if issued is None or issued.trade is None:
            return self._closed(trade.symbol, tick.due_ns) if is_over else None
        found = self._add(tick.due_ns, issued.stream, issued.trade)
        if len(found.trades) == self._most or is_over:
            return self._closed(issued.trade.symbol, tick.due_ns)
        return None

    def together(self, ticks: Iterable[Tick]) -> list[Tick]:
        """Messages for trades of one symbol that are sent at once, and before them the one that
        waits."""
        sent: list[Tick] = []
        rows = [(tick, tick.trade) for tick in ticks if tick.trade is not None]
        for tick, trade in rows[:1]:
            sent += self.close(trade.symbol, tick.due_ns)
        for start in range(0, len(rows), self._most):
            first, trade = rows[start]
            others = tuple(row for _, row in rows[start + 1 : start + self._most])
            sent.append(Tick(first.due_ns, first.stream, trade, others=others, is_batch=True))
        return sent

    def close(self, symbol: str, due_ns: int) -> list[Tick]:
        """The message of a symbol that waits, if there is one."""
        closed = self._closed(symbol, due_ns)
        return [] if closed is None else [closed]

    def waiting(self, symbol: str) -> int:
        """How many fills of a symbol wait for others of their message."""
        found = self._open.get(symbol)
        return 0 if found is None else sum(trade.is_fill for trade in found.trades)

    def is_due(self, now_ns: int) -> bool:
        return bool(self._waiting) and self._waiting[0].due_ns <= now_ns

    def due(self, now_ns: int) -> Iterator[Tick]:
        """A tick without trades for each message that is to be sent by then. The caller waits until
        it is time, and takes the message with `ready` before it asks for more: until then it may
        get further trades, or be sent before its time."""
        while self.is_due(now_ns):
            yield Tick(self._waiting[0].due_ns, "", is_batch=True)

    def rest(self) -> Iterator[Tick]:
        while self._waiting:
            yield from self.due(self._waiting[-1].due_ns)

    def ready(self) -> list[Tick]:
        """The message of the last tick of `due`; none if it was sent before."""
        waiting = self._waiting.popleft()
        if not waiting.trades:
            return []
        return self.close(waiting.trades[0].symbol, waiting.due_ns)

    def _is_over(self, tick: Tick, trade: Trade) -> bool:
        """Whether the message ends with this trade, which is the last of its sweep."""
        if self._interval_ns:
            return False
        left = self._left.pop(trade.symbol, len(tick.sweep) or 1) - 1
        if left:
            self._left[trade.symbol] = left
        return not left

    def _add(self, due_ns: int, stream: str, trade: Trade) -> _Open:
        found = self._open.get(trade.symbol)
        if found is None:
            found = self._open[trade.symbol] = _Open(due_ns + self._interval_ns, stream)
            if self._interval_ns:
                self._waiting.append(found)
        found.trades.append(trade)
        return found

    def _closed(self, symbol: str, due_ns: int) -> Tick | None:
        found = self._open.pop(symbol, None)
        return None if found is None else found.tick(due_ns)


def with_batches(ticks: Iterable[Tick], batcher: Batcher) -> Iterator[Tick]:
    """The ticks, and between them those of messages that become due, in order of `due_ns`.

    The caller issues each trade, and gives it to the batcher, before it asks for more.
    """
    for tick in ticks:
        if batcher.is_due(tick.due_ns):
            yield from batcher.due(tick.due_ns)
        yield tick
    yield from batcher.rest()
