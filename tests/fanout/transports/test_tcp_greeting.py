"""What passes before a client's data: requests, tokens, TLS. Over real sockets."""

import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trustme

from fanout.channel.channel import Channel
from fanout.channel.reader import Reader as ChannelReader
from fanout.clients.tcp_trio import (
    Disconnected,
    DisconnectedError,
    RefusedError,
    Restarted,
    TrioTcpClient,
)
from fanout.config.secret import Secret
from fanout.errors import ConfigError
from fanout.protocol import (
    End,
    EndReason,
    Position,
    Record,
    Request,
    Start,
    Trade,
    encode_request,
    frame,
)
from fanout.transports.tcp import TcpTransport, admission, greeting
from fanout.transports.tcp.config import TcpConfig
from tests.contracts.client import authority, client_tls
from tests.fanout.transports.test_tcp import connected, serving, tcp_reader, until_clients
from tests.stand.channels import new_channel, publish
from tests.stand.subscriber import StreamSubscriber

TOKEN = "correct-horse"


def transport(**options: object) -> TcpTransport:
    return TcpTransport(TcpConfig(port=0, **options), wall_ns=lambda: 0)  # type: ignore[arg-type]


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """The options of a server that speaks TLS."""
    issued = authority().issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    return {"tls_cert": str(cert), "tls_key": str(key)}


@asynccontextmanager
async def asking(url: str, data: bytes) -> AsyncIterator[StreamSubscriber]:
    """A reader that sends these bytes first."""
    async with connected(url) as stream:
        await stream.send_all(data)
        yield StreamSubscriber(stream.receive_some)


async def ended(reading: StreamSubscriber) -> End:
    """How a conversation ended. There must be nothing else in it."""
    await reading.until(End)
    assert not await reading.read_once()
    (end,) = reading.records
    assert isinstance(end, End)
    return end


def request(start: Start | Position = Start.LIVE, token: str | None = None) -> bytes:
    return frame(encode_request(Request(start=start, token=token)))


async def test_a_client_with_a_request_is_served_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 60)
    channel = new_channel()
    publish(channel, 1, 5)
    async with (
        serving(channel, transport()) as url,
        asking(url, request(Position(epoch_ns=1, seq=3))) as reading,
    ):
        reading.ask(Position(epoch_ns=1, seq=3))
        await reading.until(Trade, 3)
        assert reading.trade_ids == [3, 4, 5]


async def test_a_request_may_come_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 60)
    channel = new_channel()
    publish(channel, 1, 5)
    async with serving(channel, transport()) as url, connected(url) as stream:
        reading = StreamSubscriber(stream.receive_some)
        reading.ask(Start.OLDEST)
        for byte in request(Start.OLDEST):
            await stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        await reading.until(Trade, 5)


async def test_a_client_that_closes_its_sending_side_gets_the_default_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 60)
    channel = new_channel()
    async with serving(channel, transport()) as url, connected(url) as stream:
        await stream.send_eof()
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        publish(channel, 1)
        await reading.until(Trade)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "request of 542,393,671 bytes: 1 to 4,096 allowed"),
        (b"\xff" * 4_096, "request of 4,294,967,295 bytes"),
        (b"\0\0\0\0", "request of 0 bytes"),
        (frame(b"x" * 4_097), "request of 4,097 bytes"),
        (frame(b"x"), "not a request"),
        (frame(b'{"start":"now"}'), "'now'"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "this port does not speak TLS: use tcp://",
        ),
        (request(Position(epoch_ns=1, seq=9)), "number 9 is still to come: 3 is next"),
    ],
    ids=range(8),
)
async def test_a_request_that_cannot_be_served_is_refused_with_a_reason(
    data: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 60)
    channel, transport_ = new_channel(), transport()
    publish(channel, 1, 2)
    async with serving(channel, transport_) as url:
        async with asking(url, data) as reading:
            end = await ended(reading)
            assert (end.reason, end.last_seq, end.retry_ms) == (EndReason.BAD_REQUEST, 2, None)
            assert said in end.why
        await until_clients(transport_, 0)


