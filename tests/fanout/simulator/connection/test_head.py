"""The head of a request: fed whole, byte by byte, cut short, too long, and not a head at all."""

from http import HTTPStatus

import pytest
import trio
from trio.testing import MockClock, memory_stream_one_way_pair, memory_stream_pair

from fanout.simulator.connection.head import (
    LINGER_S,
    MAX_HEAD_BYTES,
    MAX_REQUEST_LINE_BYTES,
    Head,
    RefusedError,
    Replayed,
    read_head,
    refuse,
)
from tests.fanout.simulator.support import receive_all

REST = b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nupgrade:\tWebSocket\r\nConnection: Upgrade\r\n\r\n"


async def read(data: bytes) -> Head | None:
    """What is read from a client that sends this and leaves."""
    client, server = memory_stream_one_way_pair()
    await client.send_all(data)
    await client.aclose()
    return await read_head(server)


async def status_of(data: bytes) -> HTTPStatus:
    with pytest.raises(RefusedError) as caught:
        await read(data)
    return caught.value.status


async def test_a_plain_request_is_rest() -> None:
    assert await read(REST) == Head("/fapi/v1/ping", False, REST)


async def test_an_upgrade_is_a_websocket_however_it_is_spelled() -> None:
    assert await read(UPGRADE) == Head("/ws", True, UPGRADE)


async def test_an_upgrade_header_in_a_body_does_not_count() -> None:
    head = await read(REST + b"upgrade: websocket\r\n\r\n")
    assert head is not None
    assert not head.is_websocket


@pytest.mark.parametrize("head", [REST, UPGRADE])
async def test_a_head_may_come_byte_by_byte(head: bytes, nursery: trio.Nursery) -> None:
    client, server = memory_stream_pair()

    async def drip() -> None:
        for byte in head:
            await client.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

    nursery.start_soon(drip)
    found = await read_head(server)
    assert found is not None
    assert found.raw == head


@pytest.mark.parametrize("length", range(len(REST)))
async def test_a_client_may_leave_anywhere_in_the_head(length: int) -> None:
    assert await read(REST[:length]) is None


async def test_bytes_behind_the_head_are_kept() -> None:
    head = await read(REST + b"more")
    assert head is not None
    assert head.raw == REST + b"more"


async def test_raw_utf_8_in_the_url_is_percent_encoded() -> None:
    head = await read(UPGRADE.replace(b"/ws", "/ws/币usdt@trade".encode()))
    assert head is not None
    assert head.target == "/ws/%E5%B8%81usdt@trade"
    assert b" /ws/%E5%B8%81usdt@trade HTTP/1.1\r\n" in head.raw


def request_line(length: int) -> bytes:
    return b"GET /".ljust(length - len(" HTTP/1.1\r"), b"x") + b" HTTP/1.1\r\n"


async def test_a_request_line_at_the_limit_is_read() -> None:
    assert await read(request_line(MAX_REQUEST_LINE_BYTES) + b"Host: x\r\n\r\n") is not None


@pytest.mark.parametrize("rest", [b"", b"Host: x\r\n\r\n"])
async def test_a_request_line_over_the_limit_is_too_long(rest: bytes) -> None:
    line = request_line(MAX_REQUEST_LINE_BYTES + 1)
    assert await status_of(line + rest) is HTTPStatus.REQUEST_URI_TOO_LONG


async def test_a_request_line_without_end_is_too_long() -> None:
    assert await status_of(b"G" * 100_000) is HTTPStatus.REQUEST_URI_TOO_LONG


async def test_headers_without_end_are_too_large() -> None:
    headers = b"x: y\r\n" * MAX_HEAD_BYTES
    assert await status_of(b"GET / HTTP/1.1\r\n" + headers) is (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    )


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"\r\n\r\n", b"get /", b"\x00"])
async def test_bytes_that_do_not_begin_a_request_are_refused_at_once(data: bytes) -> None:
    assert await status_of(data) is HTTPStatus.BAD_REQUEST


async def refused(error: RefusedError) -> bytes:
    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse, server, error)
        answer = await receive_all(client)
        await client.aclose()
    return answer


async def test_a_refusal_is_a_whole_answer() -> None:
    assert await refused(RefusedError(HTTPStatus.NOT_FOUND)) == (
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )


async def test_a_refusal_may_have_a_retry_after() -> None:
    assert b"\r\nRetry-After: 7\r\n" in await refused(RefusedError(429, 7))


async def test_a_client_that_reads_no_refusal_is_not_waited_for(autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()
    await refuse(server, RefusedError(404))
    assert trio.current_time() == pytest.approx(LINGER_S)
    await client.aclose()


async def test_bytes_already_read_are_returned_before_more_are_read() -> None:
    client, server = memory_stream_pair()
    await client.send_all(b"more")
    replayed = Replayed(server, b"already")
    assert await replayed.receive_some(3) == b"alr"
    assert await replayed.receive_some() == b"eady"
    assert await replayed.receive_some() == b"more"


async def test_two_tasks_may_send_without_mixing_their_bytes(nursery: trio.Nursery) -> None:
    client, server = trio.testing.lockstep_stream_pair()
    replayed = Replayed(server, b"")
    for byte in (b"a", b"b"):
        nursery.start_soon(replayed.send_all, byte * 1_000)
    received = bytearray()
    while len(received) < 2_000:
        received += await client.receive_some(300)
    assert received in (b"a" * 1_000 + b"b" * 1_000, b"b" * 1_000 + b"a" * 1_000)
