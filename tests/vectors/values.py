"""The values that vectors are made of, as dictionaries, and a vector itself."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.vectors.spelling import (
    EVENT_BODIES,
    Value,
    block_body,
    features_body,
    framed,
    header_body,
    instruments_body,
    quotes_body,
    run_bodies,
    sealed,
    updates_body,
)

U64_MAX = 2**64 - 1
I64_MAX = 2**63 - 1
I64_MIN = -(2**63)
MAX_SEQ = 2**63 - 1

EPOCH_NS = 1_795_219_200_000_000_000

Piece = tuple[bytes, Value | None]
"""A frame, and what a reader makes of it; no bytes for what it finds out by itself."""


class Frames(bytes):
    """Several frames of which one thing comes: a header and its instruments."""


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One case. `members` are those of its object in the file, in their order."""

    name: str
    about: str
    members: Value

    @property
    def value(self) -> Value:
        return {"name": self.name, "about": self.about, **self.members}


def instrument(
    symbol: str,
    exponents: tuple[int, int, int] = (-2, -3, -3),
    reference: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    update_id: int = 0,
    **changed: Any,
) -> Value:
    """Exponents of price, quantity and time; reference price, quantity, trade id and time."""
    names = ("price", "quantity", "trade_id", "time", "update_id")
    return {
        "symbol": symbol,
        "price_exponent": exponents[0],
        "quantity_exponent": exponents[1],
        "time_exponent": exponents[2],
        "reference": dict(zip(names, (*reference, update_id), strict=True)),
        "tick": 0,
        "lot": 0,
        "base": "",
        "quote": "",
        "type": "OTHER",
        "contract_mantissa": 1,
        "contract_exponent": 0,
        **changed,
    }


BTC = instrument(
    "BTCUSDT",
    (-2, -3, -3),
    (8_308_450, 41, 8_153_634_393, 1_791_382_992_338),
    tick=10,
    lot=1,
    base="BTC",
    quote="USDT",
    type="LINEAR_PERPETUAL",
)
LIFE = instrument("币安人生USDT", (-5, 0, -3), (12_345, 900, 52_000, 1_791_382_990_000))


def header(*instruments: Value, **changed: Any) -> Value:
    value = {
        "event": "header",
        "epoch_ns": EPOCH_NS,
        "next_seq": 1_001,
        "venue": "binance-usdm",
        "channel": "perps",
        "data": 1,
        "channels": [],
        "instruments": list(instruments or (BTC, LIFE)),
    }
    return value | changed


HEADER = header()


def instruments(first: int, *changed: Value) -> Value:
    """Instruments that are added or changed in mid-stream."""
    return {"event": "instruments", "first": first, "instruments": list(changed)}


def trade(trade_id: int, time: int, price: int, quantity: int, **changed: Any) -> Value:
    """A market trade of the first instrument whose buyer is the taker, unless `changed`."""
    value = {"index": 0, "kind": "MARKET", "buyer_is_maker": False, "trade_id": trade_id}
    return value | {"time": time, "price": price, "quantity": quantity} | changed


def next_trade(step: int = 0, **changed: Any) -> Value:
    """A trade of BTC such as often follows on the reference, `step` trades further on."""
    values = trade(8_153_634_394 + step, 1_791_382_992_838, 8_309_170 - step, 22)
    return values | changed


def block(first_seq: int, *trades: Value, of: Value = HEADER, **changed: Any) -> Value:
    """A block under the header `of`: its trades get their numbers and their decimals."""
    value: Value = {
        "event": "block",
        "first_seq": first_seq,
        "received_ns": 1_791_382_992_840_123_456,
        "held_ns": 85_000,
        "back_filled": False,
        "snapshot": False,
    }
    value |= changed
    told = [
        {"seq": None if value["snapshot"] else first_seq + place, **each, **_texts(each, of)}
        for place, each in enumerate(trades)
    ]
    return value | {"trades": told}


