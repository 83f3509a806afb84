"""What can go wrong, sorted by whose fault it is.

`FanoutError` is the root of every error that this distribution raises on purpose. Its first
branches say who has to act: `PeerError`, the other end of a connection; `CallerError`, the code
that called us; and, in `fanout.errors`, the operator and the venue.
"""

import os


class FanoutError(Exception):
    """The root. Its message is complete: one line, with the value and the limit."""


class PeerError(FanoutError):
    """The bytes of the other end break the wire. The connection they came over is finished."""


class MalformedError(PeerError):
    """A frame is not what the specification says: cut short, inconsistent, out of range."""


class ChecksumError(MalformedError):
    """The CRC-32 at the end of a frame does not match what precedes it."""


class LimitExceededError(PeerError):
    """A length or a count is over its named limit. Nothing has been allocated for it."""


class UnexpectedFrameError(PeerError):
    """A frame that is in order came where the session does not allow it."""


class NotHeardError(PeerError):
    """The service did not begin where it was asked to, and said nothing of it."""


class WrongChannelError(PeerError):
    """The service sends another channel than the one that was asked for: it knows no channels."""


class NotAPacketError(MalformedError):
    """A datagram is no packet of this version: another program sends to the group."""


class CutShortError(MalformedError):
    """A packet ends before its last frame does."""


class WrongEpochError(PeerError):
    """The service is at another epoch than the packets: it was restarted, or is another one."""


class RecoveryEndedError(PeerError):
    """The service ended a connection before it sent all that was asked for. `end` is its END, a
    whole frame."""

    def __init__(self, message: str, end: bytes) -> None:
        super().__init__(message)
        self.end = end


class CallerError(FanoutError):
    """The code on this side asked for what cannot be done."""


class NotRepresentableError(CallerError, ValueError):
    """A value does not fit its field. It is refused; nothing is rounded or clipped."""


class MissingPackageError(CallerError, ImportError):
    """A package that is optional, and that this needs, is not installed."""


class UnknownBookError(CallerError):
    """A change was applied to a book that is not known, or a whole book asked of it. A whole book
    has to come first."""


class WrongInstrumentError(CallerError):
    """An update was applied to the book of another instrument."""


def reason(error: BaseException) -> str:
    """An error in words: our own message, or the root cause of a foreign error that wraps it."""
    while not isinstance(error, FanoutError):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # trio and asyncio put words of their own in its place
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
