"""The recordings of Binance futures as records: trades and the book of one symbol.

Read with the standard library alone. The first book is the REST snapshot of the file and what came
before it, as Binance's documentation has it.
"""

import gzip
import json
from collections.abc import Iterator

from fanout.protocol import BookFlags, BookUpdate, Instrument, InstrumentType, Trade, pack_levels
from fanout.protocol.fixedpoint import from_text
from tests.captures import capture_path

PRICE, QUANTITY = -2, -3

Record = BookUpdate | Trade


def instrument_of(symbol: str, *, tick: int = 1) -> Instrument:
    return Instrument(
        index=0,
        symbol=symbol,
        price_exponent=PRICE,
        quantity_exponent=QUANTITY,
        tick=tick,
        lot=1,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        type=InstrumentType.LINEAR_PERPETUAL,
    )


def records_of(symbol: str, *, tick: int = 1) -> list[Record]:
    """All trades and updates, from the first whole book on."""
    instrument = instrument_of(symbol, tick=tick)
    return list(_records(instrument, list(_lines(symbol))))


def _lines(symbol: str) -> Iterator[tuple[int, dict]]:  # type: ignore[type-arg]
    with gzip.open(capture_path(f"{symbol.lower()}_20240808.gz")) as lines:
        for line in lines:
            received, _, text = line.partition(b" ")
            if b"@bookTicker" not in text[:60]:
                yield int(received), json.loads(text)


def _records(instrument: Instrument, lines: list) -> Iterator[Record]:  # type: ignore[type-arg]
    seq, known, early = 0, -1, []
    for received, message in lines:
        data = message.get("data", message)
        seq += 1
        if "lastUpdateId" in data and "stream" not in message:
            known = data["lastUpdateId"]
            sides = data["bids"], data["asks"]
            yield _update(instrument, known, data["T"], sides, seq, received, BookFlags.WHOLE)
            for each in early:
                if each["u"] > known:
                    seq += 1
                    yield _depth(instrument, each, seq, received)
        elif data.get("e") == "depthUpdate":
            if known < 0:
                early.append(data)
            elif data["u"] > known:
                yield _depth(instrument, data, seq, received)
        elif data.get("e") == "trade" and known >= 0 and data.get("X", "MARKET") == "MARKET":
            yield _trade(instrument, data, seq, received)


def _depth(instrument: Instrument, data: dict, seq: int, received: int) -> BookUpdate:  # type: ignore[type-arg]
    sides = data["b"][::-1], data["a"]
    return _update(instrument, data["u"], data["T"], sides, seq, received, BookFlags.NONE)


def _update(
    instrument: Instrument,
    update_id: int,
    time: int,
    sides: tuple[list[list[str]], list[list[str]]],
    seq: int,
    received: int,
    flags: BookFlags,
) -> BookUpdate:
    bids, asks = (
        pack_levels([(from_text(p, PRICE), from_text(q, QUANTITY)) for p, q in side])
        for side in sides
    )
    return BookUpdate(instrument, update_id, time, bids, asks, flags, seq, received)


def _trade(instrument: Instrument, data: dict, seq: int, received: int) -> Trade:  # type: ignore[type-arg]
    return Trade(
        instrument,
        data["t"],
        data["T"],
        from_text(data["p"], PRICE),
        from_text(data["q"], QUANTITY),
        data["m"],
        seq=seq,
        received_ns=received,
    )
