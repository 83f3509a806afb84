"""`fanout status` against a running service, on a terminal and without one."""

import http.server
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
import pexpect
import pytest
from msgspec.structs import replace
from rich.console import Console

from fanout.cli import status
from fanout.cli.status import NoAnswerError, fetch
from fanout.cli.status_view import Limits, view
from fanout.stats.snapshots import (
    BookStats,
    ChannelStats,
    ConsumerStats,
    FeedStats,
    GroupStats,
    InstrumentStats,
    JournalStats,
    LinkStats,
    LogStats,
    ProcessStats,
    Quantiles,
    ServiceStats,
    TransportStats,
)
from tests.fanout.cli.processes import FANOUT, Process, at_once, environment, fanout, started

WORST = Quantiles(count=10**6, p50_ns=123_456_789, p99_ns=12_345_678_901, max_ns=98_765_432_109)

SYMBOL = InstrumentStats(
    symbol="1000000MOGUSDT",
    stream="aggTrade",
    state="CONNECTING",
    trades=10**9,
    trades_per_s=1_234.5,
    last_trade_s=86_399.0,
    back_filled=12_345,
    duplicates=0,
    spent=0,
    refused=0,
    missing=123_456,
    lost=1_234,
    no_trade=0,
    open_gaps=1,
    delay=WORST,
)
CONSUMER = ConsumerStats(
    address="192.168.100.100:65535",
    age_s=864_000.0,
    blocks=123_456_789,
    lost=1_234_567,
    lag_blocks=12_345,
    lag_bytes=64_000_000,
    lag_ms=59_999,
)
TRANSPORT = TransportStats(
    url="tcp://0.0.0.0:9000",
    consumers=(CONSUMER,),
    accepted=12_345,
    refused=123,
    lost=1_234_567,
    send=WORST,
    anomalies={"client closed": 12},
)
STATS = ServiceStats(
    venue="binance-usdm",
    epoch_ns=1_795_219_200_000_000_000,
    uptime_s=864_000.0,
    is_ready=False,
    versions={"fanout": "0.1.0", "wire": "2", "functions": "compiled", "python": "3.13.1"},
    feed=FeedStats(
        state="DOWN",
        messages=10**9,
        connections=123,
        links=(LinkStats(name="trade connection 1 of 1", open_s=None, won=10**9, rotations=11),),
        instruments=(SYMBOL,),
        clock_offset_ns=-123_400_000,
        clock_uncertainty_ns=12_300_000,
        rest_weight=1_234,
        rest_weight_limit=2_400,
        anomalies={"malformed message": 123},
    ),
    log=LogStats(
        first_seq=10**9,
        next_seq=10**9 + 500_000,
        frames=123_456,
        size_bytes=67_108_864,
        capacity_bytes=67_108_864,
        span_s=123.0,
        trades=10**9,
        blocks=10**8,
        events=1_234,
    ),
    transports=(TRANSPORT,),
    process=ProcessStats(
        pid=1_234_567,
        resident_bytes=123_456_789,
        descriptors=1_234,
        max_descriptors=1_048_576,
        cpu_s=86_400.0,
        tasks=1_234,
    ),
)


def drawn(
    stats: ServiceStats, consumers: int = 20, symbols: int | None = 20, **options: object
) -> str:
    console = Console(width=80, highlight=False, **options)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(view(stats, Limits(consumers=consumers, symbols=symbols)))
    return capture.get()


@contextmanager
def answering() -> Iterator[tuple[Process, str]]:
    """A service of the simulator, and where it answers."""
    options = ("--venue", "sim", "--assets", "BTCUSDT,ETHUSDT", "--http-port", "0")
    with started(*options, "tcp", "--port", "0") as service:
        url = service.until_said("answering").split()[2].removesuffix("/status,")
        service.until_said("ETHUSDT is LIVE")
        yield service, url


