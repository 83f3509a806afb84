"""Quotes of one feed: which are newer, by ids that may begin anew, one connection at a time."""

import pytest

from fanout.feed.quotes import BACK_S, Quotes
from fanout.feed.roster import NO_REFERENCE, Roster
from fanout.protocol.errors import NotRepresentableError
from fanout.stats.anomalies import Anomalies
from fanout.venues.values import VenueQuote
from tests.protocol.golden import BTC


class Two:
    """Quotes that two connections bring."""

    def __init__(self) -> None:
        self.anomalies = Anomalies(clock=lambda: 0.0)
        self.quotes = Quotes(Roster([BTC], [NO_REFERENCE]), self.anomalies)
        self.open = {"a", "b"}
        self.now_s = 0.0

    def take(
        self,
        connection: str,
        update_id: int,
        *,
        resets: bool = False,
        time: int = 0,
        symbol: str = BTC.symbol,
        price: str = "1.00",
    ) -> int | None:
        """The id that is published."""
        item = VenueQuote(symbol, update_id, time, price, "2", "3.00", "4", resets=resets)
        quote = self.quotes.take(item, self.now_s, connection, self.open)  # type: ignore[arg-type]
        return None if quote is None else quote.update_id

    @property
    def old(self) -> int:
        return self.quotes.tally(0).old


def test_the_first_of_two_connections_to_bring_a_quote_counts() -> None:
    two = Two()
    assert [two.take("a", 7), two.take("b", 7), two.take("b", 8), two.take("a", 8)] == [
        7,
        None,
        8,
        None,
    ]
    assert two.old == 2


def test_ids_begin_anew_once_though_another_connection_goes_on_with_the_old_ones() -> None:
    two = Two()
    assert two.take("a", 5_000) == 5_000
    assert two.take("a", 1, resets=True) == 1
    assert two.take("b", 5_001) is None
    assert two.take("a", 2) == 2
    assert two.take("b", 5_002) is None
    assert two.take("b", 1, resets=True) is None, "the other one brought it"
    assert [two.take("b", 2), two.take("b", 3), two.take("a", 3), two.take("a", 4)] == [
        None,
        3,
        None,
        4,
    ]
    assert two.take("b", 1, resets=True) == 1, "the venue began anew once more"
    assert two.take("a", 5) is None
    assert two.take("a", 1, resets=True) is None
    assert two.take("a", 2) == 2


def test_a_new_connection_does_not_go_on_with_the_old_ids() -> None:
    two = Two()
    two.take("a", 5_000)
    two.take("a", 1, resets=True)
    two.open = {"b", "c"}
    assert two.take("b", 5_001) is None
    assert two.take("c", 2) == 2


def test_the_only_connection_that_is_left_is_believed() -> None:
    two = Two()
    two.take("a", 1, resets=True)
    two.open = {"b"}
    assert two.take("b", 5_001) == 5_001
    two.open = {"b", "c"}
    assert two.take("b", 5_002) == 5_002


def test_a_connection_that_has_ended_is_not_kept_among_those_with_the_old_ids() -> None:
    two = Two()
    two.take("a", 5_000)
    two.take("a", 1, resets=True)
    assert two.quotes.tally(0).behind == {"b"}
    two.open = {"a", "c"}
    assert two.take("a", 2) == 2
    assert two.quotes.tally(0).behind == set()


def test_ids_that_go_back_without_a_word_are_followed_after_a_while() -> None:
    two = Two()
    assert two.take("a", 5_000, time=10) == 5_000
    for second in range(1, 60):
        two.now_s = second
        assert two.take("b", 4_000 + second, time=9) is None, "it only lags behind"
        assert two.take("a", 5_000, time=11 + second) is None, "it is the same quote"
    two.now_s = 60.0
    assert two.take("a", 3, time=80) is None
    two.now_s += BACK_S
    assert two.take("a", 5_001, time=81) == 5_001, "they did not go back"
    two.now_s += BACK_S
    assert two.take("a", 4, time=82) is None
    two.now_s += BACK_S
    assert two.take("a", 5, time=83) is None
    two.now_s += 1
    assert two.take("a", 6, time=84) == 6


def test_nothing_is_taken_of_an_instrument_that_is_delisted() -> None:
    two = Two()
    two.take("a", 7)
    two.quotes.drop(BTC.index)
    assert [two.take("a", 8), two.take("a", 1, resets=True)] == [None, None]
    two.quotes.restart((BTC.index,))
    assert two.take("a", 1) == 1


def test_what_is_no_quote_of_the_feed_is_an_anomaly() -> None:
    two = Two()
    assert two.take("a", 1, symbol="XUSDT") is None
    with pytest.raises(NotRepresentableError):
        two.take("a", 1, price="1.001")
    assert two.anomalies.counts == {
        "quote of a symbol that was not subscribed": 1,
        "quote refused": 1,
    }
    assert two.take("a", 1) == 1, "the one before did not count"
