"""Every fault of an exchange, played by the simulator: the row, its words, and the exit code."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
import trustme
from msgspec.structs import replace

from fanout.checks import Report, State, run_checks
from fanout.checks.machine import check_machine
from fanout.config import Config, FeedConfig, SimConfig, SourceConfig
from fanout.errors import UsageError
from fanout.simulator import SimulatorConfig
from fanout.simulator.config import made_up_symbols
from fanout.simulator.faults.schedule import scheduled
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import BinanceUsdm
from tests.fanout.checks.inspections import ASSETS, checked, exit_code, row, rows
from tests.fanout.proxies import relay, running_proxy
from tests.stand.inside import config_for, one_source, running_simulator, with_source


async def test_a_healthy_exchange_passes_every_row() -> None:
    report = await checked()
    assert {each.state for each in report.checks} == {State.OK}
    assert exit_code(report) == 0
    names = [each.name for each in report.checks]
    assert names == [
        *("machine", "descriptors", "port", "dns", "tcp", "rest", "weight", "clock"),
        *("symbol", "symbol", "websocket", "first-trade", "first-trade"),
    ]
    assert list(rows(report, "first-trade")) == list(ASSETS)
    assert row(report, "weight").found.endswith("of 2,400 are left in this minute")
    assert row(report, "websocket").target.endswith("/public/stream")
    assert "give or take" in row(report, "clock").found
    assert all(each.advice == "" for each in report.checks)


async def okx_checked(*faults: str) -> Report:
    """The report about two symbols of an exchange that has trades and books at two URLs."""
    symbols = ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
    market = SimulatorConfig(
        dialect="okx", symbols=symbols, rate=200, faults=tuple(map(scheduled, faults))
    )
    async with running_simulator(market) as simulator:
        config = one_source(
            venue="okx",
            assets=symbols,
            data=("trades", "quotes", "book"),
            transports=(TcpConfig(port=0),),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
        )
        return await run_checks(config, timeout_s=5)


async def test_each_url_of_a_venue_has_a_row() -> None:
    report = await okx_checked()
    trades, others = rows(report, "websocket").values()
    assert trades.target.endswith("/business")
    assert others.target.endswith("/public")
    assert others.found.endswith("quotes and book acknowledged")
    assert {each.state for each in report.checks} == {State.OK}, "its own weight is no warning"


async def test_a_url_without_trades_can_fail() -> None:
    report = await okx_checked("http 503 /public requests=null")
    (failed,) = (each for each in report.checks if each.state is State.FAIL)
    assert failed.target.endswith("/public")
    assert "HTTP 503" in failed.found
    assert exit_code(report) == 69


NO_SYMBOL = ("BTCUSDT", "ETHUSDC")
TABLE: list[tuple[tuple[str, ...], str, str, str, int]] = [
    (("http 451 requests=null",), "rest", "HTTP 451", "does not serve", 77),
    (("http 403 requests=null",), "rest", "HTTP 403", "firewall", 77),
    (("http 451 /public requests=null",), "websocket", "HTTP 451", "does not serve", 77),
    (("http 403 /public requests=null",), "websocket", "HTTP 403", "firewall", 77),
    (("http 418 requests=null banned_for_s=300",), "rest", "banned", "wait 300 s", 75),
    (("http 429 requests=null retry_after_s=7",), "rest", "too many", "wait 7 s", 75),
    (("spend 2400",), "rest", "HTTP 429", "wait", 75),
    (("http 418 /public requests=null",), "websocket", "HTTP 418", "wait 120 s", 75),
    (("http 429 /public requests=null",), "websocket", "HTTP 429", "wait", 75),
    (("http 503 /fapi/v1/exchangeInfo requests=null",), "rest", "HTTP 503", "--rest-url", 69),
    (("http body=<html> requests=null",), "rest", "time is not as documented", "--rest-url", 69),
    (("http 404 /public requests=null",), "websocket", "HTTP 404", "--ws-url", 69),
    (("drop cut every 0.05s", "silence"), "websocket", "end of stream", "--ws-url", 69),
]


@pytest.mark.parametrize(("faults", "name", "said", "advised", "code"), TABLE)
async def test_an_exchange_fault_fails_one_row_with_advice_and_exit_code(
    faults: tuple[str, ...], name: str, said: str, advised: str, code: int
) -> None:
    report = await checked(*faults)
    assert exit_code(report) == code
    (failed,) = [each for each in report.checks if each.state is State.FAIL]
    assert failed.name == name
    assert said in failed.found
    assert advised in failed.advice
    skipped = [each for each in report.checks if each.state is State.SKIP]
    assert skipped
    assert {each.found for each in skipped} == {f"{name} failed"}


async def test_all_failures_are_reported_and_the_most_permanent_sets_the_exit_code() -> None:
    report = await checked("http 418 requests=null", "http 451 /public requests=null")
    assert row(report, "rest").state is State.FAIL
    assert row(report, "websocket").state is State.FAIL
    assert exit_code(report) == 77


async def test_weight_that_others_have_used_is_a_warning_and_the_rest_is_asked_all_the_same() -> (
    None
):
    report = await checked("spend 2000")
    weight = row(report, "weight")
    assert weight.state is State.WARN
    assert int(weight.found.split()[0]) < 400
    assert "50%" in weight.advice
    assert row(report, "rest").state is State.OK
    assert exit_code(report) == 0


async def test_weight_of_another_window_than_a_minute_is_named_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BinanceUsdm, "limits", replace(BinanceUsdm.limits, window_s=5))
    weight = row(await checked(), "weight")
    assert (weight.state, weight.found[-30:]) == (State.OK, "of 2,400 are left in these 5 s")


@pytest.mark.parametrize(
    ("offset_ms", "state"), [(400, State.OK), (-400, State.OK), (700, "warn"), (-1500, "warn")]
)
async def test_a_wrong_clock_is_a_warning_with_its_offset(offset_ms: int, state: State) -> None:
    report = await checked(f"clock {offset_ms}")
    clock = row(report, "clock")
    assert clock.state == state
    said_ms = float(clock.found.split()[4].replace(",", ""))
    assert said_ms == pytest.approx(offset_ms, abs=100)
    assert ("NTP" in clock.advice) == (state == State.WARN)
    assert exit_code(report) == 0


async def test_a_venue_that_does_not_show_its_time_passes_without_a_look_at_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BinanceUsdm, "time_request", lambda self: None)
    report = await checked()
    assert (report.fault, row(report, "rest").state) == (None, State.OK)
    clock = row(report, "clock")
    assert (clock.state, clock.found) == (State.SKIP, "the exchange does not show its time")


async def test_an_unknown_or_halted_symbol_fails_without_a_wait() -> None:
    assets = ("BTCUSDT", "BTCUSD", "LUNAUSDT", "ETHUSDT")
    report = await checked("delist ETHUSDT", assets=assets, timeout_s=60)
    symbols, trades = rows(report, "symbol"), rows(report, "first-trade")
    assert [symbols[each].state for each in assets] == ["ok", "fail", "fail", "fail"]
    assert [trades[each].state for each in assets] == ["ok", "skip", "skip", "skip"]
    assert "did you mean BTCUSDT?" in symbols["BTCUSD"].found
    assert "status SETTLING" in symbols["LUNAUSDT"].found
    assert "not listed" in symbols["ETHUSDT"].found
    assert "--assets" in symbols["BTCUSD"].advice
    assert trades["BTCUSD"].found == "it does not trade"
    assert exit_code(report) == 78


async def test_the_stream_is_checked_even_if_no_symbol_trades() -> None:
    report = await checked(assets=("NOSUCH",), timeout_s=60)
    assert row(report, "websocket").state is State.OK
    assert exit_code(report) == 78
    report = await checked("http 451 /public requests=null", assets=("NOSUCH",))
    assert exit_code(report) == 77


async def test_requested_aggregates_use_the_market_route() -> None:
    report = await checked(feed=FeedConfig(stream="aggTrade"))
    assert row(report, "websocket").target.endswith("/market/stream")
    assert exit_code(report) == 0


@pytest.mark.parametrize("path", ["/public", "/fapi/v1/time"])
async def test_an_exchange_that_never_answers_fails_in_bounded_time(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.checks.venue.ANSWERS_S", 0.3)
    monkeypatch.setattr("fanout.checks.stream.OPEN_S", 0.3)
    report = await checked(f"http path={path} delay_s=1000 requests=null")
    (failed,) = [each for each in report.checks if each.state is State.FAIL]
    assert failed.name == ("websocket" if path == "/public" else "rest")
    assert "within 300 ms" in failed.found
    assert exit_code(report) == 69


async def test_a_closed_port_skips_all_later_checks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        authority = f"127.0.0.1:{probe.getsockname()[1]}"
    report = await checked(ws_url=f"ws://{authority}")
    assert row(report, "tcp", authority).state is State.FAIL
    assert row(report, "rest").state is State.OK
    assert row(report, "websocket").found == "the network path failed"
    assert {each.state for each in rows(report, "first-trade").values()} == {State.SKIP}
    assert exit_code(report) == 69
    report = await checked(rest_url=f"http://{authority}")
    assert [row(report, name).state for name in ("rest", "weight", "clock")] == [State.SKIP] * 3
    assert {each.state for each in rows(report, "first-trade").values()} == {State.OK}


async def test_rest_and_stream_are_checked_through_the_proxy() -> None:
    async with running_proxy("http") as proxy:
        report = await checked(feed=FeedConfig(proxy=proxy.url))
        assert exit_code(report) == 0
        assert row(report, "dns").state is State.SKIP
        assert any(each.startswith("CONNECT") for each in proxy.asked)


@asynccontextmanager
async def behind_tls(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """A TLS server that relays to the host and port of `url`."""
    parts = urlsplit(url)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 0) as there:
            await relay(stream, there)

    async def survive(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):  # a client without trust in us hangs up
            await handle(stream)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(serve, survive, 0, context)
        yield f"127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_all_connections_over_tls_use_the_trusted_certificates(
    is_trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if is_trusted:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        running_simulator(SimulatorConfig(symbols=ASSETS)) as simulator,
        behind_tls(simulator.rest_url, context) as place,
    ):
        plain = config_for(simulator, *ASSETS)
        config = with_source(plain, ws_url=f"wss://{place}", rest_url=f"https://{place}")
        report = await run_checks(config, timeout_s=10)
    assert row(report, "tls").state == (State.OK if is_trusted else State.FAIL)
    assert exit_code(report) == (0 if is_trusted else 69)
    states = {each.state for each in report.checks if each.name in ("rest", "websocket", "symbol")}
    assert states == {State.OK if is_trusted else State.SKIP}


async def test_the_check_starts_the_built_in_simulator() -> None:
    config = one_source(
        assets=ASSETS, transports=(TcpConfig(port=0),), venue="sim", sim=SimConfig(rate=200)
    )
    assert exit_code(await run_checks(config, timeout_s=10)) == 0
    report = await run_checks(with_source(config, assets=("NOSUCH",)), timeout_s=10)
    assert row(report, "simulator").state is State.FAIL
    assert exit_code(report) == 78


async def test_progress_names_the_current_step() -> None:
    said: list[str] = []
    async with running_simulator(SimulatorConfig(symbols=ASSETS)) as simulator:
        await run_checks(config_for(simulator, *ASSETS), timeout_s=10, progress=said.append)
    assert said[0] == "checking the network path"
    assert "waiting for first trades: 0 of 2" in said


async def test_the_check_sends_five_requests_over_one_connection() -> None:
    """One connection, and five requests of weight 1."""
    async with running_simulator(SimulatorConfig(symbols=ASSETS)) as simulator:
        opened: list[int] = []
        await run_checks(
            config_for(simulator, *ASSETS),
            timeout_s=10,
            progress=lambda words: opened.append(simulator.faults.connections),
        )
    report = await checked()
    assert max(opened) == 1
    assert row(report, "weight").found.startswith("2,395 of")


async def test_an_unusable_proxy_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://nowhere")
    config = one_source(assets=ASSETS, transports=(TcpConfig(port=0),))
    with pytest.raises(UsageError, match="proxy"):
        await run_checks(config, timeout_s=1)


async def test_the_machine_is_checked_for_every_transport() -> None:
    async with AsyncExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = taken.getsockname()[1]
        found = await check_machine(one_source(assets=ASSETS, transports=(TcpConfig(port=port),)))
    assert [each.state for each in found] == [State.OK, State.OK, State.FAIL]


async def test_each_source_is_checked_and_its_symbols_are_prefixed_with_the_venue() -> None:
    faulty = SimulatorConfig(
        symbols=ASSETS, rate=200, faults=(scheduled("http 451 requests=null"),)
    )
    async with (
        running_simulator(SimulatorConfig(symbols=ASSETS, rate=200)) as sound,
        running_simulator(faulty) as refusing,
    ):
        sources = tuple(
            SourceConfig(assets=ASSETS, venue=name, ws_url=venue.ws_url, rest_url=venue.rest_url)
            for name, venue in (("binance", sound), ("sim", refusing))
        )
        config = Config(sources=sources, transports=(TcpConfig(port=0),))
        with trio.fail_after(30):
            report = await run_checks(config, timeout_s=10)
    states = {each.target: each.state for each in report.checks if each.name == "symbol"}
    assert states == {
        "binance:BTCUSDT": State.OK,
        "binance:ETHUSDT": State.OK,
        "sim:BTCUSDT": State.SKIP,
        "sim:ETHUSDT": State.SKIP,
    }
    assert row(report, "rest", sound.rest_url).state is State.OK
    assert row(report, "rest", refusing.rest_url).state is State.FAIL
    assert row(report, "first-trade", "binance:BTCUSDT").state is State.OK
    assert exit_code(report) == 77


async def test_the_symbols_of_a_pattern_are_checked_and_many_equal_rows_are_merged() -> None:
    market = SimulatorConfig(symbols=made_up_symbols(60), rate=3_000)
    async with running_simulator(market) as simulator:
        listed = 60
        few, many = config_for(simulator, "BTC*"), config_for(simulator, "all")
        with trio.fail_after(40):
            some = await run_checks(few, timeout_s=10)
            report = await run_checks(many, timeout_s=10)
            none = await run_checks(config_for(simulator, "*EUR"), timeout_s=1)
    assert "BTCUSDT" in rows(some, "symbol")
    assert all(each.startswith("BTC") for each in rows(some, "symbol"))
    assert set(rows(some, "symbol")) == set(rows(some, "first-trade"))
    assert row(report, "symbol").target == f"{listed} symbols"
    assert row(report, "symbol").found == "they trade"
    assert row(report, "first-trade").target == f"{listed} symbols"
    assert (exit_code(some), exit_code(report), exit_code(none)) == (0, 0, 78)
    assert "matches none" in row(none, "symbol", "*EUR").found
