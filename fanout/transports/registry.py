"""The registry of transports: all that the service and the command line have to know of each.

An entry names the transport's configuration type, whose fields are its options on the command line,
in the environment and in a file; the factory; and the check for `fanout check`. To add a transport
from outside of this package, call `register` before the command line is read.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from fanout.config import TransportConfig
from fanout.config.options import OptionField, options_of

if TYPE_CHECKING:
    from fanout.checks.report import Check
    from fanout.transports.base import Transport


async def no_checks(configs: Sequence[Any], held: AsyncExitStack) -> Sequence["Check"]:
    """For a transport that needs nothing of the machine."""
    return ()


class TransportEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of transport.

    `name` is the command and the TOML table. `help` is what `--help` says: a line, an empty line,
    and the rest. `check` looks at what all configurations of the kind need of the machine; what it
    opens stays open in `held` until every transport has been checked. `needs_x86` is for a
    transport that relies on the order of memory accesses there.
    """

    name: str
    config: type[TransportConfig]
    make: Callable[[Any], "Transport"]
    help: str
    check: Callable[[Sequence[Any], AsyncExitStack], Awaitable[Sequence["Check"]]] = no_checks
    needs_x86: bool = False

    @property
    def options(self) -> tuple[OptionField, ...]:
        return options_of(self.config)


TRANSPORTS: dict[str, TransportEntry] = {}
"""By name, in the order in which `--help` lists them."""


def register(entry: TransportEntry) -> None:
    """Add a kind of transport. Raises `ValueError` for a name that is taken."""
    if entry.name in TRANSPORTS:
        raise ValueError(f"there is a transport named {entry.name!r} already")
    TRANSPORTS[entry.name] = entry


def entry_of(config: TransportConfig) -> TransportEntry:
    """The entry of a configuration's kind."""
    for each in TRANSPORTS.values():
        if isinstance(config, each.config):
            return each
    raise LookupError(f"{type(config).__name__} is the configuration of no registered transport")


def make_transport(config: TransportConfig) -> "Transport":
    """The transport that a configuration asks for."""
    return entry_of(config).make(config)
