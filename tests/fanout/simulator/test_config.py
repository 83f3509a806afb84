"""A config that makes no sense is refused before anything opens, in one line."""

from pathlib import Path
from typing import Any

import pytest

from fanout.errors import OperatorError
from fanout.simulator import SimulatorConfig


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"port": -1}, "port -1"),
        ({"port": 65_536}, "port 65536"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": -5.0}, "rate is -5.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"rate": float("inf")}, "rate is inf"),
        ({"speed": 0.0}, "speed is 0.0"),
        ({"speed": -1.0}, "speed is -1.0"),
        ({"duration_s": 0.0}, "duration_s is 0.0"),
        ({"seed": -1}, "seed -1"),
        ({"lifetime_s": 0.0}, "lifetime_s is 0.0"),
        ({"requests_per_second": 0}, "requests_per_second is 0"),
        ({"weight_limit": 0}, "weight_limit is 0"),
        ({"tolerated_429s": -1}, "tolerated_429s is -1"),
        ({"kept_trades": 999}, "kept_trades is 999; give 1,000 or more"),
        ({"kept_ids": 0}, "kept_ids is 0"),
        ({"symbols": ()}, "no symbols"),
        ({"symbols": ("NOSUCHUSDT",)}, "no symbol NOSUCHUSDT"),
        ({"symbols": ("btcusdt",)}, "no symbol btcusdt"),
        ({"symbols": ("BTCUSDT", "BTCUSDT")}, "named 2 times"),
    ],
)
def test_nonsense_is_refused_with_the_value_in_one_line(config: dict[str, Any], says: str) -> None:
    with pytest.raises(OperatorError, match=says) as caught:
        SimulatorConfig(**config)
    assert "\n" not in str(caught.value)


def test_the_defaults_are_valid() -> None:
    assert len(SimulatorConfig().traded) >= 20


def test_no_speed_means_as_fast_as_the_subscribers_read() -> None:
    assert SimulatorConfig(speed=None).speed is None


def test_symbols_have_no_effect_with_captures() -> None:
    assert SimulatorConfig(captures=(Path("x"),), symbols=("WHATEVER",)).captures
