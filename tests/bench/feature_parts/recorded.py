"""The recording of BTCUSDT as the records of a stream: the whole book, then updates, trades and
quotes, in the order in which they came."""

from collections.abc import Iterator
from itertools import count

from msgspec.structs import replace

from fanout.clients.outcomes import Received
from fanout.feed.normalise import to_quote, to_trade
from fanout.protocol import DataKinds
from fanout.venues.binance import BinanceUsdm
from fanout.venues.binance.depth import read_depth
from fanout.venues.binance.whole_book import parse_book
from fanout.venues.values import VenueQuote, VenueTrade
from tests.bench.codec_rivals.way import BTCUSDT
from tests.bench.market import BOOK_SYMBOL, every_line

_NS_PER_S = 1_000_000_000


def recorded(*, seconds: float, quotes: bool = False) -> list[Received]:
    """The records of so many seconds after the REST snapshot. Raises `Unavailable` as
    `market.frames` does."""
    records: list[Received] = []
    seqs, newest_ns, end_ns = count(1), 0, 0
    for received_ns, record in _records(quotes=quotes):
        # The recorder's clock was set back now and then. The order of the lines is the true one.
        newest_ns = max(newest_ns, received_ns)
        end_ns = end_ns or newest_ns + int(seconds * _NS_PER_S)
        if newest_ns > end_ns:
            break
        records.append(replace(record, seq=next(seqs), received_ns=newest_ns))
    return records


def _records(*, quotes: bool) -> Iterator[tuple[int, Received]]:
    venue, last_id = BinanceUsdm(data=DataKinds.TRADES | DataKinds.QUOTES), 0
    for received_ns, text in every_line(BOOK_SYMBOL):
        if text.startswith(b'{"lastUpdateId"'):
            if not last_id:
                book = parse_book(text, BTCUSDT)
                last_id = book.update_id
                yield received_ns, book
        elif last_id and b"@depth" in text[:40]:
            update = read_depth(text, BTCUSDT).update
            if update.update_id > last_id:
                yield received_ns, update
        elif last_id and (quotes or b"@bookTicker" not in text[:40]):
            match venue.parse(text):
                case VenueTrade() as trade:
                    yield received_ns, to_trade(trade, BTCUSDT)
                case VenueQuote() as quote:
                    yield received_ns, to_quote(quote, BTCUSDT)
