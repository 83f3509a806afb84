"""Faults of REST and of handshakes. They wait here for requests with their paths."""

from typing import Final

import msgspec

from fanout.errors import UsageError
from fanout.simulator.connection.http import HTML, JSON, Response
from fanout.simulator.dialects.base import Dialect
from fanout.simulator.faults import MAX_STANDING, Http


class RestFaults:
    """A request gets the oldest fault for its path."""

    def __init__(self, dialect: Dialect, weight_limit: int) -> None:
        self._dialect = dialect
        self._weight_limit = weight_limit
        self._waiting: list[_Waiting] = []

    def begin(self, fault: Http, now_ms: int) -> None:
        """Raises `UsageError` if `MAX_STANDING` faults stand already."""
        if len(self._waiting) == MAX_STANDING:
            raise UsageError(f"{MAX_STANDING:,} faults of REST stand already: clear them")
        self._waiting.append(_Waiting(fault, now_ms + round(fault.banned_for_s * 1000)))

    def clear(self) -> None:
        self._waiting.clear()

    def standing(self) -> list[Http]:
        return [each.fault for each in self._waiting]

    def next(self, path: str) -> Http | None:
        """The fault for a request with this path. The request counts towards the fault's end."""
        found = self._next(path)
        return None if found is None else found.fault

    def spoil(self, path: str, response: Response) -> Response:
        """The response, changed by its fault if it has one. Its weight is spent either way."""
        found = self._next(path)
        if found is None:
            return response
        fault = found.fault
        if fault.rows is not None:
            response = msgspec.structs.replace(response, body=_fewer(response.body, fault.rows))
        if fault.status is not None:
            body, content_type = self._dialect.error(
                fault.status,
                weight_limit=self._weight_limit,
                banned_until_ms=found.banned_until_ms,
            )
            response = msgspec.structs.replace(
                response, status=fault.status, body=body, content_type=content_type
            )
        if fault.body is not None:
            content_type = HTML if fault.body.startswith("<") else JSON
            response = msgspec.structs.replace(
                response, body=fault.body.encode(), content_type=content_type
            )
        return msgspec.structs.replace(
            response,
            retry_after_s=fault.retry_after_s,
            delay_s=fault.delay_s,
            sent_bytes=fault.sent_bytes,
        )

    def _next(self, path: str) -> "_Waiting | None":
        for each in self._waiting:
            if path.startswith(each.fault.path or self._dialect.rest_root):
                if each.requests_left is not None:
                    each.requests_left -= 1
                if each.requests_left == 0:
                    self._waiting.remove(each)
                return each
        return None


class _Waiting:
    def __init__(self, fault: Http, banned_until_ms: int) -> None:
        self.fault = fault
        self.requests_left = fault.requests
        self.banned_until_ms = banned_until_ms


def _fewer(body: bytes, rows: int) -> bytes:
    """The first rows of an answer that is a list, or has one under the names in `_WRAPPERS`; any
    other answer unchanged."""
    answer = msgspec.json.decode(body) if body.startswith((b"[", b"{")) else None
    if isinstance(answer, list):
        return msgspec.json.encode(answer[:rows])
    outer = answer
    while isinstance(outer, dict):
        name = next((each for each in _WRAPPERS if each in outer), "")
        inner = outer.get(name)
        if isinstance(inner, list):
            outer[name] = inner[:rows]
            return msgspec.json.encode(answer)
        outer = inner
    return body


_WRAPPERS: Final = ("result", "data", "list", "trades")
