"""What services of the stage latency know before the first trade: asked of a stand-in for REST."""

import time
from typing import cast

from fanout.feed.market import Market, ask_market
from fanout.net.rest import RestClient
from fanout.protocol import Header
from fanout.venues import BinanceUsdm
from tests.bench.ingest_rivals.fanout_feed import Rest
from tests.bench.market import SYMBOLS


def venue_at(port: int) -> BinanceUsdm:
    """The venue's adapter, for a venue on loopback."""
    return BinanceUsdm(ws_url=f"ws://127.0.0.1:{port}", rest_url="http://127.0.0.1")


async def asked(venue: BinanceUsdm) -> tuple[RestClient, Market, Header]:
    """The stand-in, what it says of the market, and the header that is made of that."""
    rest = cast(RestClient, Rest())
    market = await ask_market(rest, venue, SYMBOLS)
    header = Header(
        epoch_ns=time.time_ns(),
        next_seq=1,
        venue=venue.name,
        instruments=market.instruments,
        references=market.references,
    )
    return rest, market, header
