"""Bitfinex, from its documents and from recordings of 2018 and 2021.

Particular to it: it speaks first, has 25 numbered channels a connection, numbers the messages of
each connection if asked to, and writes numbers as JSON numbers. It shares no code with the
service's venue.

Where the simulator differs:

- A book has the best 100 levels for whatever length it is asked.
- A level has one order, which a book by order shows.
- Checksums come every 5 seconds, as well as when a fault asks for a wrong one. At the exchange one
  follows each change of a book. A checksum takes 0.2 ms to make, more than all else that a change
  costs here. And one trade can make several changes, and the market has no book between them.
- Ids of trades are consecutive. At the exchange they ascend.
- Symbols that the market does not have are subscribed to, and stay silent.
"""

from collections.abc import Sequence
from typing import Final

from fanout.simulator.dialects.base import (
    CALM,
    Ability,
    Aggregation,
    Answer,
    Close,
    Destination,
    DialectDefaults,
    Form,
    Limits,
    Market,
    Mood,
    Pulse,
    RestSide,
    Session,
    Venue,
)
from fanout.simulator.dialects.bitfinex import frames
from fanout.simulator.dialects.bitfinex.channels import Own
from fanout.simulator.dialects.bitfinex.recordings import BitfinexReader
from fanout.simulator.dialects.bitfinex.requests import (
    MAX_CHANNELS,
    answer,
    maintenance,
    restart,
    welcome,
)
from fanout.simulator.dialects.bitfinex.rest import WEIGHT_A_MINUTE, WORDS, rest
from fanout.simulator.dialects.bitfinex.table import TABLE, made_up, made_up_symbol
from fanout.simulator.market.listing import Listing, Quirk
from fanout.simulator.market.reader import Reader
from fanout.simulator.market.ticks import (
    MARKET,
    TRADE,
    BookRules,
    Kinds,
    Tick,
)

_PATH: Final = "/ws/2"


class Bitfinex(DialectDefaults):
    name: Final = "bitfinex"
    title: Final = "Bitfinex"
    rest_root: Final = "/v2"
    words = WORDS
    limits = Limits(
        messages_per_second=60,
        weight_per_minute=WEIGHT_A_MINUTE,
        ping_every_s=60.0,
        pong_within_s=60.0,
        streams=MAX_CHANNELS,
        too_many_streams=Close(1008, "too many channels"),
        too_many_messages=Close(1008, "too many messages"),
        ban_status=None,
        connections_per_window=(20, 60.0),
    )
    kinds = Kinds((MARKET,), (1.0,), is_open=False)
    aggregation = Aggregation(interval_ms=1, sent_after_ms=1)
    book_rules = BookRules(is_contiguous=False, intervals_ms=(0,), levels=100, has_ids=False)
    table = TABLE
    is_personal = True
    abilities: frozenset[Ability] = frozenset(
        {"lose", "resnapshot", "refuse topic", "mute", "maintain", "checksum"}
    )

    def made_up(self, symbol: str) -> Listing | None:
        return made_up(symbol)

    def made_up_symbol(self, number: int) -> str:
        return made_up_symbol(number)

    def destination(self, target: str) -> Destination | None:
        if target.partition("?")[0] != _PATH:
            return None
        return Destination("", Session(own=Own()))

    def stream_names(self, symbol: str) -> dict[str, tuple[str, str]]:
        kinds = {
            frames.TRADES: TRADE,
            frames.BOOK: frames.DEPTH_KIND,
            frames.RAW: frames.DEPTH_KIND,
        }
        return {f"{channel}:{symbol}": (kind, "") for channel, kind in kinds.items()}

    def welcome(self, session: Session) -> Answer:
        return welcome(session)

    def answer(self, session: Session, text: str, now_ms: int, mood: Mood = CALM) -> Answer:
        return answer(session, text, now_ms, mood)

    def greeting(self, name: str, stream: str, market: Market, session: Session) -> list[bytes]:
        return frames.greeting(name, stream, market)

    def pulses(self, session: Session) -> tuple[Pulse, ...]:
        return frames.pulses(session)

    def pulse(self, name: str, session: Session, market: Market, now_ms: int) -> list[bytes]:
        return frames.pulse(name, session, market, now_ms)

    def personal(
        self, message: bytes, name: str | None, session: Session, count: int
    ) -> tuple[bytes, int]:
        return frames.personal(message, name, session, count)

    def payload(self, tick: Tick, *, microseconds: bool) -> bytes:
        return frames.payload(tick)

    def split(self, payload: bytes) -> Sequence[bytes]:
        return frames.split(payload)

    def shutdown(self, now_ms: int, form: Form) -> bytes:
        return restart()

    def maintenance(self, begins: bool, now_ms: int, session: Session) -> list[bytes]:
        return [maintenance(begins)]

    def wrong_checksum(
        self, name: str, stream: str, market: Market, session: Session
    ) -> list[bytes]:
        return frames.checksums(name, stream, market, session, right=False)

    def rest(self, venue: Venue) -> RestSide:
        return rest(venue)

    def lacks(self, quirk: Quirk) -> bool:
        """A row of the listing is a name."""
        return quirk != "twice"

    def reader(self) -> Reader:
        return BitfinexReader()
