"""`fanout analytics nbbo`: services that send what a test says, and the simulator's."""

import json
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.cli.analysing.nbbo import watch as nbbo_watch
from fanout.protocol import START, DataKinds, EndReason, frame
from fanout.protocol.constants import InstrumentType
from fanout.protocol.events import encode_event
from fanout.protocol.records import End
from tests.fanout.cli.nbbo_services import (
    NS,
    Closing,
    Stream,
    header,
    quiet,
    quote,
    services,
    whole,
)
from tests.fanout.cli.processes import at_once, started
from tests.fanout.cli.terminals import ESCAPE, at_terminal
from tests.protocol.golden import BTC
from tests.protocol.test_session import heartbeat, loss

CALM = ("--max-stale", "10m")
NO_QUOTES = DataKinds.TRADES

A_TOP = (8_310_000, 2_000, 8_320_000, 1_000)
ONE = header("one") + whole(A_TOP)
TWO = header("two") + whole((8_311_000, 1_000, 8_330_000, 5_000))


def end(reason: EndReason = EndReason.SHUTDOWN, retry_ms: int | None = 10) -> bytes:
    return frame(encode_event(End(reason=reason, last_seq=1, retry_ms=retry_ms)))


Channels = Stream | Mapping[str, Stream]


def nbbo(*words: str) -> tuple[int, list[dict[str, Any]], str]:
    done = at_once("analytics", "nbbo", *words, "--json")
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def lines_of(*channels: Channels, count: int, words: tuple[str, ...] = CALM) -> list[Any]:
    with services(*channels) as at:
        code, lines, said = nbbo("BTC-USDT", *at, *words, "--limit", str(count))
    assert code == 0, said
    return lines


def test_json_has_the_best_bid_and_ask_of_all_services() -> None:
    assert lines_of(ONE, TWO, count=2)[-1] == {
        "time_ns": NS,
        "asset": "BTC-USDT:perpetual",
        "base": "BTC",
        "quote": "USDT",
        "type": "LINEAR_PERPETUAL",
        "bid": "83110.00",
        "bid_quantity": "1.000",
        "bid_venue": "two",
        "ask": "83200.00",
        "ask_quantity": "1.000",
        "ask_venue": "one",
        "mid": "83155.000",
        "spread": "90.00",
        "locked": False,
        "crossed_by": "0.00",
        "crossed_quantity": "0.000",
        "fresh": 2,
        "venues": {"one": "fresh", "two": "fresh"},
        "why": "",
    }


def test_crossed_venues_are_told_with_by_how_much_and_for_how_much() -> None:
    two = header("two") + whole((8_322_500, 1_500, 8_330_000, 5_000))
    line = lines_of(ONE, two, count=2)[-1]
    assert (line["crossed_by"], line["crossed_quantity"]) == ("25.00", "1.000")
    assert (line["spread"], line["locked"]) == ("-25.00", False)


def test_a_venue_becomes_stale_although_nothing_comes_from_anywhere() -> None:
    lines = lines_of(ONE, count=2, words=("--max-stale", "50ms"))
    assert lines[0]["bid"] == "83100.00"
    assert (lines[1]["bid"], lines[1]["mid"], lines[1]["spread"]) == (None, None, None)
    assert lines[1]["why"] == "no venue is fresh: one stale"
    assert lines[1]["locked"] is lines[1]["crossed_by"] is None
    assert lines[1]["time_ns"] > NS + 50_000_000


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (loss(2, 9), "lost"),
        (whole((8_320_000, 1, 8_320_000, 1), seq=2), "crossed"),
        (end(), "disconnected"),
    ],
)
def test_a_venue_that_does_not_count_any_more_is_told_with_the_reason(
    more: bytes, why: str
) -> None:
    line = lines_of(ONE + more, count=2)[1]
    assert (line["bid"], line["fresh"], line["venues"]) == (None, 0, {"one": why})


def test_a_book_that_was_there_before_joining_has_no_time_yet() -> None:
    stream = header("one") + whole(A_TOP, seq=0) + whole(A_TOP)
    first, second = lines_of(stream, count=2)
    assert (first["venues"], first["bid"]) == ({"one": "no update yet"}, None)
    assert second["venues"] == {"one": "fresh"}


def test_ties_go_by_the_order_of_the_addresses() -> None:
    two = header("two") + whole(A_TOP)
    assert lines_of(ONE, two, count=2)[-1]["bid_venue"] == "one"
    assert lines_of(two, ONE, count=2)[-1]["bid_venue"] == "two"


