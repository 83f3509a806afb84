"""The venue of Advanced Trade. Pure.

The messages of a connection are numbered, so each loss shows, but not which trades it took. Ids of
trades ascend. They may be the Exchange's, which are consecutive; the documentation promises
neither. REST has the newest trades.

Limits of an address without an account: 8 new connections a second, and 8 messages a second.
https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-rate-limits
"""

from collections.abc import Mapping

from fanout.protocol.instrument import Instrument
from fanout.venues.base import NO_UNITS
from fanout.venues.coinbase import records, rows
from fanout.venues.coinbase.advanced_dialogue import AdvancedDialogue
from fanout.venues.coinbase.venue import CoinbaseVenue
from fanout.venues.values import Continuity, History, Listing, Request, VenueTrade


class CoinbaseAdvanced(CoinbaseVenue):
    """Advanced Trade: spot and futures."""

    title = "Coinbase Advanced Trade"
    name = "coinbase-advanced"
    short_name = "coinbase-advanced"
    continuity = Continuity.SEQUENCE
    ws_default = "wss://advanced-trade-ws.coinbase.com"
    rest_default = "https://api.coinbase.com"
    message_bytes = 16 * 1024 * 1024
    """A level of a snapshot has some 140 bytes."""
    time_path = "/api/v3/brokerage/time"
    reach = f"the last {records.PAGE:,} trades"

    def dialogue(
        self, symbols: tuple[str, ...], units: Mapping[str, Instrument] = NO_UNITS
    ) -> AdvancedDialogue:
        return AdvancedDialogue(symbols, self.data, self.limits, units)

    def listing_requests(self) -> tuple[Request, ...]:
        return rows.advanced_requests()

    def more_listing(self, request: Request, body: bytes) -> tuple[Request, ...]:
        return rows.next_page(request, body)

    def parse_listing(self, *bodies: bytes) -> Listing:
        return rows.parse_advanced(bodies, self.name)

    def recent_trades_request(self, symbol: str, since: int | None = None) -> Request:
        return records.advanced_newest_request(symbol)

    def parse_recent_trades(self, body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
        return records.parse_advanced(body, symbol)

    def history_request(self, symbol: str, first_id: int) -> Request:
        return self.recent_trades_request(symbol)

    def parse_history(self, body: bytes, symbol: str, first_id: int) -> History | None:
        return records.parse_advanced_history(body, symbol)
