"""The HTTP port of a bridge."""

import asyncio
from http import HTTPStatus

import pytest

from fanout.bridge import http
from fanout.bridge.http import HttpServer
from fanout.http.answer import Answer


def conversation(*said: bytes) -> list[bytes]:
    """What the server answers to each of these, said over connections of their own."""

    async def work() -> list[bytes]:
        routes = {"/healthz": lambda: Answer(HTTPStatus.OK, b"ok\n")}
        server = await HttpServer(routes).listen("127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answers = []
        async with server:
            for each in said:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(each)
                if not each:
                    writer.write_eof()
                try:
                    answers.append(await reader.read())
                except ConnectionResetError:  # the server left before it had read all
                    answers.append(b"")
                writer.close()
        return answers

    return asyncio.run(work())


def test_it_answers_and_says_what_there_is() -> None:
    found, head, missing, refused, nothing = conversation(
        b"GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /else HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"",
    )
    assert found.startswith(b"HTTP/1.1 200")
    assert found.endswith(b"\r\n\r\nok\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"\r\nContent-Length: 3\r\n" in head
    assert head.endswith(b"\r\nConnection: close\r\n\r\n")
    assert missing.startswith(b"HTTP/1.1 404")
    assert missing.endswith(b"unknown path; known: /healthz\n")
    assert refused.startswith(b"HTTP/1.1 405")
    assert nothing == b""


def test_what_is_no_http_ends_its_connection_only() -> None:
    garbage, endless, found = conversation(
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 2 * http.MAX_HEAD_BYTES,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    assert garbage == endless == b""
    assert found.startswith(b"HTTP/1.1 200")


def test_a_client_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.01)
    assert conversation(b"GET ") == [b""]


def test_too_many_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 0)
    assert conversation(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") == [b""]