def test_all_channels_of_a_service_count_and_books_come_before_quotes() -> None:
    quotes = header("one", channel="quotes", data=DataKinds.QUOTES, channels=("books", "trades"))
    service = {
        "quotes": quotes + quote((1, 1, 2, 1)),
        "trades": quiet("one", channel="trades", data=NO_QUOTES),
        "books": header("one", channel="books") + whole(A_TOP),
    }
    (line,) = lines_of(service, count=1)
    assert (line["bid"], line["venues"]) == ("83100.00", {"one": "fresh"})


def test_a_channel_that_is_named_counts_alone() -> None:
    service = {
        "quotes": header("one", channel="quotes", data=DataKinds.QUOTES, channels=("books",))
        + quote((8_000_000, 1, 8_400_000, 1)),
        "books": header("one", channel="books") + whole(A_TOP),
    }
    with services(service) as (at, url):
        code, (line,), _ = nbbo("BTC-USDT", at, f"{url}/quotes", "--limit", "1", *CALM)
    assert (code, line["bid"]) == (0, "80000.00")


def test_an_asset_without_a_type_is_every_type_of_it() -> None:
    spot = replace(BTC, type=InstrumentType.SPOT)
    other = header("spot", spot) + whole(A_TOP)
    assert {each["asset"] for each in lines_of(ONE, other, count=2)} == {
        "BTC-USDT:perpetual",
        "BTC-USDT:spot",
    }
    for words in (("BTC-USDT", "--type", "spot"), ("btc-usdt:spot",)):
        with services(ONE, other) as at:
            code, (line,), _ = nbbo(*words, *at, *CALM, "--limit", "1")
        assert (code, line["asset"]) == (0, "BTC-USDT:spot")


TWICE = (BTC, replace(BTC, index=1, symbol="BTC_USDT"))


def test_a_venue_with_two_instruments_of_an_asset_wants_a_choice() -> None:
    stream = header("one", *TWICE) + whole(A_TOP)
    with services(stream) as at:
        code, lines, said = nbbo("BTC-USDT", *at, "--limit", "1")
        assert (code, lines) == (2, [])
        assert said == (
            "fanout: one has BTC-USDT:perpetual twice, BTCUSDT and BTC_USDT: choose one by its "
            "symbol, or one of the channels\n"
        )
        code, (line,), _ = nbbo("BTC-USDT", *at, "--symbol", "btcusdt", "--limit", "1", *CALM)
    assert (code, line["bid"]) == (0, "83100.00")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (ONE, "ETH-USDT is not served here; there is BTC-USDT:perpetual"),
        (quiet("one", replace(BTC, base="")), "there is no asset that can be compared"),
        (
            quiet("one", replace(BTC, base="ETH"), data=NO_QUOTES),
            "ETH-USDT has trades only: start its service with --data book",
        ),
        (
            quiet(
                "one",
                *(replace(BTC, index=n, symbol=f"C{n:02}", base=f"C{n:02}") for n in range(20)),
            ),
            "C11-USDT:perpetual and 8 more",
        ),
    ],
)
def test_an_asset_that_is_not_there_is_refused_with_those_that_are(
    stream: bytes, said: str
) -> None:
    with services(stream) as at:
        done = at_once("analytics", "nbbo", "ETH-USDT", *at)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_symbol_that_no_channel_has_is_refused() -> None:
    with services(ONE) as at:
        done = at_once("analytics", "nbbo", "BTC-USDT", *at, "--symbol", "XBT")
    assert (done.returncode, "has none of the symbols of --symbol" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["BTCUSDT"], 2, "'BTCUSDT' is no asset: give BASE-QUOTE such as BTC-USDT"),
        (["BTC-USDT:future"], 2, "'future' is no type"),
        (["BTC-USDT", "--type", "x"], 2, "'x' is no type"),
        (["BTC-USDT", "--max-stale", "0ms"], 2, "--max-stale: '0ms' is not a duration"),
        (["BTC-USDT", "--max-stale", "5"], 2, "--max-stale: '5' is not a duration: give 500ms"),
        (["BTC-USDT", "--at", "127.0.0.1:1"], 2, "tcp://HOST:PORT"),
        (["BTC-USDT", "--at", "tcp://h:1", "--at", "tcp://h:1"], 2, "named twice"),
        (["BTC-USDT", "--at", "tcp://h:1", "--at", "journal:///x"], 2, "journals alone"),
        (["BTC-USDT", "--prefix", "x"], 2, "--prefix is for nats://: no address is one"),
        (["BTC-USDT", "--at", "tcp://127.0.0.1:1"], 1, "tcp://127.0.0.1:1: Connection refused"),
        (["BTC-USDT", "--at", "journal:///nowhere/x"], 1, "/nowhere/x"),
        ([",", "--at", "tcp://127.0.0.1:1"], 2, "no asset: name one"),
        ([], 2, "ASSET"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(words: list[str], code: int, said: str) -> None:
    done = at_once("analytics", "nbbo", *words)
    assert said in done.stderr
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (code, 1, "")


def test_an_address_that_does_not_answer_is_told_and_the_others_are_shown() -> None:
    with services(ONE) as at:
        words = ("BTC-USDT", "--at", "tcp://127.0.0.1:1", *at, "--limit", "1", *CALM)
        code, (line,), said = nbbo(*words)
        assert (code, line["bid"]) == (0, "83100.00")
        assert said == "fanout: tcp://127.0.0.1:1: Connection refused; trying again\n"
        code, lines, said = nbbo(*words, "--no-reconnect")
    assert (code, lines, said) == (1, [], "fanout: tcp://127.0.0.1:1: Connection refused\n")


OTHER = replace(BTC, symbol="BTC_USDT")


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbbo_watch, "RETRY_S", 0.01)
    monkeypatch.setattr(nbbo_watch, "PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatience")
