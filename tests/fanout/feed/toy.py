"""Venues that are not Binance: what the next ones will ask of a feed, at the exchange in memory."""

import json
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from fanout.errors import VenueBusyError, VenueMessageError
from fanout.protocol import Instrument
from fanout.protocol.constants import DataKinds, TradeKind
from fanout.venues import BinanceUsdm, Continuity, Outcome, VenueItem
from fanout.venues.binance.market_data import MarketDataDialogue
from fanout.venues.binance.usdm import TradeDialogue
from fanout.venues.values import Alive, Limits, Listed, NewestId, VenueTrade
from tests.stand.loopback import Row

KEEP_ALIVE_S: Final = 20.0

PAST: Final = VenueTrade("", 7, 0, "61800.30", "0.500", False, TradeKind.MARKET, is_past=True)


class ToyDialogue(TradeDialogue):
    """Answers text pings, says something every 20 s, and hears of refusals and of the end."""

    def __init__(self, symbols: tuple[str, ...], stream: str, limits: Limits) -> None:
        super().__init__(symbols, stream, limits)
        self.due_s = KEEP_ALIVE_S

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        if not message.startswith(b'{"toy"'):
            return super().receive(message, out)
        match msgspec.json.decode(message):
            case {"toy": "ping", "n": number}:
                return Outcome(answers=(json.dumps({"method": "pong", "params": [number]}),))
            case {"toy": "refused", "symbol": symbol, "why": why}:
                return Outcome(refused={symbol: why})
            case {"toy": "past", "rows": rows}:
                out += [msgspec.structs.replace(each, is_past=True) for each in _trades(rows)]
                return None
            case {"toy": "newest", "symbol": symbol, "id": trade_id}:
                out.append(NewestId(symbol, trade_id))
                return None
            case {"toy": "alive", "symbol": symbol}:
                out.append(Alive(symbol))
                return None
            case {"toy": "closing"}:
                return Outcome(closes="maintenance in a minute")
            case {"toy": "lost"} as lost:
                out += _trades(lost.get("rows", []))
                number = lost.get("number", 8)
                return Outcome(lost=f"number {number} follows {number - 2}")
            case {"toy": "pauses"}:
                return Outcome(pauses="maintenance has begun")
            case {"toy": "past"}:
                out.append(replace(PAST, symbol=self._symbols[0]))
                return None
            case {"toy": "busy"}:
                raise VenueBusyError("too many requests", 60.0)
            case {"toy": "notice", "words": words}:
                return Outcome(notice=words)
        raise VenueMessageError("unexpected event", message[:80])

    def tick(self, now_s: float) -> tuple[str, ...]:
        self.due_s = now_s + KEEP_ALIVE_S
        return ('{"method":"keep-alive","params":[]}',)


class ToyDataDialogue(MarketDataDialogue, ToyDialogue):
    """The same with quotes and books."""


def past(*rows: Row) -> bytes:
    """The message that answers a subscription with the last trades."""
    return json.dumps({"toy": "past", "rows": [each.message.decode() for each in rows]}).encode()


def lost(*rows: Row, number: int = 8) -> bytes:
    """The message whose number shows that others are missing, with its trades."""
    messages = [each.message.decode() for each in rows]
    return json.dumps({"toy": "lost", "rows": messages, "number": number}).encode()


def newest(row: Row) -> bytes:
    """The message that names an instrument's newest trade."""
    return json.dumps({"toy": "newest", "symbol": row.symbol, "id": row.trade_id}).encode()


def alive(symbol: str) -> bytes:
    """The message of an instrument to which nothing happened."""
    return json.dumps({"toy": "alive", "symbol": symbol}).encode()


def _trades(messages: list[str]) -> list[VenueTrade]:
    items: list[VenueItem] = []
    for each in messages:
        TradeDialogue((), "trade", Limits()).receive(each.encode(), items)
    return [each for each in items if isinstance(each, VenueTrade)]


class ToyVenue(BinanceUsdm):
    """Its trade ids are unique, and prove nothing."""

    name = "toy"
    continuity = Continuity.NOTHING
    limits = Limits(weight=2_400, messages_a_second=2, subscriptions=40, request_bytes=256)
    trade_dialogue = ToyDialogue
    data_dialogue = ToyDataDialogue  # type: ignore[assignment]

    def fallback(self) -> None:  # type: ignore[override]
        return None


class FineVenue(ToyVenue):
    """It lists no units, only a guess."""

    def still_fits(self, old: Instrument, new: Listed) -> bool:
        return 0 <= new.price_exponent - old.price_exponent <= 3


class TalkativeVenue(ToyVenue):
    """Its trade ids are consecutive. It answers a subscription with its last trades, and gives
    signs of life."""

    continuity = Continuity.IDS
    brings_signs = True


class DividedToy(ToyVenue):
    """Its trades come at one URL, and quotes and books at another."""

    continuity = Continuity.IDS

    def parts(self) -> tuple[Self, ...]:
        others = self.data & ~DataKinds.TRADES
        if not others or DataKinds.TRADES not in self.data:
            return (self,)
        return self._of(DataKinds.TRADES, subscriptions=40), self._of(others, subscriptions=20)

    def _of(self, data: DataKinds, subscriptions: int) -> Self:
        part = type(self)(ws_url=self.ws_url, rest_url=self.rest_url, data=data)
        part.limits = replace(self.limits, subscriptions=subscriptions)
        return part

    def stream_url(self) -> str:
        assert self.parts() == (self,), "a venue of two parts has no connection of its own"
        return f"{self.ws_url}/{'trades' if DataKinds.TRADES in self.data else 'others'}"
