import pytest
from rich.console import Console

from fanout.analytics.nbbo.nbbos import BestPricesOf
from fanout.cli.analysing.nbbo.view import Once, tables
from tests.fanout.analytics.nbbo_venues import NOW, book, header, instrument

BTC = instrument()


def prices_of(*tops: tuple[int, int, int, int]) -> BestPricesOf:
    prices = BestPricesOf()
    for name, top in zip("ABC", tops, strict=False):
        stream = prices.stream()
        stream.meet(header(name, BTC))
        stream.take(book(BTC, top, NOW))
    return prices


def printed(prices: BestPricesOf, fitting: int | None = None) -> list[str]:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(tables(prices, fitting=fitting))
    return [each.rstrip() for each in capture.get().splitlines()]


def test_locked_and_crossed_prices_are_named() -> None:
    title = "BTC-USDT:spot  2 of 2 fresh  mid"
    locked = prices_of((1000, 1, 1001, 1), (1001, 1, 1002, 1))
    assert printed(locked)[0] == f"{title} 100.10  locked"
    crossed = prices_of((1000, 1, 1001, 1), (1003, 5, 1004, 1))
    assert printed(crossed)[0] == f"{title} 100.20  crossed by 0.2 for 1"


def test_where_the_venues_do_not_fit_the_prices_stand_in_the_title() -> None:
    prices = prices_of((1000, 1, 1003, 1), (1001, 1, 1004, 1))
    assert len(printed(prices, fitting=6)) == 6
    assert printed(prices, fitting=5) == [
        "BTC-USDT:spot  2 of 2 fresh  100.1 B / 100.3 A  mid 100.20  spread 0.2"
    ]


def test_a_side_that_is_missing_is_empty() -> None:
    title, _, best, row, _ = printed(prices_of((1000, 1, 0, 0)))
    assert title == "BTC-USDT:spot  1 of 1 fresh  no ask at any fresh venue"
    assert best.split() == ["best", "1", "100.0", "A"]
    assert row.split() == ["A", "1", "100.0", "0us", "fresh"]


def test_the_table_is_printed_no_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    view, prices = Once(), prices_of((1000, 1, 1003, 1))
    for _ in range(3):
        view.redraw(prices)
        assert view.is_done
    assert capsys.readouterr().out.count("BTC-USDT:spot") == 1
