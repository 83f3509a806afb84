"""The values of a report on a run: what `fanout paper report --json` prints.

Amounts of money, prices and quantities are texts with every digit, so nothing is rounded. Means
and ratios are doubles, None where there is nothing to divide by.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Ratio(msgspec.Struct, frozen=True):
    """A part of a whole."""

    part: str
    whole: str
    ratio: float | None


class ProfitParts(msgspec.Struct, frozen=True, kw_only=True):
    """Profit in `currency`. `total` = `opening` + `spread` + `inventory` - `fees` = `realised` +
    `unrealised` - `fees`. See `profit`. `opening` is 0 if the figures begin with the run. Else it
    is what had been realised and was unrealised when they begin; `fees` and `realised` are those
    of the whole run all the same."""

    currency: str
    opening: str
    spread: str
    inventory: str
    fees: str
    total: str
    realised: str
    unrealised: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over `count` fills, in units of the price and in basis points of the mid, with its
    standard errors. `unobserved` are the fills that are left out."""

    horizon_s: float
    count: int
    unobserved: int
    price: float | None
    price_error: float | None
    bps: float | None
    bps_error: float | None


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one fill model made of the orders of a symbol.

    `bought` and `sold` are quantities that were filled, of those of the orders that were
    acknowledged, by side. `orders` are those that were filled at all, of the acknowledged ones.
    `edge` is how much better than the mid the fills were, `adverse` the move of the mid against
    them afterwards: see `moves`. `turnover` is the value of all fills. `in_position` is the time
    with an open position, of the time of the run, in seconds. `max_drawdown` is the largest fall of
    the profit from its highest value so far, at least 0, and `max_drawdown_ns` when it was reached.
    """

    model: str
    profit: ProfitParts
    fills: int
    taker_fills: int
    unmarked_fills: int
    orders: Ratio
    bought: Ratio
    sold: Ratio
    position: str
    longest: str
    shortest: str
    in_position: Ratio
    turnover: str
    max_drawdown: str
    max_drawdown_ns: int | None
    drawdown: str
    edge: Move
    adverse: tuple[Move, ...]


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch was pulled, or changed in another way."""

    time_ns: int
    state: str
    cause: str
    why: str


class ModelPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a moment: the position, the parts of the profit so far, and the drawdown."""

    position: str
    opening: str
    spread: str
    inventory: str
    fees: str
    total: str
    drawdown: str


class TimePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A moment. `mid`, `bid` and `ask` (own quotes) are None where there was none."""

    time_ns: int
    mid: str | None
    bid: str | None
    ask: str | None
    models: dict[str, ModelPoint]


class FillPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A fill, for a picture."""

    time_ns: int
    model: str
    side: str
    price: str
    quantity: str


class SymbolFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one symbol.

    `opened_ns` is the time of the checkpoint with which they begin, where files before it are not
    there; None if they begin with the run. Then position, profit, realised profit and fees are
    those of the whole run, and everything else is from that time on.

    `begun_ns` are the times of the first records of the starts, of the newest `summary.MAX_STARTS`.
    `observed_s` is the time between reports, without the time between two starts. `refusals` count
    how often a limit began to refuse orders, by limit. `freezes` is how often fills were frozen,
    `frozen_s` for how long. `over_time` are at most `points.MAX_POINTS` moments, evenly spread, and
    the last; `fills` are at most `summary.MAX_FILLS` of each model and side.
    """

    venue: str
    symbol: str
    opened_ns: int | None
    starts: int
    begun_ns: tuple[int, ...]
    first_ns: int
    last_ns: int
    observed_s: float
    quotes: int
    freezes: int
    frozen_s: float
    refusals: dict[str, int]
    kills: tuple[Kill, ...]
    models: tuple[ModelFigures, ...]
    over_time: tuple[TimePoint, ...]
    fills: tuple[FillPoint, ...]


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run. `settings` are those of the newest start."""

    fanout: str
    inputs: tuple[str, ...]
    settings: dict[str, Any]
    symbols: tuple[SymbolFigures, ...]
