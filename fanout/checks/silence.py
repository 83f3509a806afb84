"""A second look at symbols without a first trade: is the stream silent, or the market?

The age of the newest trade in REST decides. If the service would fall back to aggregates, the
check also subscribes to those.
"""

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from fanout.checks.report import time_text
from fanout.errors import VenueError
from fanout.feed.venue_clock import ClockOffset
from fanout.net.rest import RestClient
from fanout.venues import Venue

LOOK_S: Final = 3.0
"""Time limit for aggregates, which come every 100 ms, and for REST, side by side."""

SETTLING: Final = 0.25
"""Share of the waiting time during which the subscription may not be active yet. A trade in that
time proves nothing."""

_SILENT_ADVICE: Final = "the stream is silent: a proxy or firewall may block it; try again"
_STREAM_ADVICE: Final = "; --stream auto takes aggregates if single trades stay silent"

Aggregates = Callable[[tuple[str, ...]], Awaitable[dict[str, float]]]
"""Gives the seconds until the first aggregate, by symbol."""

Age = Callable[[str], Awaitable[float]]
"""Gives the age in seconds of a symbol's newest trade in REST."""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a symbol was silent, and what to do.

    If `is_harmless`, the service would still serve. `is_of_stream` if the market is not the reason.
    """

    found: str
    advice: str
    is_harmless: bool
    is_of_stream: bool = False


class Traces(msgspec.Struct):
    """The findings of a second look at a symbol. None means unknown."""

    aggregate_s: float | None = None
    """Seconds until the first aggregate."""
    newest_age_s: float | None = None
    """Age of the newest trade in REST; infinite if REST has none."""


async def look_again(
    symbols: tuple[str, ...], aggregates: Aggregates | None, age: Age | None
) -> dict[str, Traces]:
    """Look for trades of all symbols at once, by each method that is not None."""
    traces = {each: Traces() for each in symbols}

    async def try_aggregates(look: Aggregates) -> None:
        for symbol, seconds in (await look(symbols)).items():
            traces[symbol].aggregate_s = seconds

    async def try_records(look: Age, symbol: str) -> None:
        with trio.move_on_after(LOOK_S), suppress(VenueError):  # it stays unknown
            traces[symbol].newest_age_s = await look(symbol)

    async with trio.open_nursery() as nursery:
        if aggregates:
            nursery.start_soon(try_aggregates, aggregates)
        if age:
            for each in symbols:
                nursery.start_soon(try_records, age, each)
    return traces


async def newest_age_s(
    rest: RestClient,
    venue: Venue,
    clock: ClockOffset | None,
    symbol: str,
    *,
    wall_ns: Callable[[], int] = time.time_ns,
) -> float:
    """Age of a symbol's newest trade in REST, by the venue's clock; infinite if there is none.

    Raises `VenueError`.
    """
    rows = await rest.fetch(
        venue.recent_trades_request(symbol),
        lambda body: venue.parse_recent_trades(body, symbol),
    )
    venue_ns = wall_ns() + (clock.offset_ns if clock else 0)
    return max(0.0, venue_ns / 1e9 - rows[-1].time * 10**venue.time_exponent) if rows else math.inf


def explain(
    traces: Traces, *, waited_s: float, has_fallback: bool, is_auto: bool, is_strict: bool
) -> Silence:
    """Explain from its traces why a symbol delivered no trade for `waited_s`."""
    age_s, seconds = traces.newest_age_s, traces.aggregate_s
    if seconds is not None:
        return Silence(
            found=f"an aggregate within {time_text(seconds)}",
            advice="with --stream auto the service sends aggregates (aggTrade) for it",
            is_harmless=True,
        )
    tried = "; no aggregate (aggTrade) either" if has_fallback and is_auto else ""
    if age_s is not None and age_s > waited_s * (1 - SETTLING):
        return Silence(
            found=f"{_newest_text(age_s)}: it trades seldom{tried}",
            advice="--strict may end the service because of it: raise --first-trade-timeout"
            if is_strict
            else "nothing to do if that is usual for it; else check with a longer --timeout",
            is_harmless=not is_strict,
        )
    found = "REST gives no reason" if age_s is None else f"REST has one of {time_text(age_s)} ago"
    advice = _SILENT_ADVICE + (_STREAM_ADVICE if has_fallback and not is_auto else "")
    return Silence(found=found + tried, advice=advice, is_harmless=False, is_of_stream=True)


def _newest_text(age_s: float) -> str:
    return "REST has none" if math.isinf(age_s) else f"REST's newest is {time_text(age_s)} old"
