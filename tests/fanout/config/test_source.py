"""A source asks a venue only for what its class offers."""

from typing import ClassVar

import pytest

from fanout.config import FeedConfig, SourceConfig
from fanout.errors import UsageError
from fanout.protocol import DataKinds
from fanout.service import open_venue
from fanout.venues import VENUES, BinanceUsdm


class Plain(BinanceUsdm):
    """A venue with one kind of trades, and without quotes, which notes what the operator chose."""

    name = "plain"
    kinds: ClassVar[DataKinds] = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
    streams: ClassVar[tuple[str, ...]] = ("trade",)
    is_strict = False

    def without_fallback(self) -> "Plain":
        self.is_strict = True
        return self


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VENUES, "plain", Plain)


@pytest.mark.parametrize(
    ("venue", "stream", "data", "says"),
    [
        ("plain", "auto", ("trades", "quotes"), "--data trades,quotes: plain has trades, book"),
        (
            "plain",
            "aggTrade",
            ("trades",),
            "--stream aggTrade: plain has no such trades: take trade, or auto",
        ),
        (
            "binance-spot",
            "aggTrade",
            ("book", "quotes"),
            "--stream aggTrade brings no quotes or book: take --stream trade, or auto",
        ),
        ("nyse", "auto", ("trades",), "unknown venue 'nyse': binance, "),
    ],
)
def test_what_a_venue_does_not_bring_is_refused_in_words(
    venue: str, stream: str, data: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        SourceConfig(assets=("A",), venue=venue, data=data, feed=FeedConfig(stream=stream))


@pytest.mark.parametrize(
    ("venue", "data", "says"),
    [
        ("binance", ("book",), "--checksums: binance sends none: leave it out, or take bitfinex"),
        ("bitfinex", ("trades", "orders"), "they are of order books by price: take --data book"),
    ],
)
def test_checksums_are_refused_where_there_are_none(
    venue: str, data: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        SourceConfig(assets=("A",), venue=venue, data=data, checksums=True)


@pytest.mark.parametrize(("stream", "is_strict"), [("auto", False), ("trade", True)])
async def test_a_venue_learns_whether_the_operator_chose_the_stream(
    stream: str, is_strict: bool
) -> None:
    config = SourceConfig(assets=("A",), venue="plain", feed=FeedConfig(stream=stream))
    async with open_venue(config) as venue:
        assert isinstance(venue, Plain)
        assert (venue.stream, venue.is_strict) == ("trade", is_strict)
