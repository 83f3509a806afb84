"""The start: what one odd row of the venue's may prevent, which is nothing for the others."""

import logging

import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.errors import ConfigError, VenueMessageError
from fanout.feed.market import ask_market
from fanout.venues import BinanceUsdm
from tests.fanout.feed.running import running_feed
from tests.stand.loopback import Exchange

BTC, ETH = "BTCUSDT", "ETHUSDT"


async def test_an_unreadable_row_of_an_unused_symbol_does_not_prevent_the_start(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    exchange.odd_rows = [{**exchange._listed(BTC), "symbol": "ODDUSDT", "contractType": None}]
    async with running_feed(exchange, patterns=(BTC,)) as running:
        assert [each.symbol for each in running.publisher.header.instruments] == [BTC]
        assert running.feed.stats().anomalies == {"odd row in the listing": 1}


async def test_with_patterns_an_odd_row_is_named_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC)
    exchange.odd_rows = [{"symbol": "ODDUSDT"}]
    async with running_feed(exchange, patterns=("*USDT",)):
        assert "1 rows of the listing cannot be read and are left out: ODDUSDT" in caplog.text


async def test_an_unreadable_row_of_a_configured_symbol_is_named(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.odd_rows = [{"symbol": "ODDUSDT"}]
    with pytest.raises(VenueMessageError, match="ODDUSDT"):
        await ask_market(exchange, BinanceUsdm(), (BTC, "ODDUSDT"))  # type: ignore[arg-type]


async def test_symbols_are_spelled_as_the_venue_does(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC, ETH)
    market = await ask_market(exchange, BinanceUsdm(), ("eth*", "btcusdt"))  # type: ignore[arg-type]
    assert [each.symbol for each in market.instruments] == [ETH, BTC]


class Sparing(BinanceUsdm):
    """A venue whose REST limit of a minute is small."""

    limits = replace(BinanceUsdm.limits, weight=100)


@pytest.mark.parametrize(("venue", "asks"), [(BinanceUsdm(), True), (Sparing(), False)])
async def test_references_that_take_more_than_a_minute_of_rest_follow_later(
    autojump_clock: MockClock, venue: BinanceUsdm, asks: bool
) -> None:
    symbols = [f"S{number}USDT" for number in range(10)]
    exchange = Exchange(*symbols)
    for symbol in symbols:
        exchange.trade(symbol)
    market = await ask_market(exchange, venue, ("*",))  # type: ignore[arg-type]
    assert (len(market.newest), len(market.pending)) == ((10, 0) if asks else (0, 10))


async def test_a_symbol_that_is_not_listed_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError, match="did you mean BTCUSDT"):
        await ask_market(Exchange(BTC), BinanceUsdm(), ("BTCUSD",))  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [{"qty": "0.000"}, {"qty": None}, {"price": "61800.305"}])
async def test_an_unrepresentable_recent_trade_is_left_out_of_the_reference_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, odd: dict[str, object]
) -> None:
    caplog.set_level(logging.WARNING)
    exchange = Exchange(BTC, ETH)
    for symbol in (BTC, ETH):
        exchange.trade(symbol, "MARKET", "MARKET")
    newest = exchange.rows[ETH][-1].trade_id
    exchange.odd_trades[ETH] = [{"id": newest + 1, **odd}]
    async with running_feed(exchange) as running:
        header = running.publisher.header
        assert [each.symbol for each in header.instruments] == [BTC, ETH]
        assert header.references[1].trade_id == newest
        assert header.references[1].quantity == 500
        assert running.feed.stats().anomalies == {"recent trades left out": 1}
    assert "ETHUSDT: 1 of the recent trades fit no field" in caplog.text


async def test_one_invalid_answer_does_not_prevent_the_start(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC, ETH)
    for symbol in (BTC, ETH):
        exchange.trade(symbol)
    exchange.odd_trades[ETH] = [{"id": 1}]  # out of order
    async with running_feed(exchange) as running:
        header = running.publisher.header
        assert (header.references[0].trade_id > 0, header.references[1].trade_id) == (True, 0)
    assert "ETHUSDT: starting without a reference" in caplog.text


async def test_invalid_answers_for_all_symbols_end_the_start(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    exchange.trade(BTC)
    exchange.odd_trades[BTC] = [{"id": 1}]
    with pytest.raises(VenueMessageError, match="recent trades are nonsense"):
        await ask_market(exchange, BinanceUsdm(), (BTC,))  # type: ignore[arg-type]
