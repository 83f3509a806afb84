"""What an HTTP port answers, and how it is sent. Of the service and of a bridge."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import h11
import msgspec

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


class Answer(msgspec.Struct, frozen=True):
    """Status and body of an answer."""

    status: int
    body: bytes
    content_type: str = TEXT


def refusal(request: h11.Request, paths: Iterable[str]) -> Answer | None:
    """The answer to a request for a path that is not there, or with a method that changes
    something; None for others."""
    if path_of(request) not in paths:
        known = ", ".join(paths)
        return Answer(HTTPStatus.NOT_FOUND, f"unknown path; known: {known}\n".encode())
    if request.method not in (b"GET", b"HEAD"):
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n")
    return None


def path_of(request: h11.Request) -> str:
    """The path that was asked for, without its query."""
    return request.target.decode("ascii", "replace").partition("?")[0]


def rendered(
    connection: h11.Connection, answer: Answer, *, head_only: bool = False, closes: bool = False
) -> bytes:
    """The bytes of an answer. `head_only` is for HEAD, `closes` for the last one of a
    connection."""
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
    ]
    if closes:
        headers.append(("Connection", "close"))
    status = HTTPStatus(answer.status)
    head = h11.Response(status_code=status, reason=status.phrase, headers=headers)
    events = (head, h11.Data(data=b"" if head_only else answer.body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)
