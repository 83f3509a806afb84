"""Stoikov's microprice (2018)."""

from __future__ import annotations

import msgspec

from fanout.analytics.formulas import Best


class MicropriceFit(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted microprice of one instrument."""

    symbol: str
    venue: str

    def adjustment_of(self, best: Best) -> float | None:
        """What the microprice is above the mid, in ticks. None for a state without a fit."""
        return None
