"""REST for the venue: one client, bounded answers, and failures in plain words.

What another attempt can mend (timeouts, 5xx, a rate limit that soon ends) is tried again, a few
times; the rest is told at once. Which of the three it is decides the exit code of a start-up
that fails: unreachable, busy, or forbidden.
"""

import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import httpx2
import trio

from fanout.errors import (
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueMessageError,
    VenueUnreachableError,
)
from fanout.venues.base import Request, Venue
from protocol.backoff import backoff
from protocol.errors import reason

_LOG = logging.getLogger("fanout")

T = TypeVar("T")

ATTEMPTS: Final = 4
"""How often a request is made before its failure is told."""

TIMEOUT_S: Final = 10.0
"""For one attempt, from connecting to the last byte."""

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Longest answer. Binance's exchangeInfo, the longest asked for, has 1.2 MB."""

MAX_WAIT_S: Final = 61.0
"""Longest wait for a rate limit to end: limits count per clock minute."""


class _WorthAnotherTryError(Exception):
    """Carries the error to raise when there is no attempt left, and a pause, if one is named."""

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
        uniform: Callable[[float, float], float],
        wall_s: Callable[[], float],
    ) -> None:
        self._client = client
        self._venue = venue
        self._uniform = uniform
        self._wall_s = wall_s

    async def fetch(self, request: Request, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the answer. An answer that it cannot parse is asked for again.

        Raises a `VenueError` that says in words why there is none, and what `parse` raises.
        """
        pauses = backoff(first_s=0.5, cap_s=4.0, uniform=self._uniform)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._attempt(request, parse)
            except _WorthAnotherTryError as failure:
                if attempt == ATTEMPTS:
                    raise failure.error from failure
                pause_s = next(pauses) if failure.pause_s is None else failure.pause_s
                _LOG.warning("%s; trying again in %.1f s", failure.error, pause_s)
                await trio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, request: Request, parse: Callable[[bytes], T]) -> T:
        try:
            with trio.fail_after(TIMEOUT_S):
                status, headers, body = await self._fetch(request)
        except trio.TooSlowError as error:
            raise self._unreachable(request, f"no answer within {TIMEOUT_S:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._unreachable(request, reason(error)) from error
        if status != 200:
            raise self._failure(request, status, headers, body)
        try:
            return parse(body)
        except VenueMessageError as error:
            raise _WorthAnotherTryError(error) from error

    async def _fetch(self, request: Request) -> tuple[int, httpx2.Headers, bytes]:
        # httpx percent-encodes the query as UTF-8, which symbols in Chinese need.
        url = self._venue.rest_url + request.path
        async with self._client.stream("GET", url, params=request.query) as response:
            body = bytearray()
            # Cancelled rather than broken off: httpx leaves its generators open otherwise.
            with trio.CancelScope() as reading:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        reading.cancel()
            if len(body) > MAX_BODY_BYTES:
                raise VenueMessageError(
                    "REST answer too long", f"{request.path} exceeds {MAX_BODY_BYTES:,} bytes"
                )
            return response.status_code, response.headers, bytes(body)

    def _unreachable(self, request: Request, why: str) -> _WorthAnotherTryError:
        what = f"{self._venue.rest_url}{request.path} cannot be reached: {why}"
        return _WorthAnotherTryError(VenueUnreachableError(what))

    def _failure(
        self, request: Request, status: int, headers: httpx2.Headers, body: bytes
    ) -> Exception:
        said = self._venue.explain(status, body)
        what = f"{self._venue.name} answers {request.path} with HTTP {status}"
        what += f": {said}" if said else ""
        if status in (403, 451):
            return VenueForbiddenError(f"{what}. It does not serve this region or network")
        if status == 418:
            return VenueBusyError(f"{what}. This address is banned for a while: wait, do not retry")
        if status == 429:
            return self._rate_limited(what, headers)
        if status >= 500 or status == 408:
            return _WorthAnotherTryError(VenueUnreachableError(what))
        return VenueUnreachableError(what)

    def _rate_limited(self, what: str, headers: httpx2.Headers) -> Exception:
        error = VenueBusyError(f"{what}. Too many requests from this address: try again later")
        # Retry-After is not documented for USDⓈ-M; without it the limit ends with the minute.
        after = headers.get("retry-after", "")
        pause_s = float(after) if after.isascii() and after.isdigit() else 60 - self._wall_s() % 60
        return _WorthAnotherTryError(error, pause_s) if pause_s <= MAX_WAIT_S else error


@asynccontextmanager
async def open_rest(venue: Venue) -> AsyncIterator[RestClient]:
    """A client for `venue`, closed at the end. Connects with its first request."""
    async with httpx2.AsyncClient(timeout=None, headers={"user-agent": "fanout"}) as client:
        yield RestClient(client, venue, uniform=random.uniform, wall_s=time.time)
