"""Callers of a venue's two sides over any stream: one of REST, and one of WebSocket that sends
nothing by itself, neither a pong nor a close."""

import json
from typing import Any

import h11
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import Event, Request


class RestAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: Any


class RestClient:
    """One kept-alive connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def request(
        self, target: str, method: str = "GET", *, body: bytes = b"", api_key: str | None = None
    ) -> RestAnswer:
        headers = [("Host", "simulator"), ("Content-Length", str(len(body)))]
        headers += [("X-MBX-APIKEY", api_key)] if api_key is not None else []
        head = h11.Request(method=method, target=target, headers=headers)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            await self._stream.send_all(self._connection.send(event) or b"")
        answer = await self._read()
        self._connection.start_next_cycle()
        return answer

    async def _read(self) -> RestAnswer:
        body = b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(bytes(await self._stream.receive_some()))
            elif isinstance(event, h11.Response):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                is_json = headers.get("content-type", "").startswith("application/json")
                return RestAnswer(status, headers, json.loads(body) if body and is_json else body)


class RawClient:
    """A WebSocket client that answers nothing by itself: no pong, no close."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)

    async def shake_hands(self, target: str) -> None:
        await self.send(Request(host="simulator", target=target))
        await self.event()

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def event(self) -> Event | None:
        """The next event, or None when the stream is at its end."""
        while True:
            for event in self.protocol.events():
                return event
            data = await self.stream.receive_some()
            if not data:
                return None
            self.protocol.receive_data(bytes(data))
