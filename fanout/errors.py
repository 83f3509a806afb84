"""Errors caused by the operator or by the venue.

The root of the tree and the other two branches, peer and ourselves, are in
`fanout.protocol.errors`. Every message is complete: what happened, the value and the limit, and
what to do. Only the command line maps errors to exit codes.
"""

from typing import Final

from fanout.protocol.errors import FanoutError


class OperatorError(FanoutError):
    """The service cannot do what the command line or the configuration demands."""


class UsageError(OperatorError):
    """An argument is malformed: a symbol given twice, a number out of range."""


class ConfigError(OperatorError):
    """An argument is well-formed but unusable: an unknown or halted symbol, an unreadable file."""


class BindError(OperatorError):
    """The service cannot listen on an address and port, or cannot create its queue or ring."""


class EngineError(FanoutError):
    """The engine that a bridge publishes to, or the network path to it, failed."""


class EngineRefusedError(EngineError):
    """The engine is there, and cannot do what the bridge needs, or is not allowed to."""


class EngineForbiddenError(EngineError):
    """The engine refuses the bridge's user, password or credentials."""


class VenueError(FanoutError):
    """The exchange, or the network path to it, failed."""


class VenueUnreachableError(VenueError):
    """The venue gave no usable answer, and retries did not help."""


class VenueRequestError(VenueUnreachableError):
    """The venue refuses one request to REST, and would refuse it again."""


MAX_BAN_S: Final = 3 * 86_400.0
"""Longest pause after a ban. Binance documents bans of two minutes to three days. A longer one is
an error, and must not stop the service for good."""


class VenueBusyError(VenueError):
    """The venue limits (429) or bans (418) this address for a while.

    `pause_s` is the time without requests, at most `MAX_BAN_S`.
    """

    def __init__(self, message: str, pause_s: float = 60.0) -> None:
        super().__init__(message)
        self.pause_s = min(pause_s, MAX_BAN_S)


class VenueKeyError(VenueError):
    """The venue rejects the API key."""


class VenueForbiddenError(VenueError):
    """The venue refuses this address (451, 403): it excludes the region, or a firewall blocks."""


class VenueRefusalError(VenueError):
    """The venue refused a request on the stream. The connection is useless."""


class VenueMessageError(VenueError):
    """A message or an answer does not match the venue's documentation. It is dropped and counted.

    The anomalies count by `kind`; `detail` describes the single message.
    """

    def __init__(self, kind: str, detail: object) -> None:
        self.kind = kind
        self.detail = shown(detail)
        super().__init__(f"{kind}: {self.detail}")


class VenueUnitsError(VenueMessageError):
    """A value does not fit the units of its instrument, which the venue may have changed.

    `values` are pairs of price and quantity, as received, of which at least one does not fit.
    """

    def __init__(
        self,
        kind: str,
        detail: object,
        *,
        symbol: str = "",
        values: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(kind, detail)
        self.symbol = symbol
        self.values = values


class VenueTradesError(VenueMessageError):
    """Trades of a symbol cannot be read. Where ids do not tell which are missing, the service asks
    REST for them."""

    def __init__(self, kind: str, detail: object, *, symbol: str) -> None:
        super().__init__(kind, detail)
        self.symbol = symbol


MAX_SHOWN_CHARS: Final = 200


def shown(text: object) -> str:
    """Foreign text made safe for a log or a terminal: one short line without control characters."""
    line = str(text)[: MAX_SHOWN_CHARS + 1]
    cut = "..." if len(line) > MAX_SHOWN_CHARS else ""
    return "".join(each if each.isprintable() else "?" for each in line[:MAX_SHOWN_CHARS]) + cut