def test_status_shows_symbols_transports_log_and_process_in_columns() -> None:
    with answering() as (_, url):
        result = at_once("status", url)
        assert (result.returncode, result.stderr) == (0, "")
        for words in ("BTCUSDT LIVE", "tcp://127.0.0.1:", "log  ", "process ", "ready", "up "):
            assert words in result.stdout
        assert "\x1b" not in result.stdout
        assert not result.stdout.endswith("\n\n")
        # The address may come from the option that the service has, too.
        port = url.rpartition(":")[2]
        assert fanout("--http-port", port, "status").returncode == 0
        assert at_once("status", FANOUT_HTTP_PORT=port).returncode == 0
        assert at_once("status", url.removeprefix("http://")).returncode == 0


def test_json_has_all_counters_and_watch_repeats_until_it_is_ended() -> None:
    with answering() as (_, url):
        stats = msgspec.json.decode(at_once("status", url, "--json").stdout, type=ServiceStats)
        assert [each.symbol for each in stats.feed.instruments] == ["BTCUSDT", "ETHUSDT"]
        watching = ("status", url, "--json", "--watch", "--interval", "0.1")
        with started(*watching) as process:
            looks = (json.loads(line)["uptime_s"] for line in process.out)
            first_s = next(looks)
            assert next(each for each in looks if each != first_s) > first_s  # it may come twice
            assert process.end(signal.SIGINT) == 130
            assert process.said == [""]


def test_the_live_view_is_redrawn_and_survives_the_service() -> None:
    with answering() as (service, url):
        child = pexpect.spawn(
            FANOUT[0],
            [*FANOUT[1:], "status", url, "--watch", "--interval", "0.1"],
            env={**environment(), "TERM": "xterm-256color", "COLUMNS": "80"},
            dimensions=(40, 80),
            timeout=20,
            encoding="utf-8",
        )
        child.expect("BTCUSDT")
        child.expect("BTCUSDT")  # a second time: it goes on
        service.end(signal.SIGTERM)
        child.expect("no answer from http://127.0.0.1")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert "Traceback" not in str(child.before)


def test_the_slowest_consumers_are_listed_first_and_the_others_are_counted() -> None:
    quick = replace(CONSUMER, address="10.0.0.1:1", lag_ms=0, lag_bytes=0, lost=0)
    slow = replace(CONSUMER, address="10.0.0.2:2")
    of_a_queue = replace(CONSUMER, address="shm://q", lag_ms=None, lag_blocks=None, lag_bytes=9)
    late = replace(of_a_queue, address="10.0.0.3:3", lag_bytes=8, is_replaying=True)
    transport = replace(TRANSPORT, consumers=(quick, late, of_a_queue, slow))
    text = drawn(replace(STATS, transports=(transport,)), consumers=3)
    assert text.index("10.0.0.2:2") < text.index("shm://q") < text.index("10.0.0.3:3")
    assert "replays" in text
    assert "10.0.0.1:1" not in text
    assert "and 1 more" in text


def channel(name: str, *symbols: InstrumentStats, why: str = "") -> ChannelStats:
    return ChannelStats(
        name=name,
        venue="binance-usdm",
        epoch_ns=1,
        is_ready=not why,
        why=why,
        feed=replace(STATS.feed, state="LIVE", instruments=symbols),
        log=STATS.log,
    )


def test_each_channel_has_a_section_and_a_down_channel_its_reason() -> None:
    why = "binance-spot answers /api/v3/exchangeInfo with HTTP 418, this address is banned"
    stats = replace(STATS, channels=(channel("usdm", SYMBOL), channel("spot", why=why)))
    text = drawn(stats)
    first, last = (
        text.index("usdm  binance-usdm  ready"),
        text.index("spot  binance-usdm  not ready"),
    )
    assert first < text.index("1000000MOGUSDT") < last < text.index("DOWN  binance-spot answers")
    assert "2 channels" in text
    assert text.count("log of") == 2
    assert max(map(len, text.splitlines())) <= 80


