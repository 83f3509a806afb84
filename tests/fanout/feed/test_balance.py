"""Streams of one instrument that are silent while its others go on."""

from fanout.feed.balance import EVIDENCE, SILENT_S, Balance
from fanout.protocol import DataKinds

NONE, QUOTES, BOOK = DataKinds.NONE, DataKinds.QUOTES, DataKinds.BOOK_BY_PRICE
ALL = DataKinds.TRADES | QUOTES | BOOK
LATE_S = SILENT_S + 1


def test_fills_and_quotes_without_changes_of_the_book_prove_silence() -> None:
    balance = Balance(ALL)
    balance.heard_book(0, 0.0)
    for second in range(EVIDENCE):
        assert balance.heard_quote(0, second) is NONE
    assert balance.heard_quote(0, LATE_S) is BOOK
    balance.restart(0, LATE_S)
    assert balance.heard_quote(0, LATE_S + 1) is NONE


def test_fills_without_quotes_prove_silence() -> None:
    balance = Balance(ALL)
    for second in range(40):
        balance.heard_book(0, second)
    heard = [balance.heard_fill(0, at_s) for at_s in (20, 20 + SILENT_S / 2, 20 + LATE_S)]
    assert heard == [NONE, NONE, QUOTES]
    assert len(heard) == EVIDENCE


def test_a_quiet_symbol_that_wakes_up_is_not_silent() -> None:
    balance = Balance(ALL)
    balance.heard_book(0, 0.0)
    for _ in range(2 * EVIDENCE):  # before the changes that belong to them
        assert balance.heard_quote(0, 1_000.0) is NONE
        assert balance.heard_fill(0, 1_000.1) is NONE


def test_a_single_fill_after_a_long_silence_proves_nothing() -> None:
    balance = Balance(ALL)
    balance.heard_book(0, 0.0)
    assert balance.heard_fill(0, 1_000.0) is NONE
    balance.heard_book(0, 1_000.1)
    balance.heard_quote(0, 1_000.1)
    assert balance.heard_fill(0, 1_001.0) is NONE


def test_kinds_that_are_not_taken_are_not_missed() -> None:
    balance = Balance(DataKinds.TRADES | BOOK)
    for second in range(100):
        balance.heard_book(0, second)
        assert balance.heard_fill(0, second) is NONE
    balance = Balance(DataKinds.TRADES | QUOTES)
    for second in range(100):
        assert balance.heard_quote(0, second) is NONE
        assert balance.heard_fill(0, second) is NONE


def test_instruments_are_apart() -> None:
    balance = Balance(ALL)
    balance.heard_book(0, 0.0)
    for second in range(30):
        balance.heard_book(1, second)
        assert balance.heard_quote(1, second) is NONE
    assert balance.heard_quote(0, 30.0) is NONE
