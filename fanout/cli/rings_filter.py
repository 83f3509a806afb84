"""The file of `fanout rings tail --filters`, which is read again when it changes."""

import os
from pathlib import Path

import msgspec

from fanout.cli.outcome import say
from fanout.clients.consolidated import Wanted
from fanout.errors import ConfigError
from fanout.protocol.errors import reason


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    symbols: list[str] = []
    exchanges: list[str] = []


class FilterFile:
    """What a file asks for, beside the symbols of the command line."""

    def __init__(self, path: Path, symbols: frozenset[str]) -> None:
        """Raises `ConfigError` if it cannot be read."""
        self._path = path
        self._symbols = symbols
        self._stamp = self._stamp_now()
        self._fault = ""
        self._wanted = self._read()

    @property
    def wanted(self) -> Wanted:
        return self._wanted

    def look(self) -> Wanted:
        """What it asks for now. A file that cannot be read any more leaves all as it is, and that
        is said."""
        try:
            stamp = self._stamp_now()
            if stamp == self._stamp:
                return self._wanted
            self._wanted = self._read()
            self._stamp, self._fault = stamp, ""
        except ConfigError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                say(f"{error}; the filter stays as it was")
            return self._wanted
        say(f"{self._path} was read again")
        return self._wanted

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {reason(error).lower()}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Wanted:
        try:
            text = msgspec.json.decode(self._path.read_bytes(), type=_Text)
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {reason(error).lower()}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(
                f'{self._path} is no filter, {{"symbols": [...], "exchanges": [...]}}: {error}'
            ) from error
        return Wanted(self._symbols | frozenset(text.symbols), frozenset(text.exchanges))