def test_quotes_and_books_have_a_table_of_their_own_where_they_are_taken() -> None:
    book = BookStats(
        is_whole=True,
        bids=1_000,
        asks=998,
        updates=1_234_567,
        snapshots=3,
        breaks=2,
        repeats=0,
    )
    lost = replace(SYMBOL, symbol="LOSTUSDT", book=replace(book, is_whole=False, bids=0, asks=0))
    quoted = replace(SYMBOL, symbol="QUOTEDUSDT", quotes=77)
    whole = replace(SYMBOL, book=book, quotes=7)
    text = drawn(replace(STATS, channels=(channel("usdm", whole, lost, quoted),)))
    rows = [each.split() for each in text.splitlines()]
    assert ["symbol", "book", "bids", "asks", "updates", "whole", "lost", "quotes"] in rows
    assert [SYMBOL.symbol, "whole", "1000", "998", "1.23M", "3", "2", "7"] in rows
    assert ["LOSTUSDT", "unknown", "0", "0", "1.23M", "3", "2", "0"] in rows
    assert ["QUOTEDUSDT", *["-"] * 6, "77"] in rows
    assert max(map(len, text.splitlines())) <= 80
    assert "book" not in drawn(replace(STATS, channels=(channel("usdm", SYMBOL),)))


def test_a_journal_has_a_line_for_each_channel_and_says_what_fails() -> None:
    kept = JournalStats(
        channel="usdm",
        state="WRITING",
        why="",
        epoch_ns=1,
        written_seq=5,
        synced_seq=4,
        lag_bytes=123_456,
        bytes=10**10,
        segments=1_234,
        free_bytes=5 * 1024**3,
        write=WORST,
        sync=None,
        sync_failures=0,
        lost=0,
    )
    full = replace(kept, channel="c" * 32, state="FULL", why="No space left on device", lost=77)
    journal = TransportStats(url="journal:///ticks", journal=(kept, full))
    text = drawn(replace(STATS, transports=(journal,)))
    assert "journal:///ticks  5 GiB free" in text
    rows = [each.split() for each in text.splitlines()]
    figures = ["9.31", "GiB", "121", "KiB"]
    assert ["usdm", "WRITING", *figures, "0", "12s", "-"] in rows
    assert ["c" * 32, "FULL", *figures, "77", "12s", "-"] in rows
    assert f"{'c' * 32}: No space left on device" in text
    assert "records lost" not in text
    assert max(map(len, text.splitlines())) <= 80
    unknown = TransportStats(url="journal:///ticks", journal=(replace(kept, free_bytes=None),))
    assert "free" not in drawn(replace(STATS, transports=(unknown,)))


def test_multicast_has_a_line_for_each_channel_with_its_groups() -> None:
    first = GroupStats(
        channel="spot",
        groups=("239.10.1.1:9100", "239.10.2.1:9100"),
        packets=12_345,
        bytes=3 << 20,
        unsent=7,
        left_out=8,
        lost=9,
        snapshots=1,
    )
    group = "239.255.255.255:65535"
    second = replace(first, channel="c" * 32, groups=(group,), unsent=0, lost=0, left_out=0)
    sent = TransportStats(url="multicast://239.10.1.1:9100", groups=(first, second))
    text = drawn(replace(STATS, transports=(sent,)))
    assert "nothing sent yet" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["spot", "239.10.1.1:9100", "12,345", "3", "MiB", "7"] in lines
    assert ["239.10.2.1:9100"] in lines
    assert ["c" * 32, group, "12,345", "3", "MiB", "0"] in lines
    assert "spot: 9 records lost, 8 fit no packet" in text
    assert f"{'c' * 32}: " not in text
    assert max(map(len, text.splitlines())) <= 80
    quantiles = Quantiles(count=1, p50_ns=1_000, p99_ns=2_000, max_ns=3_000)
    text = drawn(replace(STATS, transports=(replace(sent, send=quantiles),)))
    assert "received to sent: median" in text


