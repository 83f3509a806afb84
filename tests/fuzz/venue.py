"""Targets of the venue: what it sends over its stream, and what it answers over REST, from the
bytes to what readers are sent because of them."""

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import httpx2
import msgspec

from fanout.channel.channel import Channel
from fanout.errors import MAX_BAN_S, VenueBusyError, VenueMessageError
from fanout.feed.market import Market, ask_market
from fanout.feed.relisting import compare
from fanout.feed.roster import NO_REFERENCE, Roster
from fanout.feed.sequences import Sequences
from fanout.feed.venue_clock import VenueClock
from fanout.net.rest import RestClient
from fanout.protocol import (
    BlockFlags,
    EndReason,
    Gap,
    GapState,
    Header,
    SubscriberSession,
    Trade,
    decode_opening,
    opening,
)
from fanout.stats.anomalies import Anomalies
from fanout.venues import BinanceSpot, BinanceUsdm, Credentials, Request, VenueItem
from tests.fuzz.target import run
from tests.protocol.golden import HEADER

NOW_NS: Final = 1_791_382_992_840_123_456
SYMBOLS: Final = tuple(each.symbol for each in HEADER.instruments)

TRADES: Final = BinanceUsdm()
AGGREGATES: Final = BinanceUsdm(stream="aggTrade")
SPOT: Final = BinanceSpot()
WITH_KEY: Final = BinanceUsdm(credentials=Credentials(secret="key"))


class _Service:
    """What stands between a venue's words and its readers."""

    def __init__(self, venue: BinanceUsdm | BinanceSpot) -> None:
        anomalies = Anomalies(clock=lambda: 0.0)
        self.sequences = Sequences(HEADER.instruments, venue.stream, anomalies)
        header = msgspec.structs.replace(HEADER, next_seq=1)
        self._publisher = Channel(header, log_bytes=2**24, wall_ns=lambda: NOW_NS)
        self._cursor = self._publisher.log.live()
        self._greeting = self._publisher.greeting()

    def publish(self, records: list[Trade | Gap], flags: BlockFlags = BlockFlags.NONE) -> None:
        self._publisher.publish(records, received_ns=NOW_NS, held_ns=0, flags=flags)

    def end(self) -> None:
        """Say goodbye, and see that a reader understands everything and that every gap that was
        told is told again, to the id."""
        self.publish(list(self.sequences.end()))
        assert self._publisher.snapshot() is not None
        self._publisher.end(EndReason.SHUTDOWN, retry_ms=None, why="")
        data = self._publisher.log.read(self._cursor, 2**24)
        assert isinstance(data, bytes)
        session = SubscriberSession()
        session.receive(self._greeting + data)
        told: dict[bool, int] = {True: 0, False: 0}
        while (records := session.next_records()) is not None:
            for each in records:
                if isinstance(each, Gap):
                    told[each.state is GapState.OPEN] += each.last_id - each.first_id + 1
        assert told[True] == told[False]


def stream(venue: BinanceUsdm | BinanceSpot) -> Callable[[bytes], None]:
    """Messages, a line each, two a second."""

    def feed(lines: bytes) -> None:
        service, dialogue = _Service(venue), venue.dialogue(SYMBOLS)
        assert dialogue.opening()
        for place, message in enumerate(lines.split(b"\n")):
            items: list[VenueItem] = []
            try:
                dialogue.receive(message, items)
            except VenueMessageError:
                assert not items, "a message that is refused brings nothing"
                continue  # it is skipped and counted
            taken = service.sequences.take(items, venue.stream, place / 2)
            service.publish(taken.records + service.sequences.due(place / 2))
        service.end()

    return feed


def history(venue: BinanceUsdm | BinanceSpot) -> Callable[[bytes], None]:
    """The answer to a question for ids 100 to 199, which are missing."""
    symbol = SYMBOLS[0]

    def feed(body: bytes) -> None:
        found = venue.parse_history(body, symbol, 100)
        service = _Service(venue)
        service.sequences.miss(venue.stream, symbol, 99, 0.0)
        for trade_id in (99, 200):
            taken = service.sequences.take([_trade(venue, trade_id)], venue.stream, 0.0)
            service.publish(taken.records)
        service.publish(list(service.sequences.due(1.0)))
        (gap,) = service.sequences.gaps(venue.stream, symbol)
        if found is not None:
            filled = service.sequences.back_fill(venue.stream, gap, found.trades, 1.0)
            service.publish(filled.records, BlockFlags.BACK_FILLED)
            spent = [(found.first_id, found.last_id)] if not filled.refused else []
            service.publish(
                list(service.sequences.settle(venue.stream, symbol, gap, spent, "lost")),
            )
        service.end()

    return feed


