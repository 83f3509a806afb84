import pytest

from fanout.analytics.nbbo.assets import Asset, AssetError, AssetName, parse_asset, parse_type
from fanout.protocol.constants import InstrumentType
from tests.fanout.analytics.nbbo_venues import BTC_USDT, instrument

PERPETUAL = InstrumentType.LINEAR_PERPETUAL


def test_an_asset_is_base_quote_and_type() -> None:
    assert Asset.of(instrument()) == BTC_USDT
    assert str(BTC_USDT) == "BTC-USDT:spot"
    assert str(Asset("BTC", "USD", InstrumentType.INVERSE_PERPETUAL)) == "BTC-USD:inverse"


@pytest.mark.parametrize(
    "kind",
    [
        InstrumentType.FUTURE,
        InstrumentType.INVERSE_FUTURE,
        InstrumentType.OPTION,
        InstrumentType.OTHER,
    ],
)
def test_what_has_an_expiry_or_no_known_type_is_no_asset(kind: InstrumentType) -> None:
    assert Asset.of(instrument(type=kind)) is None


@pytest.mark.parametrize("missing", ["base", "quote"])
def test_an_instrument_without_the_names_of_its_assets_is_none(missing: str) -> None:
    assert Asset.of(instrument(**{missing: ""})) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BTC-USDT", AssetName("BTC", "USDT")),
        ("btc-usdt", AssetName("BTC", "USDT")),
        ("BTC-USDT:perpetual", AssetName("BTC", "USDT", PERPETUAL)),
        ("1000SHIB-USDT:spot", AssetName("1000SHIB", "USDT", InstrumentType.SPOT)),
        ("kBTC-USD:inverse", AssetName("kBTC", "USD", InstrumentType.INVERSE_PERPETUAL)),
        ("A-B-USD", AssetName("A-B", "USD")),
    ],
)
def test_an_asset_is_read_as_it_is_typed(text: str, name: AssetName) -> None:
    assert parse_asset(text) == name
    assert parse_asset(str(name)) == name


@pytest.mark.parametrize("text", ["", "BTCUSDT", "-USDT", "BTC-", "BTC-U\x1bSDT", ":spot"])
def test_a_text_that_names_no_asset_is_refused(text: str) -> None:
    with pytest.raises(AssetError, match="is no asset: give BASE-QUOTE such as BTC-USDT"):
        parse_asset(text)


@pytest.mark.parametrize("word", ["", "future", "Spot", "perp"])
def test_a_type_that_cannot_be_compared_is_refused(word: str) -> None:
    with pytest.raises(AssetError, match=r"is no type .*: spot, perpetual, inverse"):
        parse_asset(f"BTC-USDT:{word}")
    with pytest.raises(AssetError, match="is no type"):
        parse_type(word)


def test_a_name_without_a_type_means_every_type() -> None:
    perpetual = Asset("BTC", "USDT", PERPETUAL)
    assert all(parse_asset("BTC-USDT").fits(each) for each in (BTC_USDT, perpetual))
    assert parse_asset("BTC-USDT:perpetual").fits(perpetual)
    assert not parse_asset("BTC-USDT:perpetual").fits(BTC_USDT)
    assert not parse_asset("BTC-USD").fits(BTC_USDT)