def test_many_symbols_are_summed_up_and_the_worst_listed_first() -> None:
    calm = replace(SYMBOL, state="LIVE", lost=0, missing=0, open_gaps=0, last_trade_s=1.0)
    symbols = [replace(calm, symbol=f"S{i}USDT") for i in range(800)]
    symbols[700] = replace(calm, symbol="STALEUSDT", state="STALE")
    symbols[300] = replace(calm, symbol="LOSTUSDT", lost=7)
    symbols[500] = replace(calm, symbol="GAPUSDT", open_gaps=1, missing=3)
    stats = replace(STATS, channels=(channel("usdm", *symbols),))
    text = drawn(stats, symbols=4)
    assert "800 symbols: 799 LIVE 1 STALE  987,600.0 trades/s" in text
    assert "and 796 more, with --all" in text
    places = [
        text.index(each) for each in ("STALEUSDT", "LOSTUSDT", "GAPUSDT", "S0USDT", "and 796")
    ]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 80
    everything = drawn(stats, symbols=None)
    assert all(each.symbol in everything for each in symbols)
    assert "more, with --all" not in everything


@pytest.mark.parametrize("ready", [True, False])
def test_nothing_is_wider_than_80_columns_or_cut_off(ready: bool) -> None:
    text = drawn(replace(STATS, is_ready=ready))
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "1000000MOGUSDT CONNECT agg",
        "192.168.100.100:65535 10d0h",
        "99s",
        "1.23M",
        "60s",
    ):
        assert words in text
    assert "malformed message 123, client closed 12" in text.replace("\n", " ")
    assert "\u2026" not in text


def test_unknown_values_are_dashes() -> None:
    fresh = replace(SYMBOL, last_trade_s=None, delay=None, stream="trade", state="CONNECTING")
    feed = replace(STATS.feed, instruments=(fresh,), clock_offset_ns=None, anomalies={})
    transport = replace(TRANSPORT, send=None, consumers=(), anomalies={})
    text = drawn(replace(STATS, feed=feed, transports=(transport,)))
    assert "clock of the venue not known yet" in text
    assert "nothing sent yet" in text
    (row,) = [line for line in text.splitlines() if "1000000MOGUSDT" in line]
    assert row.split()[-3:] == ["-", "-", "-"]


def test_colours_mark_problems_unless_disabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31mDOWN" in drawn(STATS, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    text = drawn(STATS, force_terminal=True)
    assert "31m" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["status"], 2, "no URL given: fanout status http://HOST:PORT"),
        (["status", "tcp://h:1"], 2, "http://HOST"),
        (["status", "http://a..b"], 2, "http://HOST"),
        (["status", "http://127.0.0.1:1"], 1, "check that it runs with --http-port"),
        (["status", "http://127.0.0.1:1", "--watch"], 1, "check that it runs with --http-port"),
        (["status", "http://127.0.0.1:1", "--interval", "0"], 2, "--interval"),
    ],
)
def test_a_status_error_is_one_line(arguments: list[str], code: int, said: str) -> None:
    result = fanout(*arguments)
    assert result.returncode == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"venue": 3}', b"\xff", b""])
def test_another_program_on_the_port_is_reported(body: bytes) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as there:
        answering = threading.Thread(target=there.handle_request)
        answering.start()
        with pytest.raises(NoAnswerError, match="HTTP 200 without the status of a fanout"):
            fetch(f"http://127.0.0.1:{there.server_port}")
        answering.join()


def test_a_closed_pipe_ends_status_quietly() -> None:
    with answering() as (_, url), started("status", url, "-w", "--interval", "0.1") as process:
        assert process.line().startswith("fanout ")
        process.out.close()
        assert process.wait() == 0
        assert process.said[-1] == ""


def test_foreign_text_cannot_control_the_terminal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:

        def answer() -> None:
            connection, _ = there.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x1b]0;pwned\x07\x1b[31mRED\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(NoAnswerError, match="does not speak HTTP") as caught:
            fetch(f"http://127.0.0.1:{there.getsockname()[1]}")
        answering.join()
    assert str(caught.value).isprintable()


def test_a_slow_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as there:

        def answer() -> None:
            connection, _ = there.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.01)

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(NoAnswerError, match="answer incomplete after"):
            fetch(f"http://127.0.0.1:{there.getsockname()[1]}")
        answering.join()
