"""The recordings, dealt to many symbols: trades, quotes and changes of order books.

A symbol gets the messages of BTCUSDT or of ETHUSDT, with its own name in them. It begins at a place
of its own in the recording, so that a busy moment of one symbol is not one of all. *In step*, all
symbols begin at the same place: whatever happens once in the recording happens to all symbols at
the same instant, which is worse than at any exchange.

A book begins with a REST snapshot as it was at the symbol's place. The first message of a symbol is
a change of its book, from which the service learns that it needs the snapshot. These messages are
the *lead*, and come before the rest.

    lead: one change of each book, 5 ms apart | pause | the messages, at their pace
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Final

import msgspec

from fanout.protocol import BookUpdate, Instrument, OrderBook
from fanout.venues.binance.depth import read_depth
from fanout.venues.binance.whole_book import LEVELS, parse_book
from tests.bench.broadcast.recording import NS_PER_S, Message
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS, every_line, sources

APART_NS: Final = 5_000_000
PAUSE_NS: Final = NS_PER_S // 2
RECORDED_S: Final = 340.0
"""How much of each recording is dealt, at the most."""
MARGIN_S: Final = 2.0
"""How much later than a beginning the next change of the book may be."""

TRADES: Final = b"@trade"
QUOTES: Final = b"@bookTicker"
BOOK: Final = b"@depth"
ALL: Final = (TRADES, QUOTES, BOOK)

_STREAM: Final = re.compile(rb'{"stream":"(\w+)(@\w+)')
_SYMBOL: Final = re.compile(rb'"(\w+)(@.*?"s":")(\w+)"')


class Begin(msgspec.Struct, frozen=True):
    """What REST shows of a symbol before its first message: bodies of its answers."""

    book: str
    trades: str


class Market(msgspec.Struct, frozen=True):
    """Messages with their due times from 0 ns on, the first of which are the lead, and the
    beginning of each symbol."""

    begins: dict[str, Begin]
    messages: list[Message]

    @property
    def lead(self) -> int:
        """How many messages that is."""
        return len(self.begins)

    @property
    def lead_ns(self) -> int:
        return self.lead * APART_NS + PAUSE_NS

    @property
    def span_s(self) -> float:
        """Seconds from the end of the lead to the last message."""
        return (self.messages[-1].at_ns - self.lead_ns) / NS_PER_S

    @property
    def rate(self) -> float:
        """Messages a second behind the lead."""
        return (len(self.messages) - self.lead) / self.span_s

    def at_rate(self, rate: float) -> "Market":
        """The same messages, so many a second."""
        lead, factor = self.messages[: self.lead], self.rate / rate
        paced = [
            Message(self.lead_ns + int((each.at_ns - self.lead_ns) * factor), each.text)
            for each in self.messages[self.lead :]
        ]
        return Market(self.begins, [*lead, *paced])


class _Part(msgspec.Struct, frozen=True):
    """What one symbol gets: a change of the book, and what follows it, from 0 ns on."""

    begin: Begin
    first: bytes
    rest: list[Message]


def dealt(
    count: int,
    seconds: float,
    *,
    streams: Sequence[bytes] = ALL,
    in_step: bool = False,
    reach_s: float = RECORDED_S,
) -> Market:
    """`seconds` of the recordings for each of so many symbols, out of their first `reach_s`. Raises
    `Unavailable` as `market.frames` does."""
    names = [f"S{number:04}USDT" for number in range(count)]
    parts: dict[str, _Part] = {}
    for place, source in enumerate(sources()):
        own = names[place :: len(sources())]
        spread_s = 0.0 if in_step else (reach_s - seconds - MARGIN_S) / max(1, len(own))
        begins_s = [spread_s * number for number in range(len(own))]
        found = _parts(source, begins_s, seconds, streams)
        parts |= {name: _named(part, name) for name, part in zip(own, found, strict=True)}
    return _market({name: parts[name] for name in names})


def mean_rate(streams: Sequence[bytes] = ALL, reach_s: float = RECORDED_S) -> float:
    """Messages a second of one symbol, over the recordings."""
    rates = []
    for source in sources():
        lines = _messages(source, reach_s)
        count = sum(_is_of(each.text, streams) for each in lines)
        rates.append(count / (lines[-1].at_ns - lines[0].at_ns) * NS_PER_S)
    return sum(rates) / len(rates)


def _market(parts: Mapping[str, _Part]) -> Market:
    lead = [Message(place * APART_NS, each.first) for place, each in enumerate(parts.values())]
    begins = {name: each.begin for name, each in parts.items()}
    lead_ns = Market(begins, lead).lead_ns
    rest = merge(*(each.rest for each in parts.values()), key=lambda each: each.at_ns)
    return Market(begins, [*lead, *(Message(lead_ns + each.at_ns, each.text) for each in rest)])


def _named(part: _Part, name: str) -> _Part:
    """With the symbol's name in its messages."""
    rest = [Message(each.at_ns, _renamed(each.text, name)) for each in part.rest]
    return _Part(part.begin, _renamed(part.first, name), rest)


