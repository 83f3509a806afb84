"""What venues trade in common: base, quote and type of contract.

Two instruments are the same asset if all three are equal. So a perpetual future is compared with
perpetual futures, and an inverse one, whose quantities are amounts of the quote, with inverse ones.

The wire has no expiry and no strike. Futures with an expiry and options of one base and quote may
be different contracts, so they are never compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from fanout.protocol.constants import InstrumentType
from fanout.protocol.errors import CallerError
from fanout.protocol.instrument import Instrument

TYPES: Final = {
    "spot": InstrumentType.SPOT,
    "perpetual": InstrumentType.LINEAR_PERPETUAL,
    "inverse": InstrumentType.INVERSE_PERPETUAL,
}
"""The types that can be compared across venues, by the word for each."""

_WORDS: Final = {kind: word for word, kind in TYPES.items()}


class AssetError(CallerError, ValueError):
    """An asset that cannot be compared across venues, or a text that names none."""


class Asset(msgspec.Struct, frozen=True, order=True):
    """Base, quote and type. `str` gives `BTC-USDT:perpetual`."""

    base: str
    quote: str
    type: InstrumentType = InstrumentType.SPOT

    def __str__(self) -> str:
        return f"{self.base}-{self.quote}:{_WORDS.get(self.type, self.type.name.lower())}"

    @classmethod
    def of(cls, instrument: Instrument) -> Asset | None:
        """The asset of an instrument. None if it cannot be compared: its base or quote is not
        known, it has an expiry, it is an option, or its type is not known."""
        if not instrument.base or not instrument.quote or instrument.type not in _WORDS:
            return None
        return cls(instrument.base, instrument.quote, instrument.type)


class AssetName(msgspec.Struct, frozen=True):
    """An asset as it is typed: `BTC-USDT`, which is every type of it, or `BTC-USDT:perpetual`."""

    base: str
    quote: str
    type: InstrumentType | None = None

    def __str__(self) -> str:
        type_word = "" if self.type is None else f":{_WORDS[self.type]}"
        return f"{self.base}-{self.quote}{type_word}"

    def fits(self, asset: Asset) -> bool:
        """Whether the asset is one of those that are meant."""
        is_pair = (asset.base, asset.quote) == (self.base, self.quote)
        return is_pair and self.type in (None, asset.type)


def parse_asset(text: str) -> AssetName:
    """An asset from `BASE-QUOTE` or `BASE-QUOTE:TYPE`. Names typed in lower case are meant in upper
    case. Raises `AssetError`."""
    pair, colon, word = text.partition(":")
    base, _, quote = pair.rpartition("-")
    if not base or not quote or not text.isprintable():
        raise AssetError(
            f"{text[:60]!r} is no asset: give BASE-QUOTE such as BTC-USDT, or with a type"
        )
    if pair.islower():
        base, quote = base.upper(), quote.upper()
    return AssetName(base, quote, parse_type(word) if colon else None)


def parse_type(word: str) -> InstrumentType:
    """A type from `spot`, `perpetual` or `inverse`. Raises `AssetError`."""
    if word not in TYPES:
        raise AssetError(f"{word[:60]!r} is no type that venues are compared by: {_list(TYPES)}")
    return TYPES[word]


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
