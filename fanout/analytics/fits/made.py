"""What a fit was made for, and what it was made from."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.fit_errors import WrongFitError
from fanout.protocol.constants import I64_MAX
from fanout.protocol.instrument import Instrument

Natural = Annotated[int, msgspec.Meta(ge=0, le=I64_MAX)]
"""A count or a time in a file. Others are refused when the file is read."""


class MadeFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The instrument whose features a fit takes."""

    venue: str
    symbol: str
    price_exponent: int
    quantity_exponent: int

    @classmethod
    def of(cls, venue: str, instrument: Instrument) -> MadeFor:
        """Of an instrument of a channel."""
        return cls(
            venue=venue,
            symbol=instrument.symbol,
            price_exponent=instrument.price_exponent,
            quantity_exponent=instrument.quantity_exponent,
        )


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the records of a fit are from, and when it was made, in unix ns. `fanout` is the
    version that made it, and `epochs_ns` are the epochs of the channel."""

    journal: str
    channel: str
    epochs_ns: tuple[int, ...]
    fitted_ns: Natural
    fanout: str


class MadeFrom(Origin, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, and its rows: `rows` were used, of the times `first_ns` to `last_ns`, in unix ns.
    `left_out` counts the others by reason."""

    first_ns: Natural
    last_ns: Natural
    rows: Natural
    left_out: dict[str, int]


def require_made_for(made: MadeFor, wanted: MadeFor) -> None:
    """Raises `WrongFitError` that names the difference."""
    for name in MadeFor.__struct_fields__:
        before, now = getattr(made, name), getattr(wanted, name)
        if before != now:
            raise WrongFitError(
                f"the fit is for {name} {before} ({made.venue} {made.symbol}), and this is {now}: "
                "fit one for each instrument"
            )


def require_settings(
    made: FeatureSettings, wanted: FeatureSettings, columns: tuple[str, ...]
) -> None:
    """Raises `WrongFitError` if settings give other features than those of `columns` that a fit was
    made with. A column's name has its depth or window, so lists may have more entries than they
    had; a single number has to be the same."""
    missing = [each for each in columns if each not in wanted.columns]
    for name in FeatureSettings.__struct_fields__:
        before, now = getattr(made, name), getattr(wanted, name)
        if before != now and (missing or not isinstance(now, tuple)):
            lacking = f", without {', '.join(missing)}" if missing else ""
            raise WrongFitError(
                f"the fit was made with {name} {before}, and the features have {now}{lacking}: set "
                "the same, or fit anew"
            )
    assert not missing, "equal settings have equal columns"