def _trade(venue: BinanceUsdm, trade_id: int) -> Any:
    kind, number = ("trade", "t") if venue.stream == "trade" else ("aggTrade", "a")
    row = {"e": kind, "s": SYMBOLS[0], number: trade_id, "f": trade_id, "T": 1, "p": "1", "q": "1"}
    return venue.parse(msgspec.json.encode({"data": {**row, "X": "MARKET", "m": True}}))


def newest(body: bytes) -> None:
    """The newest trades, asked for because a symbol is quiet: what they say is missing is told."""
    rows = TRADES.parse_recent_trades(body, SYMBOLS[0])
    service = _Service(TRADES)
    service.publish(service.sequences.take([_trade(TRADES, 99)], TRADES.stream, 0.0).records)
    if rows:
        service.publish(list(service.sequences.miss("trade", SYMBOLS[0], rows[-1].trade_id, 1.0)))
    service.end()


class _Answers:
    """A REST client that has the answers already."""

    def __init__(self, **bodies: bytes) -> None:
        self._bodies = bodies

    async def fetch(self, request: Request, parse: Callable[[bytes], Any]) -> Any:
        return parse(self._bodies[request.path.rpartition("/")[2]])


def market(bodies: bytes) -> None:
    """exchangeInfo and recent trades, with a line break between them: they make a header."""
    info, _, trades = bodies.partition(b"\n")
    rest = _Answers(exchangeInfo=info, trades=trades)
    found: Market = run(ask_market, rest, TRADES, SYMBOLS)
    header = Header(
        epoch_ns=1,
        next_seq=1,
        venue=TRADES.name,
        instruments=found.instruments,
        references=found.references,
    )
    assert decode_opening(opening(header)) == header
    assert all(isfinite(each) and each >= 0 for each in found.usual_s + found.longest_s)


def listing(body: bytes) -> None:
    """A listing in mid-stream: whatever it says, readers understand what becomes of it."""
    header = msgspec.structs.replace(HEADER, next_seq=1)
    roster = Roster(header.instruments, header.references)
    channel = Channel(header, log_bytes=2**24, wall_ns=lambda: NOW_NS)
    changes = compare(roster, TRADES.parse_listing(body), ("all", SYMBOLS[0]))
    for each in (*changes.other_units, *changes.joined):
        roster.put(each, NO_REFERENCE)
        channel.change([each], [NO_REFERENCE])
    session = SubscriberSession()
    session.receive(channel.greeting())
    while session.next_records() is not None:
        pass
    assert session.header is not None
    assert session.header.instruments == roster.instruments


def clock(body: bytes) -> None:
    """The venue's time, and what is reckoned with it."""
    venue_ms = TRADES.parse_time(body)
    found = VenueClock()
    found.measured(asked_ns=NOW_NS, venue_ms=venue_ms, answered_ns=NOW_NS + 10**6)
    assert found.offset is not None
    assert isfinite(found.offset.offset_ns / 1e9), "it is shown in seconds"
    assert found.latest_venue_ms(NOW_NS) >= 0


def rest(answer: bytes) -> None:
    """An answer of the venue's: a line with the status, lines with headers, an empty one, a body.
    However bad it is, the client knows for how long to leave the venue alone."""
    head, _, body = answer.partition(b"\n\n")
    status, *lines = head.split(b"\n")
    headers = [(name, value) for line in lines for name, _, value in [line.partition(b":")] if name]
    code = int(status[:3]) if status[:3].isdigit() else 200
    run(_fetch, lambda _: httpx2.Response(max(200, code), headers=headers, stream=_Body(body)))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body


async def _fetch(answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, verify=False) as client:
        asking = RestClient(
            client,
            TRADES,
            attempts=1,
            uniform=lambda low, _: low,
            wall_s=lambda: NOW_NS / 1e9,
            now_s=lambda: 0.0,
        )
        try:
            await asking.fetch(Request(path="/"), lambda body: TRADES.explain(200, body))
        except VenueBusyError as error:
            require_pause(error)
            raise


def require_pause(error: VenueBusyError) -> None:
    """However long the venue asks to be left alone, that ends."""
    assert 0 <= error.pause_s <= MAX_BAN_S
