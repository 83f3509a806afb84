"""A venue's REST side that answers from a script, on a real socket."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from fanout.venues import BinanceUsdm


def answer(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    """An HTTP/1.1 answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class ScriptedRest:
    """Answers the nth request with the nth answer; the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.requests: list[bytes] = []
        self.hold: dict[int, trio.Event] = {}
        """The nth answer waits for its event, if it has one."""

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            self.requests.append(head)
            if len(self.requests) in self.hold:
                await self.hold[len(self.requests)].wait()
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(
                    self._answers[min(len(self.requests), len(self._answers)) - 1]
                )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BinanceUsdm]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, self._serve, 0)
            port = listeners[0].socket.getsockname()[1]
            yield BinanceUsdm(rest_url=f"http://127.0.0.1:{port}", ws_url=f"ws://127.0.0.1:{port}")
            nursery.cancel_scope.cancel()