def _renamed(text: bytes, name: str) -> bytes:
    new = b'"%b\\2%b"' % (name.lower().encode(), name.encode())
    return _SYMBOL.sub(new, text, count=1)


def _parts(
    source: str, begins_s: Sequence[float], seconds: float, streams: Sequence[bytes]
) -> Iterator[_Part]:
    """A part of the recording for each beginning; they rise."""
    lines = _messages(source, begins_s[-1] + seconds + MARGIN_S)
    replica, place = _Replica(source), 0
    while not replica.book.is_known:
        replica.take(lines[place].text)
        place += 1
    zero_ns = lines[place].at_ns
    for begin_s in begins_s:
        while lines[place].at_ns < zero_ns + begin_s * NS_PER_S or not _is_of(
            lines[place].text, (BOOK,)
        ):
            replica.take(lines[place].text)
            place += 1
        first = lines[place]
        end_ns = first.at_ns + int(seconds * NS_PER_S)
        end = bisect_left(lines, end_ns, key=lambda each: each.at_ns)
        rest = [each for each in islice(lines, place + 1, end) if _is_of(each.text, streams)]
        later = [Message(each.at_ns - first.at_ns, each.text) for each in rest]
        yield _Part(replica.begin(), first.text, later)


class _Replica:
    """A symbol's book and newest trade, as they are at a place of the recording."""

    def __init__(self, source: str) -> None:
        self.book = OrderBook()
        self._instrument = Instrument(
            index=0,
            symbol=source,
            price_exponent=-PRICE_DECIMALS,
            quantity_exponent=-QUANTITY_DECIMALS,
        )
        self._early: list[BookUpdate] = []
        """Changes that came before the snapshot."""
        self._trade = b""

    def take(self, text: bytes) -> None:
        if _is_of(text, (BOOK,)):
            update = read_depth(text, self._instrument).update
            if self.book.is_known:
                self._apply(update)
            else:
                self._early.append(update)
        elif _is_of(text, (TRADES,)):
            self._trade = text
        elif text.startswith(b'{"lastUpdateId"') and not self.book.is_known:
            self.book.apply(parse_book(text, self._instrument))
            for each in self._early:
                self._apply(each)

    def _apply(self, update: BookUpdate) -> None:
        if update.update_id > self.book.update_id:
            self.book.apply(update)

    def begin(self) -> Begin:
        bids, asks = (
            [
                [self._instrument.price_text(price), self._instrument.quantity_text(quantity)]
                for price, quantity in side
            ]
            for side in self.book.levels(LEVELS)
        )
        body = {
            "lastUpdateId": self.book.update_id,
            "T": self.book.time,
            "bids": bids,
            "asks": asks,
        }
        return Begin(json.dumps(body), json.dumps([_shown(self._trade)]))


def _shown(trade: bytes) -> dict[str, object]:
    """A trade as REST shows it."""
    row = json.loads(trade)["data"]
    kept = {"id": row["t"], "price": row["p"], "qty": row["q"], "time": row["T"]}
    return kept | {"isBuyerMaker": row["m"]}


def _messages(source: str, reach_s: float) -> list[Message]:
    """So much of the recording's beginning."""
    messages: list[Message] = []
    # The recorder's clock was set back now and then. The order of the lines is the true one.
    newest_ns = 0
    for received_ns, text in every_line(source):
        newest_ns = max(newest_ns, received_ns)
        if messages and newest_ns - messages[0].at_ns > reach_s * NS_PER_S:
            break
        messages.append(Message(newest_ns, text))
    return messages


def _is_of(text: bytes, streams: Sequence[bytes]) -> bool:
    found = _STREAM.match(text)
    return found is not None and found[2] in streams
