"""HTTP requests and responses as values, and the bodies that errors have.

These are the documented ones, or what production has been seen to send: JSON of the exchange's own
where a request reached it, HTML where something in front of it answered.
"""

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import msgspec

JSON: Final = "application/json;charset=UTF-8"
HTML: Final = "text/html"

BAN_NOTE: Final = "Please use the websocket for live updates to avoid bans."
POLL_NOTE: Final = "Please use the websocket for live updates to avoid polling the API."
RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received "
    "this message in error."
)


class Request(msgspec.Struct, frozen=True):
    """`target` is a path and a query. A body is read only for the control endpoint."""

    method: str
    target: str
    api_key: str | None = None
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


class Response(msgspec.Struct, frozen=True):
    """Of the body, `sent_bytes` are sent if it is given, and then the connection ends."""

    status: int
    body: bytes
    used_weight: int | None = None
    retry_after_s: int | None = None
    content_type: str = JSON
    delay_s: float = 0.0
    sent_bytes: int | None = None


def error_body(code: int, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message})


def too_many(limit: int) -> bytes:
    said = f"Too many requests; current limit is {limit} requests per minute."
    return error_body(-1003, f"{said} {POLL_NOTE}")


def banned(until_ms: int) -> bytes:
    return error_body(-1003, f"Way too many requests; IP banned until {until_ms}. {BAN_NOTE}")


def unwell(status: int) -> tuple[bytes, str]:
    """The body of an error that no limit is to blame for, and its content type."""
    if status in _ERRORS:
        return error_body(*_ERRORS[status]), JSON
    title = f"{status} {phrase(status)}"
    return f"<html><head><title>{title}</title></head></html>\r\n".encode(), HTML


def phrase(status: int) -> str:
    """What HTTP calls a status; nothing for one it does not know, as proxies have of their own."""
    return HTTPStatus(status).phrase if status in _KNOWN else ""


_KNOWN: Final = frozenset(HTTPStatus)

_ERRORS: Final = {
    401: (-2015, "Invalid API-key, IP, or permissions for action."),
    408: (-1007, "Timeout waiting for response from backend server."),
    451: (0, RESTRICTED),
    500: (-1000, "An unknown error occurred while processing the request."),
    503: (-1008, "Server is currently overloaded with other requests. Please try again later."),
}
"""What is not here is answered by a proxy, or by the firewall (403)."""
