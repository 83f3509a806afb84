"""Serves one REST client with h11: HTTP/1.1 with keep-alive, one request after the other."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

from fanout.http.request import next_request
from fanout.simulator.connection.head import MAX_HEAD_BYTES, RefusedError
from fanout.simulator.connection.http import Request, Response, phrase

REQUEST_S: Final = 60.0  # to receive a whole request, and again to send the answer

Respond = Callable[[Request], Response]


async def serve_rest(stream: trio.abc.HalfCloseableStream, respond: Respond) -> None:
    """Answer requests until the client leaves, asks to close, is too slow, or breaks HTTP.

    Raises RefusedError for bytes that are not HTTP, BrokenResourceError when the client has gone.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        while await _exchange(connection, stream, respond):
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus(error.error_status_hint)) from error


async def _exchange(connection: h11.Connection, stream: trio.abc.Stream, respond: Respond) -> bool:
    """Answer one request. Returns whether another may follow."""
    received: tuple[h11.Request, bytes] | None = None
    with trio.move_on_after(REQUEST_S):
        received = await next_request(connection, stream)
    if received is None:
        return False
    request = _request(*received)
    response = respond(request)
    await trio.sleep(response.delay_s)
    with trio.move_on_after(REQUEST_S) as patience:
        await stream.send_all(_render(connection, request, response))
    if patience.cancelled_caught or response.sent_bytes is not None:
        return False
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


def _request(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode(), head.target.decode(), body, headers)


def _render(connection: h11.Connection, request: Request, response: Response) -> bytes:
    head = h11.Response(
        status_code=response.status,
        reason=phrase(response.status),
        headers=_headers(response),
    )
    body = b"" if request.method == "HEAD" else response.body
    sent = connection.send(head) or b""
    if response.sent_bytes is not None:
        # The Content-Length is still that of the whole body, so the client notices the cut.
        return sent + (connection.send(h11.Data(data=body[: response.sent_bytes])) or b"")
    events = (h11.Data(data=body), h11.EndOfMessage())
    return sent + b"".join(connection.send(event) or b"" for event in events)


def _headers(response: Response) -> list[tuple[str, str]]:
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        *response.headers.items(),
    ]
    if response.retry_after_s is not None:
        headers.append(("Retry-After", str(response.retry_after_s)))
    return headers
