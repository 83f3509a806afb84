"""The state of a connection: what it configured, and its channels by number.

A channel's name here is `trades:tBTCUSD`, `book:tBTCUSD` by price, or `raw:tBTCUSD` by order.
"""

from typing import Final

import msgspec

from fanout.simulator.dialects.base import Session

TIMESTAMP: Final = 32_768
SEQ_ALL: Final = 65_536
CHECKSUMS: Final = 131_072

FIRST_NUMBER: Final = 205_046
NUMBER_STEP: Final = 37


class Channel(msgspec.Struct, frozen=True):
    number: int
    name: str

    @property
    def symbol(self) -> str:
        return self.name.partition(":")[2]


class Own(msgspec.Struct, frozen=True):
    """`opened` counts the channels that there ever were."""

    flags: int = 0
    channels: tuple[Channel, ...] = ()
    opened: int = 0

    def number_of(self, name: str) -> int | None:
        return next((each.number for each in self.channels if each.name == name), None)

    def with_channel(self, name: str) -> "Own":
        channel = Channel(FIRST_NUMBER + NUMBER_STEP * self.opened, name)
        return Own(self.flags, (*self.channels, channel), self.opened + 1)

    def without_channel(self, number: int) -> "Own":
        left = tuple(each for each in self.channels if each.number != number)
        return Own(self.flags, left, self.opened)

    def with_flags(self, flags: int) -> "Own":
        return Own(flags, self.channels, self.opened)


def own_of(session: Session) -> Own:
    return session.own if isinstance(session.own, Own) else Own()


def session_of(own: Own) -> Session:
    return Session(tuple(each.name for each in own.channels), own=own)
