import pytest

from fanout.config.assets import check_assets, is_pattern, parse_assets, typed_symbols
from fanout.errors import UsageError


def test_symbols_may_be_comma_separated_or_repeated_and_keep_their_spelling() -> None:
    def parsed(*words: str) -> tuple[str, ...]:
        return parse_assets(words, venue="binance")["binance"]

    assert parsed("btcusdt,ETHUSDT", " solusdt ") == ("btcusdt", "ETHUSDT", "solusdt")
    assert parsed("BTCUSDT,", "ETHUSDT") == ("BTCUSDT", "ETHUSDT")
    assert parsed("币安人生usdt") == ("币安人生usdt",)
    assert parsed("1000PEPEUSDT", "BTCUSDT_261225") == ("1000PEPEUSDT", "BTCUSDT_261225")
    assert parsed("BTC-USD,BTC-PERPETUAL,tBTCUSD") == ("BTC-USD", "BTC-PERPETUAL", "tBTCUSD")


def test_a_symbol_may_name_its_venue_and_otherwise_has_the_default_venue() -> None:
    words = ["BTCUSDT,binance-spot:*BTC", "binance:ETHUSDT", "sim:tBTCF0:USTF0"]
    assert parse_assets(words, venue="binance") == {
        "binance": ("BTCUSDT", "ETHUSDT"),
        "binance-spot": ("*BTC",),
        "sim": ("tBTCF0:USTF0",),
    }


def test_a_colon_behind_no_venues_name_belongs_to_the_symbol() -> None:
    words = ["tTESTBTC:TESTUSD", ":A", "sim:"]
    assert parse_assets(words, venue="binance") == {
        "binance": ("tTESTBTC:TESTUSD", ":A"),
        "sim": ("",),
    }


@pytest.mark.parametrize("words", [[], [""], [",", " "]])
def test_an_empty_list_of_symbols_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="no symbol"):
        parse_assets(words, venue="binance")


@pytest.mark.parametrize(
    ("assets", "said"),
    [
        ((), "no symbol"),
        (("BTCUSDT", "ETHUSDT", "BTCUSDT"), "BTCUSDT is asked for twice"),
        (tuple(f"S{i}USDT" for i in range(1_025)), "1,025 symbols exceed the 1,024 of a channel"),
        (("",), "cannot be a symbol"),
        (("A" * 65,), "cannot be a symbol"),
        (("\x1b[31m",), "cannot be a symbol"),
        (("\udc80",), "cannot be a symbol"),
    ],
)
def test_impossible_assets_are_refused(assets: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_assets(assets)


def test_as_many_symbols_as_a_channel_holds_are_accepted() -> None:
    check_assets(tuple(f"S{i}USDT" for i in range(1_024)))


@pytest.mark.parametrize("asset", ["all", "*USDT", "BTC*", "BTCUSD?", "[EB]*T", "*"])
def test_all_and_wildcards_are_patterns(asset: str) -> None:
    assert is_pattern(asset)


@pytest.mark.parametrize("asset", ["BTCUSDT", "ALL", "BTC-USD", "XBT/USD", "tBTCF0:USTF0"])
def test_a_symbol_is_not_a_pattern(asset: str) -> None:
    assert not is_pattern(asset)


def test_lower_case_symbols_are_converted_to_upper_case() -> None:
    words = ["btcusdt,ETHUSDT", "tBTCUSD", "btc-usd"]
    assert typed_symbols(words) == ("BTCUSDT", "ETHUSDT", "tBTCUSD", "BTC-USD")
