"""Bodies of Binance's errors, as documented or as seen in production.

The exchange itself answers in JSON, and a proxy or firewall in front of it in HTML.
"""

from typing import Final

import msgspec

from fanout.simulator.connection.http import JSON
from fanout.simulator.dialects.rest import proxy_page

RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received "
    "this message in error."
)


class Words(msgspec.Struct, frozen=True):
    """A venue's messages about its limits. `{}` is the limit, or the end of a ban in unix ms."""

    too_many: str
    banned: str


def error_body(code: int, message: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": message})


def error(
    status: int, words: Words, *, weight_limit: int, banned_until_ms: int
) -> tuple[bytes, str]:
    """The body of an error, and its content type."""
    if status == 429:
        return error_body(-1003, words.too_many.format(weight_limit)), JSON
    if status == 418:
        return error_body(-1003, words.banned.format(banned_until_ms)), JSON
    if status in _ERRORS:
        return error_body(*_ERRORS[status]), JSON
    return proxy_page(status)


_ERRORS: Final = {
    401: (-2015, "Invalid API-key, IP, or permissions for action."),
    408: (-1007, "Timeout waiting for response from backend server."),
    451: (0, RESTRICTED),
    500: (-1000, "An unknown error occurred while processing the request."),
    503: (-1008, "Server is currently overloaded with other requests. Please try again later."),
}
"""Any other status comes from a proxy, or from the firewall (403)."""