def test_a_service_that_knows_its_instruments_late_takes_its_place_among_the_others() -> None:
    late = [header("one", references=(), instruments=()) + heartbeat(1)] * 3 + [ONE]
    two = header("two") + whole(A_TOP)
    with services(late, two) as at:
        code, lines, said = nbbo("BTC-USDT", *at, *CALM, "--limit", "2")
    assert code == 0
    assert said.count("the service does not know its instruments yet; trying again") == 3
    assert lines[-1]["venues"] == {"one": "fresh", "two": "fresh"}
    assert lines[-1]["bid_venue"] == "one"


@pytest.mark.usefixtures("impatience")
def test_a_late_service_with_a_second_instrument_of_a_venue_does_not_end_the_others() -> None:
    late = [quiet("two", references=(), instruments=()), header("two", OTHER) + whole(A_TOP)]
    with (
        services(late, header("two") + whole(A_TOP)) as at,
        started("analytics", "nbbo", "BTC-USDT", *at, *CALM, "--json") as process,
    ):
        assert json.loads(process.line())["venues"] == {"two": "fresh"}
        process.until_said("two has BTC-USDT:perpetual twice")
        assert process.end(signal.SIGINT) == 130


REFUSED = end(EndReason.AUTH, retry_ms=None)


def test_a_service_that_refuses_is_an_error() -> None:
    with services(ONE, Closing(header("two") + REFUSED)) as at:
        code, lines, said = nbbo("BTC-USDT", *at)
    assert (code, lines, len(said.splitlines())) == (1, [], 1)


def test_a_service_that_refuses_later_is_told_and_the_others_are_shown() -> None:
    later = [TWO, Closing(TWO + REFUSED)]
    with (
        services(ONE, later) as at,
        started("analytics", "nbbo", "BTC-USDT", *at, *CALM, "--json") as process,
    ):
        process.until_said("AUTH")
        assert process.end(signal.SIGINT) == 130
    with services([*later]) as at:
        code, lines, said = nbbo("BTC-USDT", *at, *CALM, "--limit", "9")
    assert (code, lines[-1]["venues"]) == (1, {"two": "disconnected"})
    assert len(said.splitlines()) == 1


@pytest.mark.usefixtures("impatience")
def test_a_ring_that_is_not_there_does_not_answer() -> None:
    done = at_once("analytics", "nbbo", "BTC-USDT", "--at", "ring://there_is_none")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "ring://there_is_none: no header within 0.05 s" in done.stderr


def test_a_new_header_amid_the_stream_is_taken() -> None:
    again = header("one", next_seq=2).removeprefix(frame(START))
    _, line = lines_of(ONE + again + whole((8_310_500, 1, 8_320_000, 1_000), seq=2), count=2)
    assert (line["bid"], line["venues"]) == ("83105.00", {"one": "fresh"})


def test_without_reconnecting_it_ends_with_its_services() -> None:
    with services(Closing(ONE + end())) as at:
        code, lines, said = nbbo("BTC-USDT", *at, *CALM, "--no-reconnect")
    assert (code, said) == (0, "")
    assert [each["venues"]["one"] for each in lines] == ["fresh", "disconnected"]


