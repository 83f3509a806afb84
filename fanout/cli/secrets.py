"""Secrets, from a file or the environment. Never from the command line, which others can read."""

import os
from typing import Final

from fanout.config.secret import Secret
from fanout.errors import ConfigError, UsageError
from fanout.protocol.errors import reason
from fanout.venues import VENUES
from fanout.venues.values import Credentials, SecretNames

VARIABLE: Final = "FANOUT_TOKEN"

_FILE: Final = "_FILE"
"""The end of a variable that names a file with a secret."""

_MAX_FILE_BYTES: Final = 64 * 1024
"""A file that is longer holds something else."""


def read_token(path: str | None) -> Secret | None:
    """The token in a file, without the blanks around it, or in the environment if no file is
    named. None if there is neither. Raises `OperatorError`."""
    if path is None:
        text = os.environ.get(VARIABLE)
        return None if text is None else _secret(text, VARIABLE)
    return _secret_in(path, f"--token-file {path}")


def read_credentials(names: SecretNames | None) -> Credentials | None:
    """A venue's credentials, in the environment or in files that it names. None if there are none.

    Raises `OperatorError`, also for an id without its secret and a secret without its id.
    """
    if names is None:
        return None
    found = {name: _read_variable(name) for name in variables(names)}
    if not any(found.values()):
        return None
    for name, value in found.items():
        if value is None:
            (given,) = (each for each in found if found[each])
            raise UsageError(f"{given} is set without {name}: set {name} or {name}{_FILE} too")
    words = {name: value.reveal() for name, value in found.items() if value}
    return Credentials(secret=words[names.secret], id=words[names.id] if names.id else "")


def variables(names: SecretNames) -> tuple[str, ...]:
    """The variables of a venue's credentials. For each there is one more, with `_FILE` at its end,
    that names a file instead."""
    return (names.id, names.secret) if names.id else (names.secret,)


def known_variables() -> dict[str, bool]:
    """All variables that hold a secret or name a venue's file with one, and whether they are
    set."""
    ofs = [each.secrets for each in VENUES.values() if each.secrets]
    names = [name for each in ofs for name in variables(each)]
    all_names = [VARIABLE, *(each for name in names for each in (name, name + _FILE))]
    return {name: bool(os.environ.get(name)) for name in all_names}


def _read_variable(name: str) -> Secret | None:
    """The secret in a variable, or in the file that the variable with `_FILE` names. A variable
    that is empty counts as not set."""
    text, path = os.environ.get(name), os.environ.get(name + _FILE)
    if text and path:
        raise UsageError(f"{name} and {name}{_FILE} are both set: unset one of them")
    if path:
        return _secret_in(path, f"{name}{_FILE} {path}")
    return _secret(text, name) if text else None


def _secret_in(path: str, source: str) -> Secret:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {source}: {reason(error)}") from error
    return _secret(text, source)


def _secret(text: str, source: str) -> Secret:
    try:
        return Secret(text.strip())
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
