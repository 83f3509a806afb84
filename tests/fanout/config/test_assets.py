import pytest

from fanout.config.assets import parse_assets
from fanout.errors import UsageError


def test_symbols_come_comma_separated_repeated_and_in_any_case() -> None:
    assert parse_assets(["btcusdt,ETHUSDT", " solusdt "]) == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert parse_assets(["BTCUSDT,", "ETHUSDT"]) == ("BTCUSDT", "ETHUSDT")
    assert parse_assets(["币安人生usdt"]) == ("币安人生USDT",)
    assert parse_assets(["1000pepeusdt", "btcusdt_261225"]) == ("1000PEPEUSDT", "BTCUSDT_261225")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no symbol"),
        ([""], "no symbol"),
        ([",", " "], "no symbol"),
        (["BTCUSDT", "btcusdt"], "BTCUSDT is asked for twice"),
        ([",".join(f"S{i}USDT" for i in range(11))], "11 symbols"),
        (["BTC/USDT"], "cannot be a symbol"),
        (["BTC-USDT"], "cannot be a symbol"),
        (["A" * 65], "cannot be a symbol"),
        (["\x1b[31m"], "cannot be a symbol"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_assets(words)


def test_ten_symbols_are_accepted() -> None:
    assert len(parse_assets([f"S{i}USDT" for i in range(10)])) == 10
