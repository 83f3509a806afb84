"""Which signals an instrument has, and which are refused before the first record."""

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fanout.analytics.consumer.config import parse_consumer
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.fits.linear import LinearFit
from fanout.analytics.signals.signal_plan import MOST_TOLD, SignalPlan, settings_for_fits
from fanout.analytics.signals.signalled import SignalledFeatures, SignalledRow
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Reference
from tests.fanout.analytics.consumer.test_signal_table import table
from tests.fanout.analytics.made_fits import FIT, SETTINGS
from tests.fanout.analytics.rows import BTC, ETH, OFI, S, row_of
from tests.fanout.analytics.signals.test_signalled import NO_RECORD, Rows

FLOW = table("order-flow-threshold", "threshold = 2", name="flow")
LINEAR = table("linear", 'fit = "btc.json"', name="btc")
SIZE = "[signal.size]\nrisk-budget = 100\nmax-quantity = 1\n"
BOTH = table("combination", 'of = ["flow", "btc"]', name="both")
VENUES = {"binance": "binance", "okx": "okx"}
NOTHING = Reference(price=0, quantity=0, trade_id=0, time=0)
MODULE = """
from fanout.analytics.features.column import Column
from fanout.analytics.signals.models import Signal

class Counts:
    def __init__(self, columns, *, worst=10):
        self._mid = Column(columns, "mid")
        self._worst, self._count = worst, 0

    def signal(self, row):
        self._count += 1
        if self._count > self._worst:
            raise RuntimeError("tired")
        return Signal(1, 1 / self._count, 1.0, f"row {self._count}")

class Wants:
    def __init__(self, columns, *, column):
        Column(columns, column)

    def signal(self, row): ...
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plan_signals.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plan_signals", raising=False)


class World:
    def __init__(
        self, text: str, *, fit: LinearFit = FIT, settings: FeatureSettings = SETTINGS
    ) -> None:
        self.said: list[str] = []
        signals = parse_consumer(text, "c", venues=VENUES).signals
        fits = {each.name: fit for each in signals if each.fit}
        self.settings = settings_for_fits(signals, settings, fits)
        self.plan = SignalPlan(signals, self.settings, fits, tell=self.said.append)

    def row(self, instrument: Instrument = BTC, **values: float | Absence) -> FeatureRow:
        return row_of(self.settings.columns, values, S, instrument)

    def over(
        self, *rows: FeatureRow, venue: str = "binance", symbols: tuple[str, ...] = ()
    ) -> SignalledFeatures:
        instruments = tuple(
            {each.instrument.symbol: each.instrument for each in rows[::-1]}.values()
        )
        header = Header(
            epoch_ns=1,
            next_seq=1,
            venue=venue,
            instruments=instruments,
            references=(NOTHING,) * len(instruments),
        )
        known = symbols or tuple(each.symbol for each in instruments)
        return self.plan.over(Rows(*rows), header, known)

    def numbers(self, *rows: FeatureRow, venue: str = "binance") -> list[tuple[Any, ...]]:
        """The values of the signals of each row."""
        places = len(self.settings.columns)
        found = self.over(*rows, venue=venue).take(NO_RECORD)
        assert all(isinstance(each, SignalledRow) for each in found)
        assert {len(each.values) for each in found} == {places + len(self.plan.columns)}
        return [each.values[places:] for each in found]


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(ConsumerConfigError) as caught:
        World(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_stand_in_the_order_of_the_file() -> None:
    world = World(BOTH + FLOW + SIZE + LINEAR)
    assert world.plan.columns == (
        *("both_direction", "both_strength", "both_confidence"),
        *("flow_direction", "flow_strength", "flow_confidence", "flow_quantity"),
        *("btc_direction", "btc_strength", "btc_confidence"),
    )
    (values,) = world.numbers(world.row(order_book_imbalance=0.9, **{OFI: 3.0}))
    assert values[3:7] == (1.0, 0.75, 0.5, 0.0)  # no volatility, so no quantity
    assert values[0] == values[7] == 1.0


def test_a_fit_is_for_its_instrument_and_a_combination_leaves_out_what_is_not() -> None:
    world = World(FLOW + LINEAR + BOTH)
    values = {"order_book_imbalance": 0.9, OFI: -3.0}
    btc, eth = world.numbers(world.row(**values), world.row(ETH, **values))
    assert btc[3] == 1.0
    assert eth[3:6] == (None, None, None)
    assert eth[6:] == (-1.0, 0.75, 0.5)  # the flow alone
    (elsewhere,) = world.numbers(world.row(**values), venue="okx")
    assert elsewhere[3:6] == (None, None, None)
    world = World(LINEAR + table("combination", 'of = ["btc"]', name="both"))
    (alone,) = world.numbers(world.row(ETH, **values))
    assert alone == (None,) * 6


@pytest.mark.parametrize(
    ("keys", "there"),
    [
        ((), (True, True, True)),
        (('symbol = "BTCUSDT"',), (True, False, True)),
        (('venue = "binance"',), (True, True, False)),
        (('venue = "binance"', 'symbol = "ETHUSDT"'), (False, True, False)),
    ],
)
def test_a_signal_may_be_for_a_symbol_or_a_venue_alone(
    keys: tuple[str, ...], there: tuple[bool, ...]
) -> None:
    world = World(table("order-flow-threshold", "threshold = 1", *keys))
    row, other = world.row(**{OFI: 3.0}), world.row(ETH, **{OFI: 3.0})
    here = [each[0] is not None for each in world.numbers(row, other)]
    assert (*here, world.numbers(row, venue="okx")[0][0] is not None) == there


def test_what_signals_need_is_looked_for_in_the_headers() -> None:
    only = table("order-flow-threshold", "threshold = 1", 'symbol = "ETHUSDT"', name="eth")
    assert World(FLOW + LINEAR + only).plan.needs == (
        ("btc.json", "binance", "BTCUSDT"),
        ("signal eth", "", "ETHUSDT"),
    )


def test_each_instrument_has_a_model_of_its_own() -> None:
    world = World(table("plan_signals:Counts", name="mine"))
    rows = [world.row(each) for each in (BTC, ETH, BTC)]
    assert [each[1] for each in world.numbers(*rows)] == [1.0, 1.0, 0.5]


def test_a_model_that_fails_for_one_instrument_goes_on_for_the_others() -> None:
    world = World(table("plan_signals:Counts", "options = { worst = 1 }", name="mine"))
    rows = [world.row(each) for each in (BTC, BTC, BTC, ETH)]
    assert [each[0] for each in world.numbers(*rows)] == [1.0, None, None, 1.0]
    assert world.said == [
        (
            "signal mine of binance BTCUSDT: RuntimeError: tired (plan_signals.py:13): it is "
            "absent from now on"
        )
    ]


def test_many_failures_do_not_flood_the_lines() -> None:
    world = World(table("plan_signals:Counts", "options = { worst = 0 }", name="mine"))
    rows = [world.row(replace(BTC, symbol=f"S{each}")) for each in range(20)]
    assert {each[0] for each in world.numbers(*rows)} == {None}
    assert len(world.said) == MOST_TOLD
    assert world.said[-1].endswith("from now on; more failures are not told")


def test_the_columns_of_a_fit_are_added_to_the_features() -> None:
    made_with = replace(FIT.settings, order_flow_ms=(1_000, 5_000))
    columns = ("order_book_imbalance", "order_flow_imbalance_5000ms")
    fit = replace(FIT, columns=columns, settings=made_with)
    world = World(LINEAR, fit=fit)
    assert world.settings.order_flow_ms == (1_000, 5_000)
    assert "order_flow_imbalance_5000ms" in world.settings.columns
    assert World(LINEAR).settings == SETTINGS


def test_a_size_is_of_the_horizon_of_its_fit_unless_it_has_one() -> None:
    """Over a quarter of the time, a position of the same risk is twice as large."""
    values: dict[str, float] = {
        "order_book_imbalance": 0.9,
        OFI: 3.0,
        "mid": 50_000.0,
        "volatility_60000ms": 0.001,
    }

    def quantity(fit: LinearFit, size: str = SIZE) -> float:
        world = World(LINEAR + size, fit=fit)
        number: float = world.numbers(world.row(**values))[0][3]
        return number

    short, long = quantity(FIT), quantity(replace(FIT, horizon_ns=60 * S))
    assert short == pytest.approx(2 * long, abs=0.01)
    assert quantity(FIT, SIZE + 'horizon = "60s"\n') == long
    assert quantity(FIT, SIZE.replace("max-quantity = 1", "max-quantity = 0.0179")) == 0.015


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            table("order-flow-threshold", "threshold = 1", 'column = "order_flow_imbalance_5ms"'),
            (
                "c: signal[0].column = 'order_flow_imbalance_5ms': no column of these features: "
                "add it to [features], or take one of mid, spread, "
            ),
        ),
        (
            FLOW + SIZE + 'volatility = "volatility_5000ms"\n',
            "c: signal[0].size.volatility = 'volatility_5000ms': no column of these features",
        ),
        (
            table("order-flow-threshold", "threshold = 5", "full = 3"),
            "c: signal[0]: threshold 5.0 and full 3.0: above 0, and full not below it",
        ),
        (
            LINEAR + 'horizon = "10s"\n',
            "c: signal[0].horizon = '10s': btc.json predicts over 15s",
        ),
        (
            LINEAR + 'symbol = "ETHUSDT"\n',
            "c: signal[0].symbol = 'ETHUSDT': btc.json is for binance BTCUSDT: fit one for each",
        ),
        (
            LINEAR + 'venue = "okx"\n',
            "c: signal[0].venue = 'okx': btc.json is for binance BTCUSDT: fit one for each",
        ),
        (table("no_such:Model"), "c: signal[0]: no_such:Model: module no_such cannot be imported"),
        (
            table("plan_signals:Counts", "options = { speed = 1 }"),
            "c: signal[0]: plan_signals:Counts cannot be made with these options: TypeError",
        ),
        (
            table("plan_signals:Wants", 'options = { column = "x" }'),
            "c: signal[0]: no column x: the rows have mid, ",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(text: str, words: str) -> None:
    assert refusal(text).startswith(words)


def test_a_fit_of_other_features_is_refused() -> None:
    other = replace(SETTINGS, volatility_sample_ms=500)
    assert refusal(LINEAR, settings=other).startswith(
        "c: signal[0].fit = 'btc.json': the fit was made with volatility_sample_ms 1000"
    )


def test_more_columns_than_a_row_has_are_refused() -> None:
    many = "".join(
        table("order-flow-threshold", "threshold = 1", name=f"s{each}") + SIZE for each in range(64)
    )
    count = 4 * 64 + len(SETTINGS.columns)
    assert refusal(many) == (
        f"c: signal[63]: {count} columns with those of the signals: at most 256"
    )


def test_a_fit_in_other_units_is_refused_at_the_start_and_fails_later() -> None:
    """A venue that changes its units at night ends the signal of one symbol, and nothing else."""
    world = World(LINEAR)
    other = replace(BTC, price_exponent=-1)
    words = "c: signal.0.: binance BTCUSDT: the fit is for price_exponent -2 .* this is -1"
    with pytest.raises(ConsumerConfigError, match=words):
        world.over(world.row(other))
    values = {"order_book_imbalance": 0.9, OFI: 3.0}
    world = World(LINEAR + FLOW)
    before, after = world.numbers(world.row(**values), world.row(other, **values))
    assert before == (1.0, *before[1:3], 1.0, 0.75, 0.5)
    assert after == (None, None, None, 1.0, 0.75, 0.5)
    assert world.said == [
        (
            "signal btc of binance BTCUSDT: WrongFitError: the fit is for price_exponent -2 "
            "(binance BTCUSDT), and this is -1: fit one for each instrument: it is absent "
            "from now on"
        )
    ]


def test_symbols_that_are_not_wanted_are_not_looked_at() -> None:
    world = World(LINEAR)
    world.over(world.row(replace(BTC, price_exponent=-1)), symbols=("ETHUSDT",))
