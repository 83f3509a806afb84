"""The REST client of one venue, with bounded answers and errors in plain words.

After a timeout, a 5xx, or a rate limit that soon ends, the client retries a few times. It raises
every other failure at once. The kind of the error decides the exit code of a failed start:
unreachable, busy, or forbidden. The venue defines the meaning of an answer's status and body.

After a limit or a ban, all requests pause until the venue's deadline, or until our default expires.
Otherwise a request waits until the budget of the venue's window has room for its weight.
"""

import logging
import random
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import httpx2
import trio

from fanout.errors import (
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueKeyError,
    VenueMessageError,
    VenueRequestError,
    VenueUnreachableError,
    shown,
)
from fanout.net.addresses import Proxy
from fanout.net.budget import SHARE, Budget
from fanout.net.rest_tunnels import transports
from fanout.protocol.backoff import backoff
from fanout.protocol.errors import reason
from fanout.venues.base import Venue
from fanout.venues.values import Refusal, Request

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

ATTEMPTS: Final = 4
"""Most attempts at one request."""

TIMEOUT_S: Final = 10.0
"""Time limit of one attempt, from connecting to the last byte."""

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Largest answer. Binance's exchangeInfo, the largest that is requested, has 1.2 MB."""

PACKED: Final = "gzip"
"""The only accepted content encoding."""

_GZIP: Final = 31
"""zlib's `wbits` for data with gzip's header and checksum."""

LIMITS: Final = httpx2.Limits(max_connections=100, max_keepalive_connections=2)
"""Connections to a venue at once, and those that stay open for the next request. Back-fill of many
symbols needs many for a moment; left to itself, httpx would keep twenty for as long as no other
request is made."""

MAX_WAIT_S: Final = 61.0
"""Longest wait for a rate limit to end: no venue counts in windows longer than a minute."""

BAN_S: Final = 120.0
"""Shortest ban, where the venue does not say how long it lasts."""

FORBIDDEN_S: Final = 300.0
"""How long all requests pause after a venue refused to serve this address."""


