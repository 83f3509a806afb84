"""A consolidator's rings as a stream of trades: `rings://DIR`, or `rings://DIR/CHANNEL`.

Rings name neither the venue nor the units of numbers. The venue is that of the other stream, and a
trade is in units of its own digits. The rings of a directory are read side by side, in the order of
the times at which their trades were received. So no ring is far ahead of another one.

A ring reports no losses. Numbers that cannot be read any more are a `Loss` here.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Self
from uuid import UUID

import trio
import trio.lowlevel

from fanout.cli.outcome import say
from fanout.cli.rings import told
from fanout.clients.consolidated import (
    Consolidated,
    ConsolidatedClient,
    ConsolidatedTrade,
    Missed,
    OtherRecord,
    RingFault,
    RingOpened,
    RingsError,
    Start,
    Why,
)
from fanout.clients.consolidated_ring import GONE
from fanout.clients.outcomes import DisconnectedError, Received, Restarted
from fanout.errors import UsageError
from fanout.protocol.consolidated import channel_of
from fanout.protocol.constants import DataKinds, LossReason
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Loss, Reference, Trade
from fanout.protocol.request import Moment, Position

POLL_S: Final = 0.02
"""How often rings without news are looked at."""

SCANNED_S: Final = 2.0
"""After so long a search for symbols stderr says what takes so long."""

MOST_DIGITS: Final = 20
"""Of a trade id, which has 64 bits."""

_REASONS: Final = {Why.LAPPED: LossReason.SLOW}
"""Numbers that are damaged, or of no trade, are `UNANNOUNCED`."""


class RingsStream:
    """The trades of rings, as a client for trio hands over those of a service."""

    def __init__(
        self,
        url: str,
        *,
        start: str | Moment | None,
        symbols: Sequence[str],
        follow: bool,
        other: Header | None,
        by_content: bool = False,
    ) -> None:
        """`start` is where to begin: `"live"`, `"oldest"` or the first trade that was received at
        or after a time; None for the oldest. `other` is the header of the other stream. Without
        `follow` the stream ends with what was there at the beginning. Trades need ids that are
        numbers or UUIDs, unless they are matched `by_content`.

        Raises `AddressError` for another address."""
        self.url = url
        self.header: Header | None = None
        self._begins = Start.LIVE if start == "live" else Start.OLDEST
        self._since_ms = -(-start.time_ns // 1_000_000) if isinstance(start, Moment) else 0
        self._symbols = tuple(symbols)
        self._follow = follow
        self._other = other
        self._by_content = by_content
        self._client = self._new_client(self._begins, follow=follow)
        self._ahead: dict[str, deque[Consolidated]] = {}
        """What was read of each ring, and has to be put in order with what others have."""
        self._ready: deque[Received] = deque()
        """What comes next."""
        self._instruments: dict[tuple[str, int, int], Instrument] = {}
        """By symbol and by the digits of price and quantity."""
        self._indexes: dict[str, int] = {}
        self._said: set[tuple[str, object]] = set()
        """What was said of each ring: it is not said again."""
        self._newest: dict[str, ConsolidatedTrade] = {}
        """The newest trade of each symbol, by the exchange's time."""

    def close(self) -> None:
        """Give the files back."""
        self._client.close()

    async def connect(self) -> Header:
        """Find the rings, and what they hold. Raises `RingsError` if there are none, or one that
        cannot be read, and `UsageError` for rings of several channels."""
        rings = self._client.look()
        channel = self._channel(sorted({channel_of(each) for each in rings}))
        for each in self._read().values():
            if each and isinstance(each[0], RingFault):
                raise RingsError(f"{self.url}: {told(each[0])}")
        symbols = self._symbols or self._known() or await self._scan()
        self._indexes = {each: index for index, each in enumerate(symbols)}
        self.header = Header(
            epoch_ns=0,
            next_seq=1,
            venue=self._other.venue if self._other is not None else channel,
            instruments=tuple(self._instrument(each, 0, 0) for each in symbols),
            references=(Reference(price=0, quantity=0, trade_id=0, time=0),) * len(symbols),
            data=DataKinds.TRADES,
        )
        return self.header

    def _channel(self, channels: list[str]) -> str:
        """The channel of the rings. Raises `UsageError` if there are several, and none is that of
        the other stream."""
        if len(channels) > 1 and self._other is not None:
            names = (self._other.channel.lower(), self._other.venue.lower())
            found = [each for name in names for each in channels if each.lower() == name]
            if found:
                self._client.close()
                self._client = self._new_client(
                    self._begins, follow=self._follow, channel=f"/{found[0]}"
                )
                self._client.look()
                return found[0].lower()
        if len(channels) > 1:
            raise UsageError(
                f"{self.url} has rings of {', '.join(channels)}: name one, {self.url}/{channels[0]}"
            )
        return channels[0].lower()

    def _known(self) -> tuple[str, ...]:
        """The symbols of the other stream. What rings alone have shows in a scan only."""
        if self._other is None:
            return ()
        return tuple(each.symbol for each in self._other.instruments)

    async def _scan(self) -> tuple[str, ...]:
        """The symbols of all trades that the rings have."""
        found: set[str] = set()
        began_s = time.monotonic()
        with self._new_client(Start.OLDEST, follow=False) as client:
            for look in client.looks():
                found.update(each.asset for each in look if isinstance(each, ConsolidatedTrade))
                await trio.lowlevel.checkpoint()
                if time.monotonic() > began_s + SCANNED_S:
                    say(f"looking for the symbols that are in {self.url}")
                    began_s = float("inf")
        return tuple(sorted(found))

    def _new_client(self, start: Start, *, follow: bool, channel: str = "") -> ConsolidatedClient:
        return ConsolidatedClient(
            self.url + channel, start=start, symbols=self._symbols, follow=follow
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        await trio.lowlevel.checkpoint()
        while not self._ready:
            ahead = self._read()
            if any(ahead.values()):
                self._ready.extend(self._merged(ahead))
                await trio.lowlevel.checkpoint()
            elif self._follow:
                await trio.sleep(POLL_S)
            elif self._client.is_idle:
                raise StopAsyncIteration
            else:
                await trio.lowlevel.checkpoint()
        return self._ready.popleft()

    def _read(self) -> dict[str, deque[Consolidated]]:
        """Read each ring of which nothing is ahead."""
        for ring in self._client.look():
            ahead = self._ahead.setdefault(ring, deque())
            if not ahead:
                ahead += self._client.read(ring)
        return self._ahead

    def _merged(self, ahead: dict[str, deque[Consolidated]]) -> Iterator[Received]:
        """The oldest that is ahead, and what follows, until a ring has to be read again."""
        waiting = [each for each in ahead.values() if each]
        while all(waiting):
            ring = min(waiting, key=lambda each: _received_ms(each[0]))
            record = self._record(ring.popleft())
            if record is not None:
                yield record

    def _record(self, found: Consolidated) -> Received | None:
        """What a client of a service would hand over."""
        match found:
            case ConsolidatedTrade():
                return self._trade(found) if found.recv_ts_ms >= self._since_ms else None
            case Missed(why=Why.ANEW):
                say(f"{self.url}: {told(found)}")
                return Restarted(before=Position(epoch_ns=0, seq=found.first_seq), epoch_ns=0)
            case Missed():
                self._say_once(found, found.why)
                return Loss(
                    first_seq=found.first_seq,
                    last_seq=found.last_seq,
                    reason=_REASONS.get(found.why, LossReason.UNANNOUNCED),
                )
            case OtherRecord():
                self._say_once(found, found.kind)
            case RingFault(why=why) if why == GONE:
                say(f"{self.url}: {told(found)}")
            case RingFault():
                raise DisconnectedError(told(found))
            case RingOpened(is_short=True):
                say(f"{self.url}: {told(found)}")
        return None

    def _say_once(self, found: Missed | OtherRecord, what: object) -> None:
        """Say it once for each ring."""
        if (found.ring, what) not in self._said:
            self._said.add((found.ring, what))
            say(f"{self.url}: {told(found)}; those that follow are counted only")

    def _trade(self, found: ConsolidatedTrade) -> Trade | None:
        if found.asset not in self._indexes:
            return None
        trade_id = _trade_id(found.exchange_trade_id)
        if trade_id is None and not self._by_content:
            raise UsageError(
                f"{self.url}: trade id {str(found.exchange_trade_id)[:40]!r} is neither a number "
                "nor a UUID: give --match content"
            )
        price, quantity = _number(found.px), _number(found.sz)
        return Trade(
            self._instrument(found.asset, price[1], quantity[1]),
            trade_id or 0,
            found.exchange_ts_ms,
            price[0],
            quantity[0],
            found.side == "Sell",
            seq=found.writer_seq,
            received_ns=found.recv_ts_ms * 1_000_000,
            back_filled=self._is_back_filled(found),
        )

    def _is_back_filled(self, found: ConsolidatedTrade) -> bool:
        """Rings do not mark trades that were fetched later. One that was received later than a
        trade which the exchange made after it is taken for such."""
        newest = self._newest.get(found.asset)
        if newest is None or newest.exchange_ts_ms <= found.exchange_ts_ms:
            self._newest[found.asset] = found
            return False
        return found.recv_ts_ms > newest.recv_ts_ms

    def _instrument(self, symbol: str, price_exponent: int, quantity_exponent: int) -> Instrument:
        key = symbol, price_exponent, quantity_exponent
        found = self._instruments.get(key)
        if found is None:
            found = self._instruments[key] = Instrument(
                index=self._indexes[symbol],
                symbol=symbol,
                price_exponent=price_exponent,
                quantity_exponent=quantity_exponent,
            )
        return found


def _number(text: str) -> tuple[int, int]:
    """The integer and the exponent of a number in decimal digits."""
    whole, _, part = text.partition(".")
    return int(whole + part), -len(part)


def _trade_id(of: int | str) -> int | None:
    """A trade id as it stands on fanout's wire: of a UUID the first 64 bits. None for what is
    neither."""
    if isinstance(of, int):
        return of
    if of.isascii() and of.isdigit() and len(of) <= MOST_DIGITS:
        return int(of)
    try:
        return UUID(of).int >> 64
    except ValueError:
        return None


def _received_ms(found: Consolidated) -> int:
    """The time that a record belongs to. What is no trade comes at once."""
    return found.recv_ts_ms if isinstance(found, ConsolidatedTrade) else 0
