"""The fields of Binance's stream messages that the service reads. Pure.

A market whose messages have more fields extends these types, or has its own. `gc=False` exempts
rows from garbage collection: they refer to no containers.
"""

from typing import Generic, TypeVar

import msgspec


class Trade(msgspec.Struct, gc=False):
    """`@trade`: one fill."""

    e: str
    s: str
    t: int
    T: int
    p: str
    q: str
    m: bool


class Aggregate(msgspec.Struct, gc=False):
    """`@aggTrade`: several fills at one price."""

    e: str
    s: str
    a: int
    f: int
    T: int
    p: str
    q: str
    m: bool


Row = TypeVar("Row", bound=msgspec.Struct)


class Envelope(msgspec.Struct, Generic[Row], gc=False):
    """A message of a combined stream. The stream's name repeats what the row says."""

    data: Row
