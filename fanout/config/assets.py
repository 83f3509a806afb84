"""Assets as people write them: `SYMBOL`, `VENUE:SYMBOL`, `all`, or a pattern such as `*USDT`.

A colon belongs to the symbol unless a venue's name stands before it: `tTESTBTC:TESTUSD` is a symbol
of Bitfinex.

A symbol is spelled as its venue spells it: `BTC-USD`, `BTC-PERPETUAL` and `tBTCUSD` pass through
unchanged. Whether upper case is meant where lower case was typed is for the venue's class to say.
A pattern is resolved from the venue's listing, which only the running service knows.
"""

from collections.abc import Iterable
from typing import Final

from fanout.errors import UsageError, shown
from fanout.protocol.constants import MAX_INSTRUMENTS, MAX_SYMBOL_BYTES
from fanout.venues import VENUES

ALL: Final = "all"
"""Stands for every symbol that trades at the venue."""

FEW_SYMBOLS: Final = 10
"""Up to so many symbols start within a moment. More are worth a word on what REST takes."""

_WILD: Final = frozenset("*?[")


def split_words(values: Iterable[str]) -> tuple[str, ...]:
    """Symbols, or other words, from texts that may each hold several, separated by commas or
    blanks, as a shell, an environment variable or a file happens to hold them."""
    return tuple(" ".join(values).replace(",", " ").split())


def typed_symbols(values: Iterable[str]) -> tuple[str, ...]:
    """The same of a service or simulator that is there, which says itself how it spells symbols:
    `btcusdt` may be typed for `BTCUSDT`."""
    return tuple(each.upper() if each.islower() else each for each in split_words(values))


def parse_assets(values: Iterable[str], *, venue: str) -> dict[str, tuple[str, ...]]:
    """The assets of each venue, from words as `split_words` takes them. A word that names no venue
    is an asset of `venue`.

    Raises `UsageError` for none.
    """
    assets: dict[str, list[str]] = {}
    for word in split_words(values):
        prefix, colon, symbol = word.partition(":")
        names_venue = bool(colon) and prefix in VENUES
        assets.setdefault(prefix if names_venue else venue, []).append(
            symbol if names_venue else word
        )
    if not assets:
        raise UsageError("no symbol: name some as assets, such as BTCUSDT,ETHUSDT")
    return {name: tuple(symbols) for name, symbols in assets.items()}


def check_assets(assets: tuple[str, ...]) -> None:
    """Raises `UsageError` for none, one twice, one that no venue could have, and too many."""
    if not assets:
        raise UsageError("no symbol: name some as assets, such as BTCUSDT,ETHUSDT")
    if len(assets) > MAX_INSTRUMENTS:
        raise UsageError(
            f"{len(assets):,} symbols exceed the {MAX_INSTRUMENTS:,} of a channel: divide them "
            "over several [[source]] tables"
        )
    for asset in assets:
        size = len(asset.encode(errors="replace"))
        if not (asset.isprintable() and 0 < size <= MAX_SYMBOL_BYTES):
            raise UsageError(
                f"{shown(asset)[:40]!r} cannot be a symbol: 1 to {MAX_SYMBOL_BYTES} printable bytes"
            )
    if len(set(assets)) < len(assets):
        twice = next(each for each in assets if assets.count(each) > 1)
        raise UsageError(f"{twice} is asked for twice: name each symbol once")


def is_pattern(asset: str) -> bool:
    """Whether it stands for symbols of the venue's listing rather than for one symbol."""
    return asset == ALL or not _WILD.isdisjoint(asset)
