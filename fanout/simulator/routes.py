"""Where a WebSocket URL leads: which route, which envelope, which streams from the start.

Accepted are `/ws`, `/ws/<a>/<b>` and `/stream`, `/stream?streams=<a>/<b>`, each below `/public`,
`/market`, `/private` or nothing. Nothing means `/public`: so production behaves since April 2026.
A trailing slash is refused, and so is `/ws?<stream>`.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

from fanout.simulator.ticks import AGGREGATE_SUFFIX, TRADE_SUFFIX


class Route(Enum):
    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"


# `@trade` is not documented at all; that it is pushed on /public and nowhere else was measured.
ROUTE_OF: Final = {TRADE_SUFFIX: Route.PUBLIC, AGGREGATE_SUFFIX: Route.MARKET}


class Destination(msgspec.Struct, frozen=True):
    """`combined` says whether payloads are pushed inside a `{"stream", "data"}` envelope."""

    route: Route
    combined: bool
    streams: tuple[str, ...] = ()


_PATH: Final = re.compile(r"(?:/(public|market|private))?/(?:(stream)|ws((?:/[^/]+)*))")


def destination(target: str) -> Destination | None:
    """The destination of a request target, or None where the exchange has nothing."""
    path, _, query = target.partition("?")
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    route = Route(match[1] or Route.PUBLIC.value)
    if match[2]:
        return Destination(route, True, _in_query(query))
    streams = _in_path(match[3])
    if query and not streams and route is not Route.PRIVATE:
        return None
    return Destination(route, False, streams)


def _in_query(query: str) -> tuple[str, ...]:
    values = parse_qs(query).get("streams", [])
    return _unique(name for value in values for name in value.split("/"))


def _in_path(path: str) -> tuple[str, ...]:
    return _unique(unquote(name) for name in path.split("/"))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
