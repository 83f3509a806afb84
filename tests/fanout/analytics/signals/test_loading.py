"""Models by the name of a module and a class."""

import sys
from pathlib import Path

import pytest

from fanout.analytics.signals.loading import ModelError, load_model
from fanout.analytics.signals.models import OrderFlowThreshold, SignalError
from tests.fanout.analytics.rows import COLUMNS, OFI, row

MODULE = '''
from fanout.analytics.features.column import Column
from fanout.analytics.signals.models import Signal

NOT_A_CLASS = 1

class Imbalance:
    """The side with more quantity."""

    def __init__(self, columns, *, strength=1.0):
        self._imbalance = Column(columns, "order_book_imbalance")
        self._strength = strength

    def signal(self, row):
        up = self._imbalance.value(row) > 0
        return Signal(1 if up else -1, self._strength, 0.5, "the larger side")

class Mute:
    def __init__(self, columns): ...

class Broken:
    def __init__(self, columns):
        columns / 2

class Attribute(Imbalance):
    signal = 5

class Wordy:
    def __init__(self, columns):
        raise ValueError("one\\ntwo\\n" + "x" * 9_000)

class Leaving:
    def __init__(self, columns):
        raise SystemExit(3)
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`my_signals` can be imported, and so can one that fails."""
    (tmp_path / "my_signals.py").write_text(MODULE)
    (tmp_path / "my_fault.py").write_text("raise RuntimeError('no data here')")
    (tmp_path / "my_exit.py").write_text("raise SystemExit(4)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_signals", raising=False)


def test_a_model_of_a_users_own_is_made_with_its_options() -> None:
    model = load_model("my_signals:Imbalance", COLUMNS, {"strength": 0.25})
    signal = model.signal(row(order_book_imbalance=-0.5))
    assert (signal.direction, signal.strength) == (-1, 0.25)


def test_our_own_models_load_alike() -> None:
    model = load_model("fanout.analytics:OrderFlowThreshold", COLUMNS, {"threshold": 1.0})
    assert isinstance(model, OrderFlowThreshold)
    assert model.signal(row(**{OFI: 3.0})).direction == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my_signals", "is not MODULE:CLASS, such as my_signals:Breakout"),
        (":Imbalance", "is not MODULE:CLASS"),
        ("my_signals:", "is not MODULE:CLASS"),
        ("../my_signals:Imbalance", "is not MODULE:CLASS"),
        ("my signals:Imbalance", "is not MODULE:CLASS"),
        ("no_such_module:X", "module no_such_module cannot be imported: ModuleNotFoundError"),
        ("my_fault:X", "module my_fault cannot be imported: RuntimeError: no data here"),
        ("my_signals:Absent", "module my_signals has no class Absent"),
        ("my_signals:NOT_A_CLASS", "module my_signals has no class NOT_A_CLASS"),
        ("my_signals:Mute", r"my_signals:Mute has no method signal\(row\)"),
        ("my_signals:Attribute", r"my_signals:Attribute has no method signal\(row\)"),
        ("my_signals:Wordy", "options: ValueError: one two x{200}"),
        ("my_signals:Leaving", "cannot be made with these options: SystemExit: 3"),
        ("my_exit:X", "module my_exit cannot be imported: SystemExit: 4"),
        ("my_signals:Broken", "my_signals:Broken cannot be made with these options: TypeError"),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_a_line(name: str, why: str) -> None:
    with pytest.raises(ModelError, match=why) as refused:
        load_model(name, COLUMNS)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ModelError, match=r"cannot be made with these options: TypeError.*'speed'"):
        load_model("my_signals:Imbalance", COLUMNS, {"speed": 1})


def test_our_own_refusals_pass_as_they_are() -> None:
    with pytest.raises(SignalError, match="threshold"):
        load_model("fanout.analytics:OrderFlowThreshold", COLUMNS, {"threshold": -1.0})