def test_without_a_terminal_the_table_is_printed_once() -> None:
    with services(ONE, TWO) as at:
        done = at_once("analytics", "nbbo", "BTC-USDT", *at, *CALM)
    assert (done.returncode, done.stderr) == (0, "")
    title, names, best, one, two = [line.split() for line in done.stdout.splitlines()]
    assert " ".join(title) == "BTC-USDT:perpetual 2 of 2 fresh mid 83155.000 spread 90.00"
    assert names == ["venue", "quantity", "bid", "ask", "quantity", "age", "state"]
    assert best == ["best", "1.000", "83110.00", "83200.00", "1.000", "two", "/", "one"]
    assert one[:5] == ["one", "2.000", "83100.00", "83200.00", "1.000"]
    assert (one[-1], two[-1]) == ("fresh", "fresh")


def test_the_table_is_printed_although_a_venue_has_nothing() -> None:
    with services(ONE, quiet("two")) as at:
        done = at_once("analytics", "nbbo", "BTC-USDT", *at, *CALM)
    assert done.returncode == 0
    assert "1 of 2 fresh" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["two", "-", "no", "book"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_terminal_shows_the_table_live_and_is_restored(number: int, code: int) -> None:
    with (
        services(ONE, TWO) as at,
        at_terminal("analytics", "nbbo", "BTC-USDT", *at, *CALM) as screen,
    ):
        screen.until_shown("83155.000")
        screen.process.send_signal(number)
        assert screen.wait() == code
    assert screen.raw.count("\x1b[?1049h") == screen.raw.count("\x1b[?1049l") == 1
    assert screen.raw.endswith("\x1b[?25h\x1b[?1049l")
    last = ESCAPE.sub("", screen.raw.rpartition("\x1b[H")[2])
    assert max(len(line) for line in last.splitlines()) <= 80


def test_a_terminal_shows_no_price_of_a_venue_that_does_not_count() -> None:
    stream = ONE + loss(2, 9)
    with services(stream) as at, at_terminal("analytics", "nbbo", "BTC-USDT", *at, *CALM) as screen:
        screen.until_shown("8 records were lost: SLOW")
        screen.until_shown("no venue is fresh: one lost")
        last = screen.raw.rpartition("\x1b[H")[2]
    assert "83100" not in last


def test_many_assets_are_shown_without_their_venues() -> None:
    many = [replace(BTC, index=n, symbol=f"C{n:02}", base=f"C{n:02}") for n in range(20)]
    with services(quiet("one", *many)) as at:
        words = [f"C{n:02}-USDT" for n in range(20)]
        with at_terminal("analytics", "nbbo", *words, *at) as screen:
            screen.until_shown("C19-USDT")
            assert "quantity" not in screen.raw


def test_the_simulators_market_live_and_from_its_journal(tmp_path: Path) -> None:
    service = ("--venue", "sim", "--assets", "BTCUSDT", "--data", "trades,book")
    name = f"nbbo_{uuid.uuid4().hex[:12]}"
    transports = ("tcp", "--port", "0", "ring", "--name", name, "journal", "--dir", str(tmp_path))
    with started(*service, *transports) as process:
        url = next(
            word
            for word in process.until_said("on tcp://").replace(",", " ").split()
            if word.startswith("tcp://")
        )
        live = at_once("analytics", "nbbo", "BTC-USDT", "--at", url, "--json", "--limit", "5")
        ring = at_once("analytics", "nbbo", "BTC-USDT", "--at", f"ring://{name}", *CALM)
        assert process.end(signal.SIGTERM) in (0, 143)
    assert "1 of 1 fresh" in ring.stdout, ring.stderr
    assert live.returncode == 0, live.stderr
    (folder,) = [each for each in tmp_path.iterdir() if each.is_dir()]
    address = f"journal://{folder}"
    code, lines, said = nbbo("BTC-USDT", "--at", address)
    assert code == 0, said
    shown = {(each["bid"], each["ask"], each["time_ns"]) for each in lines}
    fresh = [each for each in map(json.loads, live.stdout.splitlines()) if each["fresh"]]
    assert fresh
    assert {(each["bid"], each["ask"], each["time_ns"]) for each in fresh} <= shown
    assert nbbo("BTC-USDT", "--at", address, "--limit", "2")[1] == lines[:2]
    done = at_once("analytics", "nbbo", "BTC-USDT", "--at", address)
    assert done.stdout.startswith("BTC-USDT:perpetual  ")
