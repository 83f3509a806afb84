"""A token or a key: words that somebody has to know, and nobody else is to see."""

import hmac
from typing import Final

from fanout.errors import UsageError

MAX_TOKEN_BYTES: Final = 1_024
"""A token travels in a request of at most 4 KiB."""


class Secret:
    """Words that are shown nowhere: neither printed nor logged nor in a traceback."""

    def __init__(self, text: str) -> None:
        """Raises `UsageError` for what cannot be a token."""
        if not text or len(text.encode(errors="replace")) > MAX_TOKEN_BYTES:
            raise UsageError(
                f"a token of {len(text)} characters: 1 to {MAX_TOKEN_BYTES} are needed"
            )
        if not all("!" <= each <= "~" for each in text):
            raise UsageError("a token is letters, digits and signs of ASCII, without blanks")
        self._text = text

    def matches(self, given: str) -> bool:
        """Whether they are the same words, in a time that does not tell where they differ."""
        return hmac.compare_digest(self._text.encode(), given.encode(errors="replace"))

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"