async def test_a_request_that_is_never_completed_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "REQUEST_S", 0.05)
    async with (
        serving(new_channel(), transport()) as url,
        asking(url, request()[:-1]) as reading,
    ):
        end = await ended(reading)
        assert (end.reason, end.retry_ms) == (EndReason.BAD_REQUEST, 1_000)
        assert (
            end.why == f"request is cut short: {len(request()) - 1} bytes of it came within 0.05 s"
        )


async def test_the_service_ends_while_clients_are_still_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 60)
    channel, transport_ = new_channel(), transport()
    async with serving(channel, transport_) as url, connected(url) as stream:
        await until_clients(transport_, 1)
        publish(channel, 1)
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
        reading = StreamSubscriber(stream.receive_some)
        await reading.until(End)
        assert reading.trade_ids == [1]


@pytest.mark.parametrize(
    ("token", "said"), [("wrong", "the token is wrong"), (None, "a token is needed here")]
)
async def test_without_the_token_no_client_gets_a_trade(
    token: str | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    channel = new_channel()
    publish(channel, 1, 5)
    with caplog.at_level(logging.DEBUG, "fanout"):
        async with (
            serving(channel, transport(token=Secret(TOKEN))) as url,
            asking(url, request(Start.OLDEST, token)) as reading,
        ):
            reading.ask(Start.OLDEST)
            end = await ended(reading)
            assert (end.reason, end.retry_ms, end.why) == (EndReason.AUTH, None, said)
    assert said in caplog.text
    assert TOKEN not in caplog.text
    assert token is None or token not in caplog.text.replace(said, "")


async def test_a_client_without_a_request_is_refused_where_a_token_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "REQUEST_S", 0.05)
    async with (
        serving(new_channel(), transport(token=Secret(TOKEN))) as url,
        asking(url, b"") as reading,
    ):
        assert (await ended(reading)).reason is EndReason.AUTH


async def first_trade(url: str, channel: Channel, **options: object) -> list[Record]:
    """What a client gets up to the first trade."""
    records: list[Record] = []
    async with TrioTcpClient(url, reconnect=False, **options) as client:  # type: ignore[arg-type]
        await client.connect()
        publish(channel, 1)
        async for record in client:
            assert not isinstance(record, Disconnected | Restarted), "it does not reconnect"
            records.append(record)
            if isinstance(record, Trade):
                break
    return records


async def test_a_client_with_the_token_is_served() -> None:
    channel = new_channel()
    async with serving(channel, transport(token=Secret(TOKEN))) as url:
        records = await first_trade(url, channel, token=TOKEN)
    assert isinstance(records[-1], Trade)


async def test_a_client_is_served_over_tls(certificate: dict[str, str]) -> None:
    channel = new_channel()
    async with serving(channel, transport(**certificate, token=Secret(TOKEN))) as url:
        assert url.startswith("tls://")
        records = await first_trade(url, channel, token=TOKEN, tls=client_tls())
    assert isinstance(records[-1], Trade)


async def test_served_and_refused_clients_are_counted_separately() -> None:
    served = transport(token=Secret(TOKEN), max_clients=1)
    channel = new_channel()
    async with (
        serving(channel, served) as url,
        TrioTcpClient(url, token=TOKEN, reconnect=False) as first,
    ):
        await first.connect()
        publish(channel, 1)
        await anext(aiter(first))
        for token, count in ((TOKEN, 1), ("another", 2), (None, 3)):
            async with TrioTcpClient(url, token=token, reconnect=False) as other:
                with contextlib.suppress(DisconnectedError):
                    async for _ in other:
                        pass
            assert (served.stats().accepted, served.stats().refused) == (1, count)


def test_old_tls_is_refused_however_openssl_is_set_up(certificate: dict[str, str]) -> None:
    context = greeting.load_tls(TcpConfig(**certificate))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


