"""The recordings as records of a stream: whole books, updates and trades, and quotes if wanted."""

import gzip
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from fanout.clients.outcomes import Received
from fanout.protocol import BookFlags, BookUpdate, Instrument, Quote, Trade, pack_levels
from tests.captures import capture_path
from tests.stand.raw_book import whole

NS_PER_S = 1_000_000_000


def instrument_of(symbol: str) -> Instrument:
    """Both recordings have prices of two decimals and quantities of three."""
    return Instrument(index=0, symbol=symbol, price_exponent=-2, quantity_exponent=-3, tick=10)


def records_of(
    symbol: str, *, seconds: float = 1e9, flags: BookFlags = BookFlags.WHOLE, quotes: bool = False
) -> Iterator[Received]:
    """The records of so many seconds after the snapshot, which gets these flags. Nothing is lost,
    and there is no snapshot but the first."""
    instrument = instrument_of(symbol)
    seqs = count(1)
    last_id = end_ns = 0
    with gzip.open(capture_path(f"{symbol.lower()}_20240808.gz")) as lines:
        for line in lines:
            text, _, frame = line.partition(b" ")
            row = json.loads(frame)
            received_ns = int(text)
            if "lastUpdateId" in row:
                if not last_id:
                    last_id, end_ns = row["lastUpdateId"], received_ns + int(seconds * NS_PER_S)
                    yield _update(
                        instrument,
                        last_id,
                        row["bids"],
                        row["asks"],
                        flags,
                        next(seqs),
                        received_ns,
                    )
                continue
            if last_id and received_ns > end_ns:
                return
            stream, data = row["stream"], row["data"]
            if not last_id:
                continue
            if "@trade" in stream:
                yield _trade(instrument, data, next(seqs), received_ns)
            elif "@depth" in stream and data["u"] > last_id:
                none = BookFlags.NONE
                yield _update(
                    instrument, data["u"], data["b"], data["a"], none, next(seqs), received_ns
                )
            elif "@bookTicker" in stream and quotes:
                yield _quote(instrument, data, next(seqs), received_ns)


def _levels(instrument: Instrument, texts: list[list[str]]) -> list[tuple[int, int]]:
    decimals = -instrument.price_exponent, -instrument.quantity_exponent
    return [(whole(price, decimals[0]), whole(quantity, decimals[1])) for price, quantity in texts]


def _update(
    instrument: Instrument,
    update_id: int,
    bids: list[list[str]],
    asks: list[list[str]],
    flags: BookFlags,
    seq: int,
    received_ns: int,
) -> BookUpdate:
    packed_bids = pack_levels(sorted(_levels(instrument, bids), reverse=True))
    packed_asks = pack_levels(sorted(_levels(instrument, asks)))
    return BookUpdate(instrument, update_id, 0, packed_bids, packed_asks, flags, seq, received_ns)


def _trade(instrument: Instrument, data: dict[str, Any], seq: int, received_ns: int) -> Trade:
    ((price, quantity),) = _levels(instrument, [[data["p"], data["q"]]])
    return Trade(
        instrument,
        data["t"],
        data["T"],
        price,
        quantity,
        data["m"],
        seq=seq,
        received_ns=received_ns,
    )


def _quote(instrument: Instrument, data: dict[str, Any], seq: int, received_ns: int) -> Quote:
    (bid,) = _levels(instrument, [[data["b"], data["B"]]])
    (ask,) = _levels(instrument, [[data["a"], data["A"]]])
    return Quote(instrument, data["u"], data["T"], *bid, *ask, seq, received_ns)
