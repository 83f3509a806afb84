"""Reads HTTP/1.1 requests with h11, for the service's HTTP port and the simulator's REST."""

from typing import Final

import h11
import trio

READ_BYTES: Final = 4 * 1024

MAX_BODY_BYTES: Final = 64 * 1024
"""Largest body of a request. Valid requests need a few hundred bytes."""


async def next_request(
    connection: h11.Connection, stream: trio.abc.Stream
) -> tuple[h11.Request, bytes] | None:
    """A complete request and its body, or None if the client has left.

    Raises `h11.RemoteProtocolError`, with the status to answer, for invalid HTTP and for a request
    that is too long.
    """
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            # Small reads: h11 checks the size of a head only while it is incomplete.
            connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                what = f"request body exceeds {MAX_BODY_BYTES:,} bytes"
                raise h11.RemoteProtocolError(what, error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None, "h11 gives no end without a beginning"
            return head, bytes(body)
        elif isinstance(event, h11.ConnectionClosed):
            return None