def _texts(trade: Value, header: Value) -> Value:
    if trade["index"] >= len(header["instruments"]):
        return {}
    unit = header["instruments"][trade["index"]]
    return {
        "price_text": decimal_text(trade["price"], unit["price_exponent"]),
        "quantity_text": decimal_text(trade["quantity"], unit["quantity_exponent"]),
    }


def decimal_text(value: int, exponent: int) -> str:
    digits = tuple(map(int, str(abs(value))))
    return format(Decimal((int(value < 0), digits, exponent)), "f")


def quote(
    update_id: int, time: int, bid: tuple[int, int], ask: tuple[int, int], index: int = 0
) -> Value:
    """A quote; price and quantity of each side."""
    value = {"index": index, "update_id": update_id, "time": time}
    value |= {"bid_price": bid[0], "bid_quantity": bid[1]}
    return value | {"ask_price": ask[0], "ask_quantity": ask[1]}


def next_quote(step: int = 0, **changed: Any) -> Value:
    """A quote of BTC such as often follows on the reference, `step` quotes further on."""
    values = quote(100 + step, 1_791_382_992_838, (8_309_160 - step, 1_500), (8_309_170, 22))
    return values | changed


Side = list[list[int]]
"""Levels, each a price and a quantity, or orders, each an id, a price and a quantity."""


def update(
    update_id: int, time: int, bids: Side, asks: Side, index: int = 0, **flags: bool
) -> Value:
    """A book update without flags, unless they are among `flags`."""
    value = {"index": index, "whole": False, "more": False, "top_only": False}
    value |= {"update_id": update_id, "time": time, "bids": bids, "asks": asks}
    return value | flags


def next_update(step: int = 0, **changed: Any) -> Value:
    """An update of BTC by price, `step` updates further on."""
    bids, asks = [[8_309_160, 1_500], [8_309_150, 0]], [[8_309_170 + step, 22]]
    return update(100 + step, 1_791_382_992_838 + step, bids, asks) | changed


def next_orders(step: int = 0, **changed: Any) -> Value:
    """An update of BTC by order, `step` updates further on."""
    bids = [[700_001 + step, 8_309_160, 500], [699_990, 8_309_160, 0]]
    asks = [[700_002 + step, 8_309_170, 22]]
    return update(100 + step, 1_791_382_992_838 + step, bids, asks) | changed


def quotes(first_seq: int, *records: Value, **changed: Any) -> Value:
    return _run("quotes", "quotes", first_seq, records, changed)


def book(first_seq: int, *updates: Value, **changed: Any) -> Value:
    """A block of updates by price."""
    return _run("book", "updates", first_seq, updates, changed)


def orders(first_seq: int, *updates: Value, **changed: Any) -> Value:
    """A block of updates by order."""
    return _run("orders", "updates", first_seq, updates, changed)


ROWS_HEADER = header(
    channel="features", data=16, columns=["mid", "spread_bps", "order_flow_imbalance_1000ms"]
)
"""That of a channel of rows of features."""


def row(time_ns: int, *values: float | str, index: int = 0) -> Value:
    """A row: for each column its value, or the name of the code of its absence."""
    return {
        "index": index,
        "time_ns": time_ns,
        "values": [None if isinstance(each, str) else each for each in values],
        "absences": [each if isinstance(each, str) else None for each in values],
    }


def next_row(step: int = 0, **changed: Any) -> Value:
    """A row of BTC under `ROWS_HEADER`, `step` rows further on."""
    time_ns = 1_791_382_992_840_000_000 + step
    return row(time_ns, 83_091.65 + step, 0.125, "WARMING_UP") | changed


def features(first_seq: int, *rows: Value, **changed: Any) -> Value:
    """A block of rows."""
    return _run("features", "rows", first_seq, rows, changed)


