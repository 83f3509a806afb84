"""Rows with signals: what a model gives stands behind the features, and its faults cost only it."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.analytics.consumer.lines import CsvLines, JsonLines
from fanout.analytics.consumer.roster import Listed
from fanout.analytics.features.column import Column
from fanout.analytics.signals.models import Combination, OrderFlowThreshold, Signal, SignalModel
from fanout.analytics.signals.signalled import (
    MAX_ERROR_CHARS,
    InstrumentSignals,
    Part,
    SignalledFeatures,
    SignalledRow,
    Sizing,
    columns_of,
)
from fanout.analytics.signals.sizing import PositionSize
from fanout.clients.outcomes import Received
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument
from tests.fanout.analytics.rows import BTC, ETH, OFI, column, row, row_of

PRICED = ("mid", "volatility_60000ms", OFI)
FLOW = OrderFlowThreshold((OFI,), threshold=2.0)


class Says:
    """A model that gives one thing after the other, or raises it."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def signal(self, row: FeatureRow) -> Signal:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]


UP = Signal(1, 0.5, 0.25, "up")
DOWN = Signal(-1, 1.0, 0.5, "down")


class World:
    """The signals of one instrument, and the lines that they give."""

    def __init__(self, **models: SignalModel | None) -> None:
        self.said: list[str] = []
        self.parts = {
            name: Part(name, model, 3, self.said.append, None) for name, model in models.items()
        }
        self.signals = InstrumentSignals([*self.parts.values()], [*self.parts.values()])

    def take(self, of: FeatureRow | None = None) -> SignalledRow:
        return self.signals.row(of or row(mid=100.0))


def absences(row: FeatureRow, count: int = 3) -> list[str]:
    return [Absence(each).name for each in row.absences[-count:]]


def test_a_signal_stands_behind_the_features_of_its_row() -> None:
    before = row(mid=100.0)
    after = World(a=Says(UP)).take(before)
    assert after.values == (*before.values, 1.0, 0.5, 0.25)
    assert after.absences == before.absences + bytes(3)
    assert (after.instrument, after.time_ns, after.reasons) == (BTC, before.time_ns, {"a": "up"})
    assert all(isinstance(each, float) for each in after.values[-3:])


def test_an_absent_feature_gives_no_direction_and_no_confidence() -> None:
    model = OrderFlowThreshold(("mid", "order_book_imbalance", OFI), threshold=2.0)
    world = World(flow=model)
    assert world.take(row(**{OFI: 3.0})).values[-3:] == (1.0, 0.75, 0.5)
    after = world.take(row(**{OFI: Absence.LOST}))
    assert after.values[-3:] == (0.0, 0.0, 0.0)
    assert after.reasons == {"flow": f"{OFI} is absent: LOST"}
    assert not world.said


def test_a_signal_of_another_instrument_is_absent_and_gives_no_reason() -> None:
    after = World(other=None, a=Says(UP)).take()
    assert after.values[-6:] == (None, None, None, 1.0, 0.5, 0.25)
    assert absences(after, 6)[:3] == ["NOT_FITTED"] * 3
    assert after.reasons == {"a": "up"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (None, "SignalError: None is no fanout.analytics.Signal"),
        ((1, 0.5, 0.5, "x"), "SignalError: (1, 0.5, 0.5, 'x') is no fanout.analytics.Signal"),
        (Signal(1, 0.5, 0.5, None), "SignalError: reason None: a text is needed"),  # type: ignore[arg-type]
        (Signal(1, 0.5, 0.5, "\ud800"), "UnicodeEncodeError: "),
        (ValueError("two\nlines\x1b[31m"), "ValueError: two?lines?[31m"),
        (ValueError("x" * 10_000), "ValueError: xxx"),
    ],
)
def test_a_model_that_fails_is_told_of_once_and_absent_from_then_on(
    answer: object, words: str
) -> None:
    model = Says(UP, answer, UP)
    world = World(bad=model, good=Says(UP, DOWN, UP))
    assert world.take().values[-6:-3] == (1.0, 0.5, 0.25)
    for good in (DOWN, UP):
        after = world.take()
        assert after.values[-6:] == (
            None,
            None,
            None,
            good.direction,
            good.strength,
            *after.values[-1:],
        )
        assert absences(after, 6) == ["OTHER"] * 3 + ["PRESENT"] * 3
        assert after.reasons["bad"].startswith("failed: ")
        assert after.reasons["good"] == good.reason
    assert model.asked == 2
    (said,) = world.said
    assert said.startswith(words)
    assert "\n" not in said
    assert len(said) <= MAX_ERROR_CHARS + 40  # with its place


@pytest.mark.parametrize("numbers", [(7, 0.5, 0.5), (1, 7, 0.5), (1, float("nan"), 0.5)])
def test_numbers_out_of_range_are_a_failure(numbers: tuple[int, float, float]) -> None:
    class Wild:
        def signal(self, row: FeatureRow) -> Signal:
            return Signal(*numbers, "wild")

    world = World(wild=Wild())
    assert world.take().values[-3:] == (None, None, None)
    assert world.said[0].startswith("SignalError: ")


def test_what_ends_the_process_is_no_failure_of_a_model() -> None:
    class Interrupted:
        def signal(self, row: FeatureRow) -> Signal:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        World(a=Interrupted()).take()


