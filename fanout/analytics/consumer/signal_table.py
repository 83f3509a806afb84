"""Reads the tables `[[signal]]` of a consumer's configuration.

    [[signal]]
    name = "flow"                           # of its columns: flow_direction, flow_strength, ...
    model = "order-flow-threshold"
    threshold = 5.0
    # also: column, full, confidence

    [[signal]]
    name = "btc"
    model = "linear"
    fit = "btc.json"                        # of `fanout analytics fit linear`
    # also: horizon, which has to be that of the fit, and least-return

    [[signal]]
    name = "both"
    model = "combination"
    of = ["flow", "btc"]
    # also: threshold

    [[signal]]
    name = "mine"
    model = "my_signals:Imbalance"          # a class of your own
    symbol = "BTCUSDT"                      # without symbol and venue: all there are
    venue = "binance"
    options = { confidence = 0.2 }

    [signal.size]                           # of the signal before it
    risk-budget = 100
    max-quantity = 0.5
    # also: volatility, a column, and horizon

Files of fits are not opened here, and columns are not looked for: see `signal_plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from math import isfinite
from typing import Any, Final

import msgspec

from fanout.analytics.consumer.tables import ConsumerConfigError, Table
from fanout.protocol.constants import MAX_SYMBOL_BYTES

MAX_SIGNALS: Final = 64
"""Limit of the signals of a consumer. Their columns have a limit, too: that of a row."""

MAX_NAME_CHARS: Final = 48
"""Limit of a name. The columns of a channel have names of at most 64 characters."""

THRESHOLD: Final = "order-flow-threshold"
LINEAR: Final = "linear"
COMBINATION: Final = "combination"

_MODELS: Final = {
    THRESHOLD: ("column", "threshold", "full", "confidence"),
    LINEAR: ("fit", "horizon", "least-return"),
    COMBINATION: ("of", "threshold"),
}
"""The models by name, each with the keys that are for it."""

_OWN: Final = ("options",)
"""The keys for a class of the user's own."""

_SMALL: Final = 1e-15
_LARGE: Final = 1e15
"""Limits of numbers without natural ones. They protect exact arithmetic from endless digits."""

VOLATILITY: Final = "volatility_60000ms"


class SizeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a signal becomes a position. `risk_budget` is in the quote currency, `max_quantity` in
    the instrument's unit of quantity, which is the base or contracts."""

    risk_budget: Decimal
    max_quantity: Decimal
    volatility: str = VOLATILITY
    """The column."""
    horizon_ns: int | None = None
    """None: that of the fit, or 15 s."""


class SignalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A signal. An empty `symbol` or `venue` means all there are."""

    where: str
    """The file and the table, for errors."""
    name: str
    model: str
    symbol: str = ""
    venue: str = ""
    """As headers name it."""
    fit: str = ""
    """The file of the fit of a linear model."""
    horizon_ns: int | None = None
    of: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    """Arguments of the model, by their names."""
    size: SizeConfig | None = None

    def fault(self, why: str, key: str = "", value: object = None) -> ConsumerConfigError:
        """An error of this signal, or of one of its keys."""
        named = f".{key} = {value!r}" if key else ""
        return ConsumerConfigError(f"{self.where}{named}: {why}")


def signals_in(tables: Sequence[Table], venues: Mapping[str, str]) -> tuple[SignalConfig, ...]:
    """The signals, in the order of the file. `venues` are the names that a venue can have, each
    with that in a header. Raises `ConsumerConfigError`, for names of no signal and for
    combinations that contain themselves, too."""
    found: dict[str, SignalConfig] = {}
    for table in tables:
        each = _signal(table, venues)
        if each.name in found:
            raise table.fault("name", f"the name of {found[each.name].where}, too: take another")
        found[each.name] = each
    for each in found.values():
        for part in each.of:
            if part not in found:
                names = ", ".join(found)
                raise each.fault(f"no signal of this name: there are {names}", "of", part)
    ordered(tuple(found.values()))
    return tuple(found.values())


def ordered(signals: Sequence[SignalConfig]) -> list[SignalConfig]:
    """The signals, each behind those that it combines. Raises `ConsumerConfigError` for one that
    contains itself."""
    by_name = {each.name: each for each in signals}
    try:
        names = [*TopologicalSorter({each.name: each.of for each in signals}).static_order()]
    except CycleError as error:
        circle = error.args[1]
        raise by_name[circle[0]].fault(
            f"the combination contains itself: {' contains '.join(reversed(circle))}"
        ) from None
    return [by_name[each] for each in names]


def _signal(table: Table, venues: Mapping[str, str]) -> SignalConfig:
    table.require("name", "model")
    name, model = table.text("name"), table.text("model")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name, re.ASCII) or len(name) > MAX_NAME_CHARS:
        raise table.fault("name", f"a letter a-z, then a-z 0-9 _, {MAX_NAME_CHARS} at the most")
    if model not in _MODELS and ":" not in model:
        known = ", ".join(_MODELS)
        raise table.fault("model", f"no model: {known}, or MODULE:CLASS of your own")
    _require_keys_of(table, model)
    size = table.table("size")
    config = SignalConfig(
        where=table.name,
        name=name,
        model=model,
        symbol=_symbol(table),
        venue=_venue(table, venues),
        fit=table.text("fit"),
        horizon_ns=table.duration("horizon", None, least_ns=1),
        of=_of(table, model),
        options=_options(table, model),
        size=None if size is None else _size(size),
    )
    table.close()
    return config


def _require_keys_of(table: Table, model: str) -> None:
    """Refuse a key that is for another model, and one that is missing."""
    own = _MODELS.get(model, _OWN)
    for keys in (*_MODELS.values(), _OWN):
        for key in keys:
            if table.has(key) and key not in own:
                raise table.fault(key, f"not for the model {model}, which has {', '.join(own)}")
    if model in _MODELS:
        table.require({THRESHOLD: "threshold", LINEAR: "fit", COMBINATION: "of"}[model])


def _symbol(table: Table) -> str:
    symbol = table.text("symbol")
    if len(symbol.encode()) > MAX_SYMBOL_BYTES:
        raise table.fault("symbol", f"at most {MAX_SYMBOL_BYTES} bytes")
    return symbol


def _venue(table: Table, venues: Mapping[str, str]) -> str:
    venue = table.text("venue").lower()
    if venue and venue not in venues:
        raise table.fault("venue", f"no venue that is known: {', '.join(venues)}")
    return venues[venue] if venue else ""


def _of(table: Table, model: str) -> tuple[str, ...]:
    names = table.texts("of", most=MAX_SIGNALS) or ()
    if model == COMBINATION and not names:
        raise table.fault("of", "the names of one or more signals are needed")
    for name in names:
        if names.count(name) > 1:
            raise table.fault("of", "named twice", name)
    return names


def _options(table: Table, model: str) -> dict[str, Any]:
    """The arguments of a model. Those that were not given are left to it."""
    if model not in _MODELS:
        return _own_options(table)
    limits = {"threshold": (0.0, _LARGE), "full": (0.0, _LARGE)}
    if model == COMBINATION:
        limits["threshold"] = (0.0, 1.0)
    limits |= {"confidence": (0.0, 1.0), "least-return": (0.0, 0.99)}
    given: dict[str, Any] = {
        key.replace("-", "_"): table.number(key, None, *both) for key, both in limits.items()
    }
    given["column"] = table.text("column") or None
    return {name: value for name, value in given.items() if value is not None}


def _own_options(table: Table) -> dict[str, Any]:
    options = table.raw("options")
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise table.fault("options", "a table is needed: [signal.options]")
    return {name: _plain_value(table, value) for name, value in options.items()}


def _plain_value(table: Table, value: object) -> object:
    """A value with doubles in the place of decimals, which only our own configuration needs."""
    if isinstance(value, Mapping):
        return {name: _plain_value(table, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain_value(table, each) for each in value]
    if isinstance(value, Decimal | float):
        if not isfinite(value):
            raise table.fault("options", "numbers have to be finite", value)
        return float(value)
    return value


def _size(table: Table) -> SizeConfig:
    table.require("risk-budget", "max-quantity")
    config = SizeConfig(
        risk_budget=_amount(table, "risk-budget"),
        max_quantity=_amount(table, "max-quantity"),
        volatility=table.text("volatility", VOLATILITY),
        horizon_ns=table.duration("horizon", None, least_ns=1),
    )
    table.close()
    return config


def _amount(table: Table, key: str) -> Decimal:
    amount = table.decimal(key)
    if not _SMALL <= amount <= _LARGE:
        raise table.fault(key, f"{_SMALL:g} to {_LARGE:g}")
    return amount
