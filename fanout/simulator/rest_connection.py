"""One REST client: HTTP/1.1 with keep-alive, one request after the other, by h11."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

from fanout.simulator.head import MAX_HEAD_BYTES, RefusedError
from fanout.simulator.messages import Request, Response, phrase

REQUEST_S: Final = 60.0  # for a request to come and be whole; and for its answer to be taken
MAX_BODY_BYTES: Final = 64 * 1024  # nothing that is asked for takes more than a few hundred

Respond = Callable[[Request], Response]


async def serve_rest(stream: trio.abc.HalfCloseableStream, respond: Respond) -> None:
    """Answer requests until the client leaves, says so, is too slow, or makes no sense.

    Raises RefusedError for what is not HTTP, BrokenResourceError when the client has gone.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        while await _exchange(connection, stream, respond):
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus(error.error_status_hint)) from error


async def _exchange(connection: h11.Connection, stream: trio.abc.Stream, respond: Respond) -> bool:
    """One request, one answer. Whether another pair may follow."""
    request: Request | None = None
    with trio.move_on_after(REQUEST_S):
        request = await _next_request(connection, stream)
    if request is None:
        return False
    response = respond(request)
    await trio.sleep(response.delay_s)
    with trio.move_on_after(REQUEST_S) as patience:
        await stream.send_all(_render(connection, request, response))
    if patience.cancelled_caught or response.sent_bytes is not None:
        return False
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _next_request(connection: h11.Connection, stream: trio.abc.Stream) -> Request | None:
    """A whole request, or None when the client has left."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None, "h11 gives no end without a beginning"
            return _request(head, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            return None


def _request(head: h11.Request, body: bytes) -> Request:
    keys = [value.decode() for name, value in head.headers if name == b"x-mbx-apikey"]
    return Request(head.method.decode(), head.target.decode(), keys[0] if keys else None, body)


def _render(connection: h11.Connection, request: Request, response: Response) -> bytes:
    head = h11.Response(
        status_code=response.status,
        reason=phrase(response.status),
        headers=_headers(response),
    )
    body = b"" if request.method == "HEAD" else response.body
    sent = connection.send(head) or b""
    if response.sent_bytes is not None:
        # The length that was promised is that of the whole body: the client is to notice.
        return sent + (connection.send(h11.Data(data=body[: response.sent_bytes])) or b"")
    events = (h11.Data(data=body), h11.EndOfMessage())
    return sent + b"".join(connection.send(event) or b"" for event in events)


def _headers(response: Response) -> list[tuple[str, str]]:
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
    ]
    if response.used_weight is not None:
        headers.append(("X-MBX-USED-WEIGHT-1M", str(response.used_weight)))
    if response.retry_after_s is not None:
        headers.append(("Retry-After", str(response.retry_after_s)))
    return headers