def test_a_combination_takes_the_signals_of_the_same_row_without_asking_again() -> None:
    model = Says(UP, DOWN, ValueError("no"))
    said: list[str] = []
    part = Part("a", model, 3, said.append, None)
    both = Part("both", Combination([part]), 3, said.append, None)
    signals = InstrumentSignals([both, part], [part, both])  # columns in the order of the file
    for direction in (1.0, -1.0):
        after = signals.row(row())
        assert after.values[-6] == after.values[-3] == direction
    assert model.asked == 2
    after = signals.row(row())
    assert after.values[-6:] == (0.0, 0.0, 0.0, None, None, None)
    assert after.reasons["both"] == "+0 for a failed"
    assert len(said) == 1


def sized(max_quantity: int = 10**6) -> Part:
    size = PositionSize(instrument=BTC, risk_budget=Decimal(100), max_quantity=max_quantity)
    sizing = Sizing(size, Column(PRICED, "mid"), Column(PRICED, "volatility_60000ms"))
    return Part("a", OrderFlowThreshold(PRICED, threshold=2.0), 4, [].append, sizing)


def test_a_size_is_a_quantity_in_the_unit_of_the_instrument() -> None:
    signals = InstrumentSignals([part := sized()], [part])
    values = {"mid": 50_000.0, "volatility_60000ms": 0.0001, OFI: -3.0}
    after = signals.row(row_of(PRICED, values))
    # 100 * 0.75 * 0.5 / (50,000 * 0.0001 * sqrt(15)) = 1.936, in steps of a lot of 0.005
    assert after.values[-4:] == (-1.0, 0.75, 0.5, -1.935)
    assert list(after.reasons) == ["a"]


@pytest.mark.parametrize(
    ("limit", "volatility", "quantity", "why"),
    [
        (1_000, 0.0001, 1.0, "at the limit"),
        (10**6, Absence.WARMING_UP, 0.0, "volatility is absent"),
        (10**6, 1.0, 0.0, "less than a lot of 0.005"),
    ],
)
def test_a_size_says_why_it_is_not_what_the_signal_asks_for(
    limit: int, volatility: float | Absence, quantity: float, why: str
) -> None:
    signals = InstrumentSignals([part := sized(limit)], [part])
    values = {"mid": 50_000.0, "volatility_60000ms": volatility, OFI: 3.0}
    after = signals.row(row_of(PRICED, values))
    assert after.values[-1] == quantity
    assert why in after.reasons["a_quantity"]


def test_without_a_direction_there_is_no_quantity_and_one_reason() -> None:
    signals = InstrumentSignals([part := sized()], [part])
    after = signals.row(row_of(PRICED, {"mid": 50_000.0, OFI: Absence.LOST}))
    assert after.values[-4:] == (0.0,) * 4
    assert after.reasons == {"a": f"{OFI} is absent: LOST"}


@given(
    st.sampled_from([-1, 0, 1]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_numbers_are_finite_whatever_comes(
    direction: int, strength: float, confidence: float, volatility: float | None
) -> None:
    size = PositionSize(instrument=BTC, risk_budget=Decimal(100), max_quantity=10**18)
    sizing = Sizing(size, Column(PRICED, "mid"), Column(PRICED, "volatility_60000ms"))
    part = Part("a", Says(Signal(direction, strength, confidence, "x")), 4, [].append, sizing)
    absent = Absence.EMPTY if volatility is None else volatility
    row = row_of(PRICED, {"mid": 50_000.0, "volatility_60000ms": absent})
    after = InstrumentSignals([part], [part]).row(row)
    numbers = [each for each in after.values[-4:] if each is not None]
    assert len(numbers) == 4
    assert all(abs(each) <= 10**15 and str(each) != "-0.0" for each in numbers)


class Rows:
    """Features that give rows, whatever the record is."""

    def __init__(self, *rows: FeatureRow) -> None:
        self._rows = rows

    def take(self, record: Received) -> Sequence[FeatureRow]:
        return self._rows


NO_RECORD: Any = None


def test_each_instrument_has_its_own_signals_and_new_ones_once_its_units_change() -> None:
    made: list[Instrument] = []

    def make(instrument: Instrument) -> InstrumentSignals:
        made.append(instrument)
        part = Part("a", Says(*[UP] * 9), 3, [].append, None)
        return InstrumentSignals([part], [part])

    same = replace(BTC)  # as after a restart: equal, and not the same object
    other = replace(BTC, quantity_exponent=-1)
    rows = [row(instrument=each) for each in (BTC, ETH, same, other, other)]
    features = SignalledFeatures(Rows(*rows), make)
    features.signals(ETH)
    after = features.take(NO_RECORD)
    assert [each.instrument for each in after] == [BTC, ETH, same, other, other]
    assert all(isinstance(each, SignalledRow) for each in after)
    assert made == [ETH, BTC, other]
    assert SignalledFeatures(Rows(), make).take(NO_RECORD) == ()


def test_json_has_the_reasons_and_csv_has_the_numbers() -> None:
    names = ("mid", "order_book_imbalance", OFI, *columns_of("a", has_size=False))
    after = World(a=Says(UP)).take(row(mid=100.0))
    listed = Listed("okx", "BTCUSDT", BTC)
    text = json.loads(JsonLines(names).line(listed, after))
    assert (text["a_direction"], text["reasons"]) == (1.0, {"a": "up"})
    assert CsvLines(names).line(listed, after).endswith(b",100.0,,,1.0,0.5,0.25\n")
    assert b"reasons" not in JsonLines(names[:3]).line(listed, row(mid=100.0))


def test_the_columns_have_the_name_of_the_signal() -> None:
    assert columns_of("a", has_size=False) == ("a_direction", "a_strength", "a_confidence")
    assert columns_of("a", has_size=True)[3:] == ("a_quantity",)
    assert column("mid").name == "mid"
