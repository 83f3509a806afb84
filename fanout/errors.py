"""The errors of the service: the operator's and the venue's branch of the tree.

The root and the other two branches are in `fanout.protocol.errors`. Every message is complete and
made to be shown to a person: what happened, with the value, and what to do. Only the command line
turns an error into an exit code.
"""

from typing import Final

from fanout.protocol.errors import FanoutError


class OperatorError(FanoutError):
    """What was asked for on the command line or in the configuration cannot be done."""


class UsageError(OperatorError):
    """The words of the request are off: too many symbols, one twice, a number out of range."""


class ConfigError(OperatorError):
    """The request is well-formed, but what it names is not to be had: an unknown or closed symbol,
    a file that cannot be used."""


class BindError(OperatorError):
    """An address or a port cannot be listened on."""


class VenueError(FanoutError):
    """The exchange, or the way to it, is at fault."""


class VenueUnreachableError(VenueError):
    """No answer, or none that helps, after the attempts that made sense."""


MAX_BAN_S: Final = 3 * 86_400.0
"""Longest that a venue is left alone because it says so. Binance documents bans of two minutes to
three days; what says more is nonsense, and must not end a service for good."""


class VenueBusyError(VenueError):
    """Too many requests: rate limited (429) or banned for a while (418). `pause_s`: for how long
    not to ask again, at most `MAX_BAN_S`."""

    def __init__(self, message: str, pause_s: float = 60.0) -> None:
        super().__init__(message)
        self.pause_s = min(pause_s, MAX_BAN_S)


class VenueKeyError(VenueError):
    """The venue does not accept the key it was given."""


class VenueForbiddenError(VenueError):
    """The venue refuses to serve this address (451, 403): a place or a firewall, not a fault."""


class VenueRefusalError(VenueError):
    """The venue says no to what was asked over the stream. The connection is of no use."""


class VenueMessageError(VenueError):
    """One message or answer is not what the venue documents. It is skipped and counted.

    `kind` is one of a few, to count by; `detail` is this one's.
    """

    def __init__(self, kind: str, detail: object) -> None:
        self.kind = kind
        self.detail = shown(detail)
        super().__init__(f"{kind}: {self.detail}")


MAX_SHOWN_CHARS: Final = 200


def shown(text: object) -> str:
    """A stranger's words, fit for a log and a terminal: one line, not long, no control
    characters."""
    line = str(text)[: MAX_SHOWN_CHARS + 1]
    cut = "..." if len(line) > MAX_SHOWN_CHARS else ""
    return "".join(each if each.isprintable() else "?" for each in line[:MAX_SHOWN_CHARS]) + cut