async def test_megabytes_go_through_tls_unchanged(certificate: dict[str, str]) -> None:
    channel = new_channel()
    async with (
        serving(channel, transport(**certificate)) as url,
        TrioTcpClient(url, reconnect=False, tls=client_tls()) as client,
    ):
        await client.connect()
        publish(channel, 1, 60_000)
        channel.end(EndReason.SHUTDOWN, retry_ms=None, why="over")
        records = [each async for each in client]
    assert [each.trade_id for each in records[:-1] if isinstance(each, Trade)] == list(
        range(1, 60_001)
    )
    assert isinstance(records[-1], End)


@pytest.mark.parametrize("data", [b"", request(), b"\x15\x03"])
async def test_a_plain_client_at_a_tls_port_gets_an_unencrypted_error(
    data: bytes, certificate: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "HANDSHAKE_S", 0.05)
    async with (
        serving(new_channel(), transport(**certificate)) as url,
        asking(url.replace("tls:", "tcp:"), data) as reading,
    ):
        end = await ended(reading)
        assert end.reason is EndReason.BAD_REQUEST
        assert "TLS" in end.why


async def test_a_failed_handshake_affects_no_other_client(
    certificate: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    channel, transport_ = new_channel(), transport(**certificate)
    async with serving(channel, transport_) as url:
        for data in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16" * 5_000):
            async with connected(url.replace("tls:", "tcp:")) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass
        with pytest.raises(trio.BrokenResourceError):
            await untrusting(url)
        await until_clients(transport_, 0)
        assert isinstance((await first_trade(url, channel, tls=client_tls()))[-1], Trade)
    assert "no TLS: 127.0.0.1" in caplog.text


async def untrusting(url: str) -> None:
    """A client that does not trust the service's certificate."""
    stranger = ssl.create_default_context()
    trustme.CA().configure_trust(stranger)
    async with connected(url.replace("tls:", "tcp:")) as stream:
        await trio.SSLStream(stream, stranger, server_hostname="127.0.0.1").do_handshake()


@pytest.mark.parametrize("broken", ["missing", "swapped", "no certificate"])
async def test_an_unusable_certificate_is_an_error_of_one_line(
    broken: str, certificate: dict[str, str], tmp_path: Path
) -> None:
    match broken:
        case "missing":
            certificate["tls_cert"] = str(tmp_path / "nowhere.pem")
        case "swapped":
            certificate["tls_key"] = certificate["tls_cert"]
        case _:
            await trio.Path(certificate["tls_cert"]).write_text("hello")
    with pytest.raises(ConfigError, match=r"cannot use --tls-cert .*pem: ."):
        await transport(**certificate).run([new_channel()])


async def test_a_request_that_has_begun_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 0.01)
    channel = new_channel()
    publish(channel, 1, 5)
    async with serving(channel, transport()) as url, connected(url) as stream:
        reading = StreamSubscriber(stream.receive_some)
        reading.ask(Start.OLDEST)
        asked = request(Start.OLDEST)
        await stream.send_all(asked[:1])
        await trio.sleep(0.05)  # longer than a client that says nothing is waited for
        await stream.send_all(asked[1:])
        await reading.until(Trade, 5)


async def test_a_request_that_arrived_in_time_counts_though_the_service_read_it_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "SILENCE_S", 0.0)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.send(request(Start.OLDEST))
        asked = await greeting.read_request(near, is_needed=False)
    assert asked.start is Start.OLDEST


async def test_the_refusal_of_a_request_of_any_length_fits_its_frame() -> None:
    channel, transport_ = new_channel(), transport(token=Secret(TOKEN))
    async with serving(channel, transport_) as url:
        for said in (
            b'{"start":"%s"}' % (b"x" * 3_000),
            b'{"start":{"epoch_ns":1,"seq":%s}}' % (b"9" * 3_000),
            b'{"slow":"%s"}' % ("币" * 1_000).encode(),
        ):
            async with asking(url, frame(said)) as reading:
                assert (await ended(reading)).reason is EndReason.BAD_REQUEST


