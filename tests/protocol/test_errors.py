import errno

import pytest

from fanout.protocol import MalformedError
from fanout.protocol.errors import reason


def wrapped(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MalformedError("frame of 3 bytes"), "frame of 3 bytes"),
        (wrapped(ValueError("foreign"), MalformedError("ours")), "ours"),
        (ExceptionGroup("several", [ValueError("first"), ValueError("second")]), "first"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "words of a library"), "Connection refused"),
        (ConnectionResetError("the peer went away"), "the peer went away"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "No such file"),
        (wrapped(OSError("nobody answers"), TimeoutError()), "TimeoutError"),
        (OSError("nobody answers"), "nobody answers"),
        (KeyError(), "KeyError"),
    ],
)
def test_a_reason_is_our_own_message_or_the_root_cause(error: Exception, said: str) -> None:
    assert reason(error) == said
