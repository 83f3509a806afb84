"""HTTP requests and responses as values."""

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import msgspec

JSON: Final = "application/json;charset=UTF-8"
HTML: Final = "text/html"


class Request(msgspec.Struct, frozen=True):
    """`target` is a path and a query. Header names are lower case. A body is read only for the
    control endpoint."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = {}

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


class Response(msgspec.Struct, frozen=True):
    """`headers` are the venue's own. With `sent_bytes`, only so many bytes of the body are sent,
    and then the connection ends."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    retry_after_s: int | None = None
    content_type: str = JSON
    delay_s: float = 0.0
    sent_bytes: int | None = None


def phrase(status: int) -> str:
    """HTTP's phrase for a status; empty for an unknown one, such as a proxy's own."""
    return HTTPStatus(status).phrase if status in _KNOWN else ""


_KNOWN: Final = frozenset(HTTPStatus)