def _run(
    event: str, name: str, first_seq: int, records: tuple[Value, ...], changed: Value
) -> Value:
    value = block(first_seq) | changed | {"event": event}
    del value["trades"]
    told = [
        {"seq": None if value["snapshot"] else first_seq + place, **each}
        for place, each in enumerate(records)
    ]
    return value | {name: told}


def status(seq: int, **changed: Any) -> Value:
    value = {"event": "status", "seq": seq, "index": 1, "state": "STALE"}
    return value | {"since_ns": 1_791_383_000_000_000_000, "why": "quiet for 20 s"} | changed


def gap(seq: int, **changed: Any) -> Value:
    value = {"event": "gap", "seq": seq, "index": 0, "state": "OPEN"}
    ids = {"first_id": 8_153_634_396, "last_id": 8_153_634_398, "why": "not in the stream"}
    return value | ids | changed


def loss(first_seq: int, last_seq: int, reason: str = "SLOW") -> Value:
    return {"event": "loss", "first_seq": first_seq, "last_seq": last_seq, "reason": reason}


def heartbeat(next_seq: int, time_ns: int = 1_791_383_001_000_000_000) -> Value:
    return {"event": "heartbeat", "next_seq": next_seq, "time_ns": time_ns}


def end(last_seq: int, **changed: Any) -> Value:
    value = {"event": "end", "last_seq": last_seq, "reason": "SHUTDOWN"}
    return value | {"retry_ms": 1_000, "why": "stopped"} | changed


def body_of(value: Value, under: Value = HEADER) -> bytes:
    """The body of a header without its instruments, of instruments, a block or an event."""
    if value["event"] == "header":
        return header_body(value)
    if value["event"] == "instruments":
        return instruments_body(value["instruments"], value["first"])
    if value["event"] == "block":
        return block_body(value, under)
    if value["event"] == "quotes":
        return quotes_body(value, under)
    if value["event"] in ("book", "orders"):
        return updates_body(value, under)
    if value["event"] == "features":
        return features_body(value)
    return EVENT_BODIES[value["event"]](value)


def said(value: Value, under: Value = HEADER) -> Piece:
    """A value as its frame; a header as all of them."""
    if value["event"] == "header":
        return Frames(b"".join(map(sealed, opening_bodies(value)))), value
    return sealed(body_of(value, under)), value


def opening_bodies(value: Value) -> list[bytes]:
    """The bodies of a header and of its instruments."""
    return [header_body(value), *run_bodies(value["instruments"])]


def frames_of(data: bytes) -> list[bytes]:
    """The frames of a piece, each by itself."""
    frames = []
    while isinstance(data, Frames) and data:
        size = 4 + int.from_bytes(data[:4], "little")
        frames.append(bytes(data[:size]))
        data = Frames(data[size:])
    return frames or [data] if data or frames else []


def hole(first_seq: int, last_seq: int) -> Piece:
    """What a reader notices: numbers that are lost, and nobody said so."""
    return b"", {"event": "hole", "first_seq": first_seq, "last_seq": last_seq}


def raw(data: bytes) -> Piece:
    """Bytes of which nothing comes."""
    return data, None


START: Piece = raw(framed(b"START"))
OPENING = (START, said(HEADER))
"""How most vectors begin: number 1,001 is due."""
ROWS_OPENING = (START, said(ROWS_HEADER))
"""How those of rows of features begin."""


def stream(*pieces: Piece, is_whole: bool = False) -> Value:
    """Frames and events. An `OPENING` is left out, and said to be: most vectors have one, and it
    would be half of the file. With `is_whole` it stays."""
    is_opened = pieces[: len(OPENING)] == OPENING and not is_whole
    rest = pieces[len(OPENING) :] if is_opened else pieces
    return {
        **({"opened": True} if is_opened else {}),
        "frames": [each.hex() for data, _ in rest for each in frames_of(data)],
        "events": [event for _, event in rest if event is not None],
    }
