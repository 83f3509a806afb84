"""REST for the venue: one client, bounded answers, and failures in plain words.

A request that another attempt can mend (a timeout, a 5xx, a rate limit that soon ends) is made
again, a few times. Every other failure is raised at once. The kind of the error decides the exit
code of a start that fails: unreachable, busy, or forbidden. What an HTTP status means is the
venue's to say.

After a limit or a ban, all requests pause until the venue's deadline, or until our default expires.
Otherwise a request waits until there is room for its weight in the clock minute.
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
    VenueUnreachableError,
    shown,
)
from fanout.net.addresses import Proxy
from fanout.net.budget import SHARE, Budget
from fanout.net.rest_tunnels import transports
from fanout.protocol.backoff import backoff
from fanout.protocol.errors import reason
from fanout.venues.base import Refusal, Request, Venue

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

ATTEMPTS: Final = 4
"""How often a request is made before its failure is raised."""

TIMEOUT_S: Final = 10.0
"""For one attempt, from connecting to the last byte."""

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Longest answer. Binance's exchangeInfo, the longest asked for, has 1.2 MB."""

PACKED: Final = "gzip"
"""How an answer may be packed."""

_GZIP: Final = 31
"""In zlib's words: with gzip's own header and check."""

MAX_WAIT_S: Final = 61.0
"""Longest wait for a rate limit to end: limits count per clock minute."""

BAN_S: Final = 120.0
"""Shortest ban, where the venue does not say how long it lasts."""

FORBIDDEN_S: Final = 300.0
"""How long all requests pause after a venue refused to serve this address."""


class _WorthAnotherTryError(Exception):
    """Carries the error to raise when there is no attempt left, and a pause, if the venue named
    one: that is kept anyway."""

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
        """`way` to the venue, in words, if it is not the direct one; `share` of its weight is
        taken. `wall_s` gives unix s, `now_s` those of a clock that nobody sets."""
        self._client = client
        self._way = way
        self._attempts = attempts
        self._venue = venue
        self._uniform = uniform
        self._wall_s = wall_s
        self._now_s = now_s
        self.budget = Budget(venue.limits.weight_a_minute, share=share, wall_s=wall_s)
        self._refusal: VenueError | None = None
        self._refused_until_s = float("-inf")
        """By `now_s`: a ban does not grow by an hour when the clock is set back by one."""

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the answer. A request whose answer cannot be parsed is made again.

        Raises a `VenueError` that says in words what failed, and what `parse` raises.
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
        minute = await self._wait_for_leave(request.weight)
        try:
            with trio.fail_after(TIMEOUT_S):
                status, headers, body = await self._fetch(request)
        except trio.TooSlowError as error:
            raise self._unreachable(request, f"no answer within {TIMEOUT_S:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(request, shown(reason(error))) from error
        used = self._venue.used_weight(headers)
        if used is not None:
            self.budget.counted(used, minute)
        if status != 200:
            raise self._failure(request, status, headers, body)
        try:
            return parse(body)
        except VenueMessageError as error:
            raise _WorthAnotherTryError(error) from error

    async def _wait_for_leave(self, weight: int) -> int:
        """Wait until the venue may be asked. Gives the clock minute that the request counts in.
        Raises the venue's last refusal if the wait would be long."""
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
            # Cancelled rather than broken off: httpx leaves its generators open otherwise.
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
        self, request: Request, status: int, headers: httpx2.Headers, body: bytes
    ) -> Exception:
        what = f"{self._venue.name} answers {request.path} with HTTP {status}"
        said = self._venue.explain(status, body)
        said = f": {said}" if said else ""
        match self._venue.refusal(status):
            case Refusal.FORBIDDEN:
                why = f"{what}, it does not serve this region or network{said}"
                return self._refused(VenueForbiddenError(why), FORBIDDEN_S)
            case Refusal.BANNED:
                why = f"{what}, this address is banned for a while: wait{said}"
                banned = VenueBusyError(why, self._ban_s(headers, body))
                return self._refused(banned, banned.pause_s)
            case Refusal.BUSY:
                # Without Retry-After, which not every venue sends, a limit ends with the minute.
                why = f"{what}, too many requests from this address{said}"
                busy = VenueBusyError(why, _retry_after_s(headers) or 60 - self._wall_s() % 60)
                self._refused(busy, busy.pause_s)
                is_soon = busy.pause_s <= MAX_WAIT_S
                return _WorthAnotherTryError(busy, busy.pause_s) if is_soon else busy
            case Refusal.KEY:
                return VenueKeyError(f"{what}, it does not accept the key{said}")
            case Refusal.PASSING:
                return _WorthAnotherTryError(VenueUnreachableError(what + said))
            case Refusal.OTHER:
                return VenueUnreachableError(what + said)

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
    """A body as it was before it was packed, which it can have been by gzip, once: httpx would
    unpack whatever the answer says, and a gzip of a gzip of zeros is a millionth of its size.

    Raises `VenueMessageError`.
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
    """A client for `venue`, closed at the end. Connects with its first request, through the proxy
    if there is one, makes each request `attempts` times at the most, and takes that
    `share` of the venue's weight. `wall_s` gives unix seconds, `now_s` those of a clock
    that nobody sets."""
    # Left to itself httpx ignores SSL_CERT_FILE, which the WebSocket goes by.
    trust = ssl.create_default_context()
    async with httpx2.AsyncClient(
        timeout=None,
        headers={"user-agent": "fanout", "accept-encoding": PACKED},
        mounts=transports(proxy, trust),
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
