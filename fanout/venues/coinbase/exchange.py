"""The venue of the Exchange feed. Pure.

Trade ids of a product are consecutive, and the venue repeats the newest one each second. So every
missing trade shows within seconds, and REST has it: all trades of a product, by id.

Changes of a book have no number. Losses among them do not show, unless the book becomes crossed.

Limits: 8 requests a second from an address, and 10 subscriptions of a product and channel.
https://docs.cdp.coinbase.com/exchange/websocket-feed/rate-limits
"""

from collections.abc import Mapping

from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS
from fanout.venues.coinbase import records, rows
from fanout.venues.coinbase.exchange_dialogue import ExchangeDialogue
from fanout.venues.coinbase.venue import CoinbaseVenue
from fanout.venues.values import Continuity, History, Listing, Request, VenueTrade


class Coinbase(CoinbaseVenue):
    """The Exchange."""

    title = "Coinbase Exchange"
    name = "coinbase"
    short_name = "coinbase"
    continuity = Continuity.IDS
    ws_default = "wss://ws-feed.exchange.coinbase.com"
    rest_default = "https://api.exchange.coinbase.com"
    message_bytes = 8 * 1024 * 1024
    time_path = "/time"
    reach = "all trades of a product"

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> ExchangeDialogue:
        return ExchangeDialogue(symbols, self.data, self.limits, units)

    def listing_requests(self) -> tuple[Request, ...]:
        return (Request(path="/products"),)

    def parse_listing(self, *bodies: bytes) -> Listing:
        (body,) = bodies
        return rows.parse_exchange(body, self.name)

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.exchange_newest_request(symbol)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_exchange(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return records.exchange_history_request(symbol, first_id)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_exchange_history(body, symbol, first_id)
