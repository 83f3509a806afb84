"""`fanout book` and `fanout tail` of a channel with books, in terminals, pipes and files."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    START,
    BlockFlags,
    BookFlags,
    BookUpdate,
    DataKinds,
    frame,
    pack_levels,
)
from fanout.protocol.header import opening as header_frames
from tests.contracts.client import serving
from tests.contracts.records import book_frame
from tests.fanout.cli.processes import at_once, started
from tests.fanout.cli.terminals import ESCAPE, at_terminal
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_session import loss, quotes, status

WITH_BOOKS = replace(
    HEADER, next_seq=1, epoch_ns=7, data=DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE
)
OPENING = frame(START) + header_frames(WITH_BOOKS)
TIME = 1_791_382_992_838


def update(
    update_id: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: BookFlags = BookFlags.NONE,
) -> BookUpdate:
    return BookUpdate(BTC, update_id, TIME, pack_levels(bids), pack_levels(asks), flags)


WHOLE = update(
    5, [(8_309_160, 1_500), (8_309_150, 40)], [(8_309_170, 22), (8_309_200, 1)], BookFlags.WHOLE
)
JOINED = OPENING + book_frame(1, WHOLE, flags=BlockFlags.SNAPSHOT)
FOLLOWED = JOINED + book_frame(
    1, update(5, [(1, 1)], []), update(6, [(8_309_160, 1_000)], []), update(7, [(1, 1)], [])
)


@contextmanager
def service(stream: bytes = FOLLOWED) -> Iterator[str]:
    with serving(stream, silent=True) as script:
        yield script.url


def book(url: str, *options: str) -> tuple[int, list[dict[str, object]], str]:
    done = at_once("book", url, "btcusdt", "--json", *options)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_json_has_a_line_for_each_change_of_the_first_levels() -> None:
    with service() as url:
        code, lines, _ = book(url, "--levels", "1", "--limit", "2")
    assert code == 0
    assert lines[0] == {
        "symbol": "BTCUSDT",
        "is_known": True,
        "update_id": 5,
        "time_ms": TIME,
        "bids": [["83091.60", "1.500"]],
        "asks": [["83091.70", "0.022"]],
        "epoch_ns": 7,
    }
    assert (lines[1]["update_id"], lines[1]["bids"]) == (6, [["83091.60", "1.000"]])


def test_json_says_when_the_book_is_unknown() -> None:
    with service(FOLLOWED + loss(4, 9)) as url:
        code, lines, said = book(url, "--levels", "1", "--limit", "3")
    assert code == 0
    assert [each["is_known"] for each in lines] == [True, True, False]
    assert (lines[2]["bids"], lines[2]["asks"], lines[2]["update_id"]) == ([], [], 0)
    assert "6 records were lost: SLOW" in said


def test_json_has_no_line_between_the_parts_of_an_update() -> None:
    parts = (
        update(8, [(8_309_160, 0)], [], BookFlags.MORE),
        update(8, [(8_309_150, 41)], []),
    )
    with service(FOLLOWED + book_frame(4, parts[0]) + book_frame(5, parts[1])) as url:
        code, lines, _ = book(url, "--levels", "1", "--limit", "3")
    assert code == 0
    assert [each["is_known"] for each in lines] == [True, True, True]
    assert (lines[2]["update_id"], lines[2]["bids"]) == (8, [["83091.50", "0.041"]])


def test_a_channel_without_books_is_refused_in_a_line() -> None:
    bare = frame(START) + header_frames(replace(WITH_BOOKS, data=DataKinds.TRADES))
    with serving(bare, silent=True) as script:
        done = at_once("book", script.url, "BTCUSDT")
    assert done.returncode == 2
    assert done.stderr == (
        "fanout: channel perps has no books: start its service with --data book, or name another "
        "channel\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["book", "127.0.0.1:1", "BTCUSDT"], 2, "tcp://HOST:PORT"),
        (["book", "tcp://h:1", "BTCUSDT,ETHUSDT"], 2, "is not one symbol"),
        (["book", "tcp://h:1", "BTCUSDT", "--levels", "0"], 2, "--levels"),
        (["book", "tcp://h:1"], 2, "SYMBOL"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(words: list[str], code: int, said: str) -> None:
    done = at_once(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_symbol_that_is_not_served_and_a_service_that_is_away_are_errors() -> None:
    with service() as url:
        done = at_once("book", url, "XRPUSDT")
    assert (done.returncode, "XRPUSDT is not served here" in done.stderr) == (2, True)
    done = at_once("book", "tcp://127.0.0.1:1", "BTCUSDT", "--no-reconnect")
    assert (done.returncode, "refused" in done.stderr) == (1, True)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_number(number: int, code: int) -> None:
    with service() as url, started("book", url, "BTCUSDT", "--json") as process:
        assert process.line()
        assert process.end(number) == code
        assert "Traceback" not in "".join(process.said)


def test_without_a_terminal_the_ladder_is_printed_once() -> None:
    with service() as url:
        done = at_once("book", url, "BTCUSDT")
    assert (done.returncode, done.stderr) == (0, "")
    title, names, *rows = done.stdout.splitlines()
    assert title == "BTCUSDT  binance-usdm  update 5  14:23:12.838  spread 0.10"
    assert names.split() == ["sum", "quantity", "bid", "ask", "quantity", "sum"]
    assert [row.split() for row in rows[:2]] == [
        ["1.500", "1.500", "83091.60", "83091.70", "0.022", "0.022"],
        ["1.540", "0.040", "83091.50", "83092.00", "0.001", "0.023"],
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_terminal_shows_the_book_live_and_is_restored(number: int, code: int) -> None:
    with service() as url, at_terminal("book", url, "BTCUSDT") as terminal:
        terminal.until_shown("83091.60")
        terminal.until_shown("1.000")
        assert "update 7" in terminal.raw
        terminal.process.send_signal(number)
        assert terminal.wait() == code
    assert terminal.raw.count("\x1b[?1049h") == terminal.raw.count("\x1b[?1049l") == 1
    assert terminal.raw.endswith("\x1b[?25h\x1b[?1049l")


def test_a_terminal_shows_no_levels_of_an_unknown_book() -> None:
    with (
        service(FOLLOWED + loss(4, 9)) as url,
        at_terminal("book", url, "BTCUSDT") as terminal,
    ):
        terminal.until_shown("waiting for a whole book")
        last = terminal.raw.rpartition("\x1b[H")[2]
        assert "83091" not in last
        terminal.until_shown("6 records were lost: SLOW")


def test_a_ladder_fits_80_columns() -> None:
    with service() as url, at_terminal("book", url, "BTCUSDT", columns=80) as terminal:
        terminal.until_shown("update 7")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait()
    last = ESCAPE.sub("", terminal.raw.rpartition("\x1b[H")[2])
    assert "83091.60" in last
    assert max(len(line) for line in last.splitlines()) <= 80


# The same channel, printed.

PRINTED = JOINED + quotes(1, 2) + book_frame(3, update(6, [(8_309_160, 0)], [])) + status(4)


def tail(output: str, limit: int, stream: bytes = PRINTED) -> tuple[list[str], list[str]]:
    with service(stream) as url:
        done = at_once("tail", url, "--format", output, "--limit", str(limit))
    assert done.returncode == 0
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_tail_prints_quotes_and_updates() -> None:
    lines, _ = tail("text", 3)
    assert "whole book  before joining" in lines[0]
    assert [re.split(" +", line)[2] for line in lines] == ["book", "quote", "quote", "book"]
    lines, _ = tail("json", 3)
    assert [json.loads(each)["record"] for each in lines] == ["book", "quote", "quote", "book"]


def test_tail_prints_one_table_in_csv() -> None:
    book_first = JOINED + book_frame(1, update(6, [(8_309_160, 0)], [])) + quotes(2, 2)
    lines, others = tail("csv", 2, book_first)
    assert lines[0].startswith("seq,symbol,update_id,time_ms,bid_price,")
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "3"]
    assert len(others) == 2, "they do not count for the limit"
    assert all(" book " in each for each in others)
