"""Encodes the notifications of Deribit's channels.

A payload is what a channel brings, without the channel: `notification` adds it. Prices and amounts
are JSON numbers, with the digits that the market has.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from fanout.simulator.dialects.deribit.requests import PLATFORM
from fanout.simulator.market.book import Snapshot
from fanout.simulator.market.ticks import BLOCK, LIQUIDATION, Depth, Quote, Tick, Trade


def payload(tick: Tick) -> bytes:
    if tick.recorded is not None:
        return tick.recorded
    if tick.trade is not None:
        return msgspec.json.encode([trade_row(each) for each in tick.trades])
    if tick.depth is not None:
        return _change(tick.depth)
    assert tick.quote is not None, "no channel has aggregates"
    return full(tick.quote)


def notification(channel: str, data: bytes) -> bytes:
    params = {"channel": channel, "data": msgspec.Raw(data)}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "subscription", "params": params})


def heartbeat(kind: str) -> bytes:
    params = {"type": kind}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "heartbeat", "params": params})


def maintenance(begins: bool) -> bytes:
    return notification(PLATFORM, msgspec.json.encode({"maintenance": begins}))


def whole(symbol: str, book: Snapshot) -> bytes:
    return msgspec.json.encode(
        {
            "type": "snapshot",
            "timestamp": book.time_ms,
            "instrument_name": symbol,
            "change_id": book.last_id,
            "bids": _levels(book.bids, "new"),
            "asks": _levels(book.asks, "new"),
        }
    )


def full(quote: Quote) -> bytes:
    """The book of one level."""
    return msgspec.json.encode(
        {
            "timestamp": quote.time_ms,
            "instrument_name": quote.symbol,
            "change_id": quote.update_id,
            "bids": _best(quote.bid),
            "asks": _best(quote.ask),
        }
    )


def _change(depth: Depth) -> bytes:
    return msgspec.json.encode(
        {
            "type": "change",
            "timestamp": depth.time_ms,
            "prev_change_id": depth.previous_id,
            "instrument_name": depth.symbol,
            "change_id": depth.last_id,
            "bids": _levels(depth.bids, "change"),
            "asks": _levels(depth.asks, "change"),
        }
    )


def _levels(rows: Iterable[tuple[str, str]], action: str) -> list[Any]:
    """With `delete` for a level of no quantity. The market does not say which levels are new."""
    return [
        ("delete" if not quantity.strip("0.") else action, *_numbers((price, quantity)))
        for price, quantity in rows
    ]


def _best(level: tuple[str, str]) -> list[tuple[msgspec.Raw, msgspec.Raw]]:
    """The best level of a side, which may be empty."""
    return [_numbers(level)] if level[1].strip("0.") else []


def _numbers(level: tuple[str, str]) -> tuple[msgspec.Raw, msgspec.Raw]:
    return number(level[0]), number(level[1])


def number(text: str) -> msgspec.Raw:
    """A decimal as a JSON number, digit for digit."""
    return msgspec.Raw(text.encode())


def trade_row(row: Trade) -> dict[str, Any]:
    """A trade, on the stream and over REST."""
    encoded: dict[str, Any] = {
        "trade_seq": row.trade_id,
        "trade_id": trade_id(row),
        "timestamp": row.time_ms,
        "tick_direction": 0,
        "price": number(row.price),
        "mark_price": number(row.price),
        "instrument_name": row.symbol,
        "index_price": number(row.price),
        "direction": "sell" if row.buyer_is_maker else "buy",
        "amount": number(row.quantity),
    }
    if row.kind == LIQUIDATION:
        encoded["liquidation"] = "T"
    if row.kind == BLOCK:
        encoded["block_trade_id"] = f"BLOCK-{row.trade_id}"
    return encoded


def trade_id(row: Trade) -> str:
    """An id that is a text, as the venue has. Those of ETH have a prefix."""
    currency = row.symbol.partition("-")[0].partition("_")[0]
    return f"{'' if currency == 'BTC' else f'{currency}-'}{row.trade_id}"
