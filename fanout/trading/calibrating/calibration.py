"""A calibration: the A, k and sigma of Avellaneda-Stoikov and of GLFT, as a value and a file.

`intensity` makes it, and has the definitions.
"""

from __future__ import annotations

from math import isfinite

import msgspec

from fanout.analytics.errors import FitError
from fanout.analytics.fits.fit_file import VERSION, fit_in, fit_text, require_version
from fanout.analytics.fits.made import MadeFor, MadeFrom, require_made_for
from fanout.protocol.instrument import Instrument


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A distance in units of the price, the taker orders that reached it, the rate of that on each
    side, and the rate by the fit."""

    distance: float
    orders: int
    per_second: float
    fitted: float


class Calibration(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="intensity",
    forbid_unknown_fields=True,
):
    """A fit and what it was made from. `a` is per second and side, `k` per unit of the price,
    `sigma` in price per sqrt(second). `spread` is the mean spread, weighted by time, and
    `touch_per_second` the rate of taker orders that reach half of it, on each side.
    `sigma_horizon_ns` is the distance of the samples for sigma. `probability` is None without a
    degree of `freedom`. Raises `FitError` for numbers that are not finite or not above 0."""

    version: int = VERSION
    made_for: MadeFor
    a: float
    a_error: float
    a_error_poisson: float
    k: float
    k_error: float
    k_error_poisson: float
    sigma: float
    sigma_error: float
    sigma_horizon_ns: int
    spread: float
    touch_per_second: float
    observed_s: float
    levels: tuple[Level, ...]
    chi_square: float
    freedom: int
    probability: float | None
    made_from: MadeFrom

    def __post_init__(self) -> None:
        require_version(self.version)
        for name in ("a", "k", "sigma"):
            value, error = getattr(self, name), getattr(self, f"{name}_error")
            if not (isfinite(value) and value > 0 and isfinite(error) and error >= 0):
                raise FitError(f"{name} is {value} ± {error}: it has to be finite and above 0")

    @property
    def parameters(self) -> dict[str, float]:
        """What strategies take of it, by the names of their settings."""
        return {"a": self.a, "k": self.k, "sigma": self.sigma}

    def require(self, venue: str, instrument: Instrument) -> None:
        """Raises `WrongFitError` unless the fit is for this instrument."""
        require_made_for(self.made_for, MadeFor.of(venue, instrument))

    def to_json(self) -> bytes:
        """As a file keeps it, for people too."""
        return fit_text(self)

    @classmethod
    def from_json(cls, text: bytes, name: str = "the file") -> Calibration:
        """The fit in a file. Raises `FitFileError`, which begins with `name`, for anything else."""
        return fit_in(text, cls, name, "calibration")
