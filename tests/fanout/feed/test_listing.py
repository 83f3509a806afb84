"""Which symbols patterns mean, and which connection a symbol is on."""

from collections import Counter

import pytest

from fanout.config import FeedConfig
from fanout.errors import ConfigError
from fanout.feed.listing import check_connections, is_pattern, resolve, shard_count, shard_of
from fanout.protocol.constants import MAX_INSTRUMENTS
from fanout.venues import BinanceUsdm
from fanout.venues.values import Limits, Listed, Listing

SYMBOLS = [f"A{number:04}USDT" for number in range(800)]


def listing(*symbols: str, closed: tuple[str, ...] = ()) -> Listing:
    rows = {
        symbol: Listed(
            symbol=symbol,
            price_exponent=-2,
            quantity_exponent=-3,
            time_exponent=-3,
            fault="does not trade" if symbol in closed else None,
        )
        for symbol in symbols
    }
    return Listing("binance-usdm", rows)


LISTING = listing("BTCUSDT", "ETHUSDT", "BTCUSDC", "OLDUSDT", closed=("OLDUSDT",))


@pytest.mark.parametrize(
    ("patterns", "symbols"),
    [
        (("all",), ("BTCUSDT", "ETHUSDT", "BTCUSDC")),
        (("*USDT",), ("BTCUSDT", "ETHUSDT")),
        (("ETH*", "BTC*"), ("ETHUSDT", "BTCUSDT", "BTCUSDC")),
        (("BTCUSD?",), ("BTCUSDT", "BTCUSDC")),
        (("BTC[U]SDT", "BTCUSDT", "*USDT"), ("BTCUSDT", "ETHUSDT")),
        (("OLDUSDT", "NOSUCH"), ("OLDUSDT", "NOSUCH")),
        (("[B]*",), ("BTCUSDT", "BTCUSDC")),
    ],
)
def test_patterns_mean_symbols_that_trade_each_once(
    patterns: tuple[str, ...], symbols: tuple[str, ...]
) -> None:
    assert resolve(patterns, LISTING) == symbols


@pytest.mark.parametrize("word", ["BTCUSDT", "BTC-PERPETUAL", "tBTCUSD", "ALL"])
def test_a_symbol_is_no_pattern(word: str) -> None:
    assert not is_pattern(word)


def test_a_pattern_that_matches_nothing_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^\*EUR matches none of the 3 symbols .* check the"):
        resolve(("BTCUSDT", "*EUR"), LISTING)


def test_a_pattern_that_matches_more_than_2_000_is_refused_in_one_line() -> None:
    many = listing(*(f"S{number}" for number in range(2_001)))
    with pytest.raises(ConfigError, match=r"^all matches 2,001 symbols .* narrower pattern$"):
        resolve(("all",), many)


def test_more_symbols_than_a_channel_holds_are_refused_in_one_line() -> None:
    most = MAX_INSTRUMENTS
    many = listing(*(f"S{number}" for number in range(most + 1)))
    said = rf"^{most + 1:,} symbols exceed the {most:,} .* \[\[source\]\]"
    with pytest.raises(ConfigError, match=said):
        resolve(("S*",), many)
    assert len(resolve(tuple(list(many.rows)[:most]), many)) == most


def test_symbols_are_spread_evenly() -> None:
    sizes = Counter(shard_of(each, 4) for each in SYMBOLS)
    assert sorted(sizes) == [0, 1, 2, 3]
    assert max(sizes.values()) < 1.25 * 200


def test_a_symbol_that_is_listed_or_delisted_moves_no_other() -> None:
    before = {each: shard_of(each, 4) for each in SYMBOLS}
    after = {each: shard_of(each, 4) for each in SYMBOLS[::2]}
    assert all(before[symbol] == shard for symbol, shard in after.items())


def test_one_more_connection_takes_from_the_others_and_moves_nothing_else() -> None:
    moved = [each for each in SYMBOLS if shard_of(each, 4) != shard_of(each, 5)]
    assert {shard_of(each, 5) for each in moved} == {4}


@pytest.mark.parametrize(
    ("count", "per_connection", "limit", "expected"),
    [(2, 200, 1_024, 1), (200, 200, 1_024, 1), (201, 200, 1_024, 2), (800, 200, 1_024, 4)],
)
def test_there_are_as_many_connections_as_the_average_asks_for(
    count: int, per_connection: int, limit: int, expected: int
) -> None:
    limits = Limits(subscriptions=limit)
    assert shard_count(SYMBOLS[:count], per_connection, limits) == expected


def test_no_connection_has_more_than_the_venue_allows() -> None:
    count = shard_count(SYMBOLS, 200, Limits(subscriptions=25))
    assert max(Counter(shard_of(each, count) for each in SYMBOLS).values()) <= 25


@pytest.mark.parametrize(("connections", "most"), [(1, 5), (2, 9), (4, 17), (4, None)])
def test_one_connection_of_those_that_a_venue_allows_stays_free(
    connections: int, most: int | None
) -> None:
    venue, config = BinanceUsdm(), FeedConfig(connections=connections)
    venue.limits = Limits(connections=most)
    check_connections(SYMBOLS, venue, config)
    if most is not None:
        venue.limits = Limits(connections=most - 1)
        said = rf"^connections needed: {most - 1}, and one .* address {most - 1}: .*fewer --conn"
        with pytest.raises(ConfigError, match=said):
            check_connections(SYMBOLS, venue, config)
