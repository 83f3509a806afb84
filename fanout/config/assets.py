"""Symbols as people write them."""

from collections.abc import Iterable
from typing import Final

from fanout.errors import UsageError
from fanout.protocol.constants import MAX_SYMBOL_BYTES

MAX_ASSETS: Final = 10
"""Symbols that one service subscribes to."""


def parse_assets(values: Iterable[str]) -> tuple[str, ...]:
    """The symbols of a service, from words as `split_symbols` takes them.

    Raises `UsageError` for none, one twice, one that cannot be a symbol, and more than
    `MAX_ASSETS`.
    """
    assets = split_symbols(values)
    for asset in assets:
        _check_asset(asset)
        if assets.count(asset) > 1:
            raise UsageError(f"{asset} is asked for twice: name each symbol once")
    if not assets:
        raise UsageError("no symbol: --assets BTCUSDT,ETHUSDT")
    if len(assets) > MAX_ASSETS:
        raise UsageError(
            f"{len(assets)} symbols: one service takes up to {MAX_ASSETS}, a second one the rest"
        )
    return assets


def split_symbols(values: Iterable[str]) -> tuple[str, ...]:
    """Symbols in upper case from words that may each hold several, with commas or blanks between
    them, as a shell, an environment variable or a file happen to have them."""
    return tuple(" ".join(values).replace(",", " ").upper().split())


def _check_asset(asset: str) -> None:
    if not asset.replace("_", "").isalnum() or len(asset.encode()) > MAX_SYMBOL_BYTES:
        raise UsageError(f"{asset[:40]!r} cannot be a symbol: letters and digits, like BTCUSDT")
