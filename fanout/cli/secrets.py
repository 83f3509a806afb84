"""Secrets, from a file or the environment. Never from the command line, which others can read."""

import os
from typing import Final

from fanout.config.secret import Secret
from fanout.errors import ConfigError, UsageError
from fanout.protocol.errors import reason

VARIABLE: Final = "FANOUT_TOKEN"

API_KEY_VARIABLE: Final = "FANOUT_BINANCE_API_KEY"

_MAX_FILE_BYTES: Final = 64 * 1024
"""A file that is longer holds something else."""


def read_token(path: str | None) -> Secret | None:
    """The token in a file, without the blanks around it, or in the environment if no file is
    named. None if there is neither. Raises `OperatorError`."""
    if path is None:
        text = os.environ.get(VARIABLE)
        return None if text is None else _secret(text, VARIABLE)
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --token-file {path}: {reason(error)}") from error
    return _secret(text, f"--token-file {path}")


def read_api_key() -> Secret | None:
    """The exchange's key, in the environment. None if there is none. Raises `OperatorError`."""
    text = os.environ.get(API_KEY_VARIABLE)
    return _secret(text, API_KEY_VARIABLE) if text else None


def _secret(text: str, source: str) -> Secret:
    try:
        return Secret(text.strip())
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
