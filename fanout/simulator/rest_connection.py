"""One REST client: HTTP/1.1 with keep-alive, one request after the other, by h11."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

from fanout.simulator.head import MAX_HEAD_BYTES, RefusedError
from fanout.simulator.rest import Response

REQUEST_S: Final = 60.0  # for a request to come and be whole, and for its answer to be taken

Respond = Callable[[str, str], Response]


async def serve_rest(stream: trio.abc.HalfCloseableStream, respond: Respond) -> None:
    """Answer requests until the client leaves, says so, is too slow, or makes no sense.

    Raises RefusedError for what is not HTTP, BrokenResourceError when the client has gone.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        while True:
            with trio.move_on_after(REQUEST_S) as patience:
                if not await _exchange(connection, stream, respond):
                    return
            if patience.cancelled_caught:
                return
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus(error.error_status_hint)) from error


async def _exchange(connection: h11.Connection, stream: trio.abc.Stream, respond: Respond) -> bool:
    """One request, one answer. Whether another pair may follow."""
    request = await _next_request(connection, stream)
    if request is None:
        return False
    response = respond(request.method.decode(), request.target.decode())
    await stream.send_all(_render(connection, request, response))
    return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _next_request(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """The head of a request; a body is read and let go. None when the client has left."""
    request = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


def _render(connection: h11.Connection, request: h11.Request, response: Response) -> bytes:
    head = h11.Response(
        status_code=response.status,
        reason=HTTPStatus(response.status).phrase,
        headers=[
            ("Content-Type", "application/json;charset=UTF-8"),
            ("Content-Length", str(len(response.body))),
            ("X-MBX-USED-WEIGHT-1M", str(response.used_weight)),
        ],
    )
    body = b"" if request.method == b"HEAD" else response.body
    events = (head, h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)
