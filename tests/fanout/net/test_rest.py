import gzip
import os
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from outcome import acapture

from fanout.errors import (
    MAX_BAN_S,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueMessageError,
    VenueUnreachableError,
)
from fanout.net import rest
from fanout.net.rest import ATTEMPTS, BAN_S, FORBIDDEN_S, open_rest
from fanout.simulator import SimulatorConfig
from fanout.venues import BinanceUsdm, Request
from fanout.venues.values import Limits, Refusal, usual_refusal
from tests.fanout.scripted import ScriptedRest, answer
from tests.stand.inside import running_simulator

PING = Request(path="/fapi/v1/ping")
BEGAN_S = 1_790_000_000.0
"""Unix time at which the tests are set, 40 s before a full minute."""

ASKED: list[float] = []

REAL_SLEEP = trio.sleep


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; none is made, but `wall_s` goes on."""

    async def sleep(seconds: float) -> None:
        if seconds:  # httpx's own sleep(0) is a checkpoint
            ASKED.append(seconds)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("fanout.net.rest.trio.sleep", sleep)
    ASKED.clear()
    return ASKED


def wall_s() -> float:
    return BEGAN_S + sum(ASKED)


async def fetch(script: ScriptedRest, request: Request = PING, times: int = 1) -> bytes:
    """The last answer, of so many times that it is asked."""
    async with script.running() as venue, open_rest(venue, wall_s=wall_s, now_s=wall_s) as client:
        for _ in range(times):
            outcome = await acapture(client.fetch, request, bytes)
    return outcome.unwrap()


async def test_fetch_returns_the_parsed_answer() -> None:
    assert await fetch(ScriptedRest(answer(200, b"body"))) == b"body"


async def test_of_many_requests_at_once_few_connections_stay_open() -> None:
    async with running_simulator(SimulatorConfig(symbols=("BTCUSDT",))) as simulator:
        venue = BinanceUsdm(ws_url=simulator.ws_url, rest_url=simulator.rest_url)
        async with open_rest(venue) as client:
            before = len(os.listdir("/proc/self/fd"))
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(client.fetch, venue.time_request(), venue.parse_time)
            with trio.fail_after(10):
                # Both ends of each connection are in this process.
                while len(os.listdir("/proc/self/fd")) > before + 4:
                    await REAL_SLEEP(0.01)


async def test_symbols_in_chinese_are_percent_encoded() -> None:
    script = ScriptedRest(answer(200))
    await fetch(script, BinanceUsdm().recent_trades_request("币安人生USDT"))
    assert b"symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT" in script.requests[0]


@pytest.mark.parametrize("status", [500, 502, 503, 408])
async def test_a_failure_of_the_venue_is_retried(status: int, pauses: list[float]) -> None:
    script = ScriptedRest(answer(status), answer(status), answer(200, b"ok"))
    assert await fetch(script) == b"ok"
    assert len(script.requests) == 3
    assert pauses[0] < pauses[1] * 2


async def test_attempts_are_bounded_and_the_last_failure_is_raised() -> None:
    script = ScriptedRest(answer(503, b'{"code":-1008,"msg":"Server is overloaded."}'))
    with pytest.raises(VenueUnreachableError, match=r"HTTP 503: Server is overloaded\. \(-1008\)"):
        await fetch(script)
    assert len(script.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (451, VenueForbiddenError, "does not serve this region"),
        (403, VenueForbiddenError, "does not serve this region"),
        (418, VenueBusyError, "banned for a while"),
        (400, VenueUnreachableError, "HTTP 400"),
        (302, VenueUnreachableError, "HTTP 302"),
    ],
)
async def test_a_permanent_failure_is_raised_at_once(
    status: int, kind: type[VenueError], said: str
) -> None:
    script = ScriptedRest(answer(status, b'{"code":-1003,"msg":"banned until 1790000000000"}'))
    with pytest.raises(kind, match=said):
        await fetch(script)
    assert len(script.requests) == 1


async def test_a_rate_limit_is_waited_out_as_long_as_the_venue_says(pauses: list[float]) -> None:
    script = ScriptedRest(answer(429, Retry_After="7"), answer(200, b"ok"))
    assert await fetch(script) == b"ok"
    assert pauses == [7.0]


async def test_a_rate_limit_without_a_time_ends_with_the_minute(pauses: list[float]) -> None:
    assert await fetch(ScriptedRest(answer(429), answer(200, b"ok"))) == b"ok"
    assert pauses == [40.0]


class InTheBody(BinanceUsdm):
    """A venue that answers every request with HTTP 200, and says in the body what went wrong."""

    limits = Limits(window_s=5)

    def verdict(self, status: int, body: bytes) -> Refusal | None:
        meanings = {b"10006": Refusal.BUSY, b"10016": Refusal.PASSING, b"10001": Refusal.OTHER}
        return meanings.get(body, super().verdict(status, body))

    def explain(self, status: int, body: bytes) -> str:
        return f"in its own words ({body.decode()})"


class Patient(BinanceUsdm):
    """A venue that leaves an address alone for a time of its own after a limit."""

    limits = Limits(busy_s=17, window_s=5)


@pytest.mark.parametrize(
    ("made", "refusal", "pause_s"),
    [
        (Patient, answer(429), 17.0),
        (Patient, answer(429, Retry_After="7"), 7.0),
        (InTheBody, answer(200, b"10006"), 5.0),
    ],
)
async def test_a_rate_limit_without_a_time_ends_as_the_venues_limits_say(
    made: type[BinanceUsdm], refusal: bytes, pause_s: float, pauses: list[float]
) -> None:
    script = ScriptedRest(refusal, answer(200, b"ok"))
    async with script.running() as there:
        venue = made(rest_url=there.rest_url)
        async with open_rest(venue, wall_s=wall_s, now_s=wall_s) as client:
            assert await client.fetch(PING, bytes) == b"ok"
    assert pauses == [pause_s]


@pytest.mark.parametrize("after", ["86400", "9" * 400])
async def test_a_long_rate_limit_is_raised_at_once(after: str) -> None:
    script = ScriptedRest(answer(429, Retry_After=after))
    with pytest.raises(VenueBusyError, match="too many requests"):
        await fetch(script)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("refusal", "pause_s"),
    [
        (answer(429, Retry_After="100"), 100),
        (answer(418), BAN_S),
        (answer(418, Retry_After="3600"), 3600),
        (answer(418, b'{"code":-1003,"msg":"IP banned until 1790000086400. Wait."}'), 86.4),
        (answer(418, Retry_After="9" * 400), MAX_BAN_S),
        (answer(418, b'{"code":-1003,"msg":"IP banned until 9999999999999."}'), MAX_BAN_S),
        (answer(451), FORBIDDEN_S),
        (answer(403), FORBIDDEN_S),
    ],
)
async def test_after_a_refusal_all_requests_pause(refusal: bytes, pause_s: float) -> None:
    clock = [BEGAN_S]
    clocks = dict.fromkeys(("wall_s", "now_s"), lambda: clock[-1])
    script = ScriptedRest(refusal, answer(200, b"ok"))
    async with script.running() as venue, open_rest(venue, **clocks) as client:
        for later_s in (0, 1, pause_s - 61.1):
            clock.append(BEGAN_S + later_s)
            with pytest.raises((VenueBusyError, VenueForbiddenError)):
                await client.fetch(PING, bytes)
        assert len(script.requests) == 1
        clock.append(BEGAN_S + pause_s)
        assert await client.fetch(PING, bytes) == b"ok"


async def test_requests_wait_for_the_budget_of_their_minute(pauses: list[float]) -> None:
    heavy = Request(path="/fapi/v1/aggTrades", weight=400)
    assert await fetch(ScriptedRest(answer(200, b"ok")), heavy, times=4) == b"ok"
    assert pauses == [40.0]


async def test_the_venues_count_of_used_weight_is_respected(pauses: list[float]) -> None:
    script = ScriptedRest(answer(200, X_MBX_USED_WEIGHT_1M="1199"), answer(200, b"ok"))
    assert await fetch(script, Request(path="/", weight=5), times=2) == b"ok"
    assert pauses == [40.0]


async def test_a_request_may_have_headers_of_its_own() -> None:
    script = ScriptedRest(answer(200))
    await fetch(script, Request(path="/", headers={"X-MBX-APIKEY": "key"}))
    assert b"x-mbx-apikey: key" in script.requests[0].lower()


async def test_an_unparsable_answer_is_retried() -> None:
    script = ScriptedRest(answer(200, b"<html>"), answer(200, b"[]"))
    venue = BinanceUsdm()
    async with script.running() as there, open_rest(there) as client:
        request = venue.recent_trades_request("BTCUSDT")
        assert await client.fetch(request, lambda body: venue.parse_recent_trades(body, "X")) == ()


async def test_an_answer_that_stays_unparsable_is_an_error() -> None:
    async with ScriptedRest(answer(200, b"<html>")).running() as venue, open_rest(venue) as client:
        with pytest.raises(VenueMessageError, match="exchangeInfo"):
            await client.fetch(
                venue.listing_requests()[0], lambda body: venue.parse_instruments(body, ())
            )


async def test_an_endless_answer_is_cut_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest, "MAX_BODY_BYTES", 1000)
    with pytest.raises(VenueMessageError, match="exceeds 1,000 bytes"):
        await fetch(ScriptedRest(answer(200, bytes(100_000))))


async def test_a_gzipped_answer_is_decompressed() -> None:
    packed = answer(200, gzip.compress(b"body"), Content_Encoding="gzip")
    assert await fetch(ScriptedRest(packed)) == b"body"


ZEROS = gzip.compress(bytes(1_000_000), mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding", "said"),
    [
        (ZEROS, "gzip", "exceeds 1,500 bytes"),
        (gzip.compress(ZEROS, mtime=0), "gzip, gzip", "strangely: /fapi/v1/ping: gzip, gzip"),
        (ZEROS, "br", "packed strangely"),
        (b"body", "gzip", "packed wrongly"),
        (gzip.compress(b"body", mtime=0)[:-1], "gzip", "cut short"),
    ],
    ids=["too long", "packed twice", "packed otherwise", "not packed", "cut short"],
)
async def test_an_answer_is_decompressed_once_and_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch, body: bytes, encoding: str, said: str
) -> None:
    monkeypatch.setattr(rest, "MAX_BODY_BYTES", 1500)
    with pytest.raises(VenueMessageError, match=said):
        await fetch(ScriptedRest(answer(200, body, Content_Encoding=encoding)))


async def test_a_client_with_one_attempt_raises_the_first_failure(pauses: list[float]) -> None:
    script = ScriptedRest(answer(503))
    async with script.running() as venue, open_rest(venue, attempts=1) as client:
        with pytest.raises(VenueUnreachableError, match="HTTP 503"):
            await client.fetch(PING, bytes)
    assert (len(script.requests), pauses) == (1, [])


async def test_rest_trusts_the_same_certificates_as_the_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, served = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer(200, b"body"))

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(serve, handle, 0, served)
        port = listener.transport_listener.socket.getsockname()[1]
        async with open_rest(BinanceUsdm(rest_url=f"https://127.0.0.1:{port}")) as client:
            assert await client.fetch(PING, bytes) == b"body"
        nursery.cancel_scope.cancel()


async def test_a_silent_venue_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "TIMEOUT_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        venue = BinanceUsdm(rest_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with open_rest(venue) as client:
            with pytest.raises(VenueUnreachableError, match=r"no answer within 0\.02 s"):
                await client.fetch(PING, bytes)


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"\xff\r\n\r\n"]
)
async def test_a_truncated_answer_is_retried_and_then_an_error(data: bytes) -> None:
    script = ScriptedRest(data)
    with pytest.raises(VenueUnreachableError, match="cannot be reached"):
        await fetch(script)
    assert len(script.requests) == ATTEMPTS


async def test_errors_about_answers_contain_no_control_characters() -> None:
    script = ScriptedRest(b"HTTP/1.1 \x1b[31m" + b"x" * 60_000 + b"\r\n\r\n")
    with pytest.raises(VenueUnreachableError, match="cannot be reached") as caught:
        await fetch(script)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


async def test_a_refused_connection_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with open_rest(BinanceUsdm(rest_url=url)) as client:
        with pytest.raises(VenueUnreachableError, match=f"{url}/fapi/v1/ping cannot be reached"):
            await client.fetch(PING, bytes)


class Elsewhere(BinanceUsdm):
    """A venue that limits with 403, and whose REST allows little."""

    limits = Limits(weight=10)

    def refusal(self, status: int) -> Refusal:
        return Refusal.BUSY if status == 403 else usual_refusal(status)


@pytest.mark.parametrize(
    ("code", "kind", "attempts"),
    [
        (b"10006", VenueBusyError, ATTEMPTS),
        (b"10016", VenueUnreachableError, ATTEMPTS),
        (b"10001", VenueUnreachableError, 1),
    ],
)
async def test_the_venue_may_refuse_in_the_body_of_a_good_status(
    code: bytes, kind: type[VenueError], attempts: int, pauses: list[float]
) -> None:
    script = ScriptedRest(*[answer(200, code)] * attempts)
    async with script.running() as there:
        venue = InTheBody(rest_url=there.rest_url)
        async with open_rest(venue, wall_s=wall_s, now_s=wall_s) as client:
            with pytest.raises(kind, match=rf"with an error.*: in its own words \({code.decode()}"):
                await client.fetch(PING, bytes)
    assert len(script.requests) == attempts


async def test_the_venue_defines_the_meaning_of_a_status_and_the_weight_limit() -> None:
    script = ScriptedRest(answer(403, Retry_After="7"), answer(200, b"ok"))
    async with script.running() as venue:
        elsewhere = Elsewhere(rest_url=venue.rest_url)
        async with open_rest(elsewhere, wall_s=wall_s, now_s=wall_s) as client:
            assert client.budget.limit == 10
            assert await client.fetch(PING, bytes) == b"ok"
    assert len(script.requests) == 2