async def test_an_internal_error_ends_only_the_client_it_happened_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel, transport_ = new_channel(), transport()
    async with serving(channel, transport_) as url, tcp_reader(url) as good:
        await good.until_header()
        while not transport_.broadcasters[0].clients:  # noqa: ASYNC110  it has to have begun
            await trio.sleep(0.001)
        with monkeypatch.context() as broken:
            broken.setattr(ChannelReader, "start", lambda *_: 1 / 0)
            async with asking(url, request()) as reading:
                while await reading.read_once():
                    pass
        publish(channel, 1)
        await good.until(Trade)
    assert "an internal fault" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_clients_in_the_hall_do_not_count_as_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HALL_PLACES_PER_ADDRESS", 3)
    channel, transport_ = new_channel(), transport(token=Secret(TOKEN), max_clients=1)
    async with serving(channel, transport_) as url, connected(url), connected(url):
        await until_clients(transport_, 2)
        assert isinstance((await first_trade(url, channel, token=TOKEN))[-1], Trade)
        async with connected(url):
            await until_clients(transport_, 3)
            async with asking(url, request(token=TOKEN)) as reading:
                end = await ended(reading)
                assert (
                    end.why
                    == "the service is full: at most 3 clients without their token from one address"
                )


async def test_a_full_service_refuses_clients_with_the_token_too() -> None:
    channel, transport_ = new_channel(), transport(token=Secret(TOKEN), max_clients=1)
    async with serving(channel, transport_) as url, asking(url, request(token=TOKEN)) as first:
        await first.until_header()
        while not transport_.broadcasters[0].clients:  # noqa: ASYNC110  it has to have its place
            await trio.sleep(0.001)
        async with asking(url, request(token=TOKEN)) as second:
            end = await ended(second)
            assert (end.reason, end.why) == (
                EndReason.FULL,
                "the service is full: at most 1 clients at once",
            )
        publish(channel, 1)
        await first.until(Trade)


async def test_a_shutdown_gives_a_retry_delay_to_clients_that_have_yet_to_send_a_token() -> None:
    channel, transport_ = new_channel(), transport(token=Secret(TOKEN))
    async with serving(channel, transport_) as url, connected(url) as stream:
        await until_clients(transport_, 1)
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
        end = await ended(StreamSubscriber(stream.receive_some))
        assert (end.reason, end.retry_ms) == (EndReason.SHUTDOWN, 1_000)


async def test_a_tls_connection_ends_with_close_notify(certificate: dict[str, str]) -> None:
    """A reader that insists on it sees no truncation."""
    channel = new_channel()
    async with (
        serving(channel, transport(**certificate)) as url,
        connected(url.replace("tls:", "tcp:")) as plain,
    ):
        stream = trio.SSLStream(plain, client_tls(), server_hostname="127.0.0.1")
        await stream.send_all(request())
        reading = StreamSubscriber(stream.receive_some)
        await reading.until_header()
        channel.end(EndReason.SHUTDOWN, retry_ms=1, why="over")
        await reading.until(End)
        assert not await reading.read_once()


async def test_a_full_service_refuses_clients_over_tls(certificate: dict[str, str]) -> None:
    channel, transport_ = new_channel(), transport(**certificate, max_clients=1)
    async with (
        serving(channel, transport_) as url,
        TrioTcpClient(url, reconnect=False, tls=client_tls()) as first,
    ):
        await first.connect()
        async with TrioTcpClient(url, reconnect=False, tls=client_tls()) as second:
            with pytest.raises(RefusedError, match="the service is full: at most 1 clients"):
                await second.connect()


async def test_an_encrypted_key_is_refused_without_a_password_prompt(
    certificate: dict[str, str],
) -> None:
    encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
    encrypted += "DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n"
    encrypted += "AAAAAAAAAAAAAAAAAAAAAA==\n-----END RSA PRIVATE KEY-----\n"
    await trio.Path(certificate["tls_key"]).write_text(encrypted)
    with pytest.raises(ConfigError, match="which must not be encrypted"):
        await transport(**certificate).run([new_channel()])
