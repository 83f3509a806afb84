"""From a configuration to desks, once the instruments are known: integers at their exponents, and
strategies by their names."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

from fanout.analytics.signals.loading import ModelError, found_class, made_of
from fanout.protocol.instrument import Instrument
from fanout.trading.desk import DeskSettings
from fanout.trading.errors import LimitsError
from fanout.trading.limits import Check, Limits
from fanout.trading.money import money_of
from fanout.trading.reports import Fill
from fanout.trading.running.config import (
    LIMIT_KEYS,
    PaperConfig,
    RiskConfig,
    StrategyConfig,
    paper_of,
)
from fanout.trading.running.earlier import Earlier
from fanout.trading.running.floor import Floor, Plan
from fanout.trading.running.journal import JournalError
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Strategy, View
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft

EXAMPLE: Final = "my_strategies:Breakout"

_BUILT_IN: Final[Mapping[str, Any]] = {
    "basic": Basic,
    "avellaneda-stoikov": AvellanedaStoikov,
    "glft": Glft,
}
_OF_QUANTITY: Final = (Check.ORDER_QUANTITY, Check.POSITION)
_OF_MONEY: Final = (Check.ORDER_VALUE, Check.NOTIONAL, Check.DAILY_LOSS, Check.DRAWDOWN)


def plan_of(config: PaperConfig, stream: int, instrument: Instrument) -> Plan:
    """The desk of an instrument. Raises `LimitsError` for what does not fit it, and `ModelError`
    for a strategy that cannot be loaded or made."""
    strategy, risk = config.strategies[instrument.symbol], config.risks[instrument.symbol]
    return Plan(
        stream=stream,
        instrument=instrument,
        strategy=strategy_of(strategy, instrument, config.source),
        limits=limits_of(risk, instrument, config.source),
        settings=DeskSettings(
            min_life_ns=strategy.min_life_ns, kill_on_feed_loss=risk.kill_on_feed_loss
        ),
    )


class Idle:
    """A strategy that wants nothing, for a run that is only looked at."""

    def quote(self, view: View) -> None:
        """Nothing."""

    def filled(self, fill: Fill) -> None:
        """Nothing."""

    def stopped(self, why: str) -> None:
        """Nothing."""


def resting_floor(earlier: Earlier) -> Floor:
    """The desks of a run that is not running, as its journal leaves them: with positions, orders,
    limits and kill switches, without strategies. Raises `JournalError` for a journal that has not
    begun, and as `plan_of`."""
    if earlier.started is None:
        raise JournalError("the journal is empty: nothing has been started there")
    config = paper_of(earlier.settings, "the journal's settings")
    plans = [
        Plan(
            stream=0,
            instrument=each,
            strategy=Idle(),
            limits=limits_of(config.risks[each.symbol], each, config.source),
            settings=DeskSettings(min_life_ns=0),
        )
        for each in earlier.started.instruments
    ]
    return Floor(config.exchange, plans, earlier)


# Limits.


def limits_of(config: RiskConfig, instrument: Instrument, source: str) -> Limits:
    """The limits of a symbol, as integers."""
    values: dict[str, int | None] = {}
    for check, value in config.limits.items():
        name = f"{source}: risk.{LIMIT_KEYS[check]}"
        if value is None or isinstance(value, int):
            values[check] = value
        elif check in _OF_QUANTITY:
            values[check] = _whole_lots(name, value, instrument)
        else:
            assert check in _OF_MONEY, "all others are integers"
            values[check] = _scaled(name, value, money_of(instrument).exponent, "an amount")
    return Limits(**values, order_burst=config.order_burst, kills=config.kills)


def _scaled(name: str, value: Decimal, exponent: int, what: str) -> int:
    units = value.scaleb(-exponent)
    if units != units.to_integral_value():
        raise LimitsError(f"{name} = {value}: {what} has at most {-exponent} digits here")
    return int(units)


def _whole_lots(name: str, value: Decimal, instrument: Instrument) -> int:
    """A quantity that an order of the instrument can have."""
    symbol, lot = instrument.symbol, instrument.lot or 1
    least = instrument.quantity_text(lot)
    if value < instrument.quantity_decimal(lot):
        raise LimitsError(f"{name} = {value}: below the smallest order of {symbol}, {least}")
    units = _scaled(name, value, instrument.quantity_exponent, f"a quantity of {symbol}")
    if units % lot:
        raise LimitsError(f"{name} = {value}: no multiple of the lot of {symbol}, {least}")
    return units


# Strategies.


def strategy_of(config: StrategyConfig, instrument: Instrument, source: str) -> Strategy:
    """The strategy of a symbol. A user's own class is made as `Class(instrument, quantity=...,
    position_limit=..., **parameters)`, with quantities as integers and names with underscores."""
    name = f"{source}: strategy"
    sizes = {
        "quantity": _whole_lots(f"{name}.quantity", config.quantity, instrument),
        "position_limit": _whole_lots(f"{name}.position-limit", config.position_limit, instrument),
    }
    kind: Any = _BUILT_IN.get(config.name)
    if kind is None:
        return _own(config, instrument, sizes)
    numbers = _numbers(config, kind, name)
    if kind is Glft:
        numbers.setdefault("delta", float(config.quantity))
    missing = [
        each
        for each in kind.__struct_fields__
        if each not in numbers and each not in ("quantity", "position_limit")
    ]
    if missing:
        raise LimitsError(f"{name}.{missing[0].replace('_', '-')} is missing for {config.name}")
    try:
        strategy: Strategy = kind(**{**sizes, **numbers})
    except LimitsError as error:
        raise LimitsError(f"{name}: {error}") from error
    return strategy


def _numbers(config: StrategyConfig, kind: Any, name: str) -> dict[str, float]:
    fields = [each for each in kind.__struct_fields__ if each not in ("quantity", "position_limit")]
    numbers = {}
    for key, value in config.parameters.items():
        field = key.replace("-", "_")
        if field not in fields or "_" in key:
            known = ", ".join(each.replace("_", "-") for each in fields)
            raise LimitsError(f"{name}.{key[:40]} is unknown: {config.name} has {known}")
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise LimitsError(f"{name}.{key} = {str(value)[:40]!r}: a number is needed")
        numbers[field] = float(value)
    return numbers


def _own(config: StrategyConfig, instrument: Instrument, sizes: Mapping[str, int]) -> Strategy:
    parameters = {
        key.replace("-", "_"): float(value) if isinstance(value, Decimal) else value
        for key, value in config.parameters.items()
    }
    kind = found_class(config.name, EXAMPLE)
    made = made_of(config.name, kind, instrument, {**sizes, **parameters})
    for method in ("quote", "filled", "stopped"):
        if not callable(getattr(made, method, None)):
            raise ModelError(
                f"{config.name} has no method {method}(): see fanout.trading.strategies.base"
            )
    return cast(Strategy, made)