class _WorthAnotherTryError(Exception):
    """A failure that a retry may cure.

    `error` is raised after the last attempt. `pause_s` is the venue's pause, if it named one; the
    client keeps it in any case.
    """

    def __init__(self, error: VenueError, pause_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause_s = pause_s


class RestClient:
    """GETs against one venue. Safe for several tasks at once."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        venue: Venue,
        *,
        way: str = "",
        attempts: int = ATTEMPTS,
        share: float = SHARE,
        uniform: Callable[[float, float], float],
        wall_s: Callable[[], float],
        now_s: Callable[[], float],
    ) -> None:
        """`way` describes the proxy for error messages. `share` is the part of the venue's weight
        limit to use. `wall_s` gives unix seconds, `now_s` monotonic seconds."""
        self._client = client
        self._way = way
        self._attempts = attempts
        self._venue = venue
        self._uniform = uniform
        self._wall_s = wall_s
        self._now_s = now_s
        limits = venue.limits
        self.budget = Budget(limits.weight, window_s=limits.window_s, share=share, wall_s=wall_s)
        self._refusal: VenueError | None = None
        self._refused_until_s = float("-inf")
        """In the time of `now_s`, so that setting the wall clock back does not prolong a ban."""

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        """Return the parsed answer. If parsing fails, the client retries.

        Raises `VenueError`, and the errors of `parse`.
        """
        pauses = backoff(first_s=0.5, cap_s=4.0, uniform=self._uniform)
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._attempt(request, parse)
            except _WorthAnotherTryError as failure:
                if attempt == self._attempts:
                    raise failure.error from failure
                pause_s = failure.pause_s or next(pauses)
                _LOG.warning("%s; trying again in %.1f s", failure.error, pause_s)
                if failure.pause_s is None:
                    await trio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: Request, parse: Callable[[bytes], T]) -> T:
        window = await self._wait_for_leave(request.weight)
        try:
            with trio.fail_after(TIMEOUT_S):
                status, headers, body = await self._fetch(request)
        except trio.TooSlowError as error:
            raise self._unreachable(request, f"no answer within {TIMEOUT_S:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(request, shown(reason(error))) from error
        used = self._venue.used_weight(headers)
        if used is not None:
            self.budget.counted(used, window)
        refusal = self._venue.verdict(status, body)
        if refusal is not None:
            raise self._failure(refusal, request, status, headers, body)
        try:
            return parse(body)
        except VenueMessageError as error:
            raise _WorthAnotherTryError(error) from error

    async def _wait_for_leave(self, weight: int) -> int:
        """Wait until a request of this weight is allowed.

        Returns the window that it counts in. Raises the venue's last refusal if the wait
        would exceed `MAX_WAIT_S`.
        """
        while True:
            pause_s = max(self._refused_until_s - self._now_s(), self.budget.wait_s(weight))
            if pause_s <= 0:
                break
            if pause_s > MAX_WAIT_S and self._refusal is not None:
                raise self._refusal
            await trio.sleep(pause_s)
        return self.budget.spend(weight)

    async def _fetch(self, request: Request) -> tuple[int, httpx2.Headers, bytes]:
        # httpx percent-encodes the query as UTF-8, which symbols in Chinese need.
        url = self._venue.rest_url + request.path
        asking = self._client.stream("GET", url, params=request.query, headers=request.headers)
        async with asking as response:
            body = bytearray()
            # Cancel instead of `break`, which would leave httpx's generators open.
            with trio.CancelScope() as reading:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        reading.cancel()
            if len(body) > MAX_BODY_BYTES:
                raise _too_long(request)
            return response.status_code, response.headers, _unpacked(body, response, request)

    def _unreachable(self, request: Request, why: str) -> _WorthAnotherTryError:
        what = f"{self._venue.rest_url}{request.path} cannot be reached{self._way}: {why}"
        return _WorthAnotherTryError(VenueUnreachableError(what))

    def _failure(
        self,
        refusal: Refusal,
        request: Request,
        status: int,
        headers: httpx2.Headers,
        body: bytes,
    ) -> Exception:
        how = "an error" if status == 200 else f"HTTP {status}"
        what = f"{self._venue.name} answers {request.path} with {how}"
        said = self._venue.explain(status, body)
        said = f": {said}" if said else ""
        match refusal:
            case Refusal.FORBIDDEN:
                why = f"{what}, it does not serve this region or network{said}"
                return self._refused(VenueForbiddenError(why), FORBIDDEN_S)
            case Refusal.BANNED:
                why = f"{what}, this address is banned for a while: wait{said}"
                banned = VenueBusyError(why, self._ban_s(headers, body))
                return self._refused(banned, banned.pause_s)
            case Refusal.BUSY:
                # Not every venue sends Retry-After.
                usual_s = self._venue.limits.busy_s or self.budget.left_s
                why = f"{what}, too many requests from this address{said}"
                busy = VenueBusyError(why, _retry_after_s(headers) or usual_s)
                self._refused(busy, busy.pause_s)
                is_soon = busy.pause_s <= MAX_WAIT_S
                return _WorthAnotherTryError(busy, busy.pause_s) if is_soon else busy
            case Refusal.KEY:
                return VenueKeyError(f"{what}, it does not accept the key{said}")
            case Refusal.PASSING:
                return _WorthAnotherTryError(VenueUnreachableError(what + said))
            case Refusal.OTHER:
                return VenueRequestError(what + said)

    def _ban_s(self, headers: httpx2.Headers, body: bytes) -> float:
        until_ms = self._venue.banned_until_ms(body) or 0
        return max(_retry_after_s(headers) or 0, until_ms / 1000 - self._wall_s()) or BAN_S

    def _refused(self, error: VenueError, pause_s: float) -> VenueError:
        """Pause all requests for so long. A request that would wait too long raises `error`."""
        until_s = self._now_s() + pause_s
        if until_s > self._refused_until_s:  # a ban is not shortened by a limit
            self._refusal, self._refused_until_s = error, until_s
        return error


def _unpacked(body: bytearray, response: httpx2.Response, request: Request) -> bytes:
    """Decompress a body, which may be gzipped once.

    httpx would apply every encoding that the answer names. A gzip of a gzip of zeros grows a
    millionfold. Raises `VenueMessageError`.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return bytes(body)
    if encoding != PACKED:
        raise VenueMessageError("REST answer packed strangely", f"{request.path}: {encoding}")
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        unpacked = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise VenueMessageError("REST answer packed wrongly", f"{request.path}: {error}") from error
    if len(unpacked) > MAX_BODY_BYTES:
        raise _too_long(request)
    if not unpacker.eof:
        raise VenueMessageError("REST answer packed wrongly", f"{request.path} is cut short")
    return unpacked


def _too_long(request: Request) -> VenueMessageError:
    what = f"{request.path} exceeds {MAX_BODY_BYTES:,} bytes"
    return VenueMessageError("REST answer too long", what)


def _retry_after_s(headers: httpx2.Headers) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


@asynccontextmanager
async def open_rest(
    venue: Venue,
    *,
    proxy: Proxy | None = None,
    attempts: int = ATTEMPTS,
    share: float = SHARE,
    wall_s: Callable[[], float] = time.time,
    now_s: Callable[[], float] = trio.current_time,
) -> AsyncIterator[RestClient]:
    """Open a client for `venue`, and close it at the end.

    It connects with its first request, through the proxy `proxy` if given. It makes up to
    `attempts` attempts at each request, and uses up to `share` of the venue's weight limit.
    `wall_s` gives unix seconds, `now_s` monotonic seconds.
    """
    # httpx ignores SSL_CERT_FILE by default; the WebSocket connection honours it.
    trust = ssl.create_default_context()
    async with httpx2.AsyncClient(
        timeout=None,
        limits=LIMITS,
        headers={"user-agent": "fanout", "accept-encoding": PACKED},
        mounts=transports(proxy, trust, LIMITS),
        trust_env=False,
        verify=trust,
    ) as client:
        way = f" through the proxy {proxy}" if proxy else ""
        yield RestClient(
            client,
            venue,
            way=way,
            attempts=attempts,
            share=share,
            uniform=random.uniform,
            wall_s=wall_s,
            now_s=now_s,
        )
