"""What a table `[[signal]]` can have, and what is refused: one line with the key and the value."""

from decimal import Decimal

import pytest

from fanout.analytics.consumer.config import parse_consumer
from fanout.analytics.consumer.signal_table import MAX_SIGNALS, SignalConfig, SizeConfig
from fanout.analytics.consumer.tables import ConsumerConfigError

VENUES = {"binance": "binance-usdm", "okx": "okx"}

WHOLE = """
[[signal]]
name = "flow"
model = "order-flow-threshold"
venue = "Binance"
column = "order_flow_imbalance_10000ms"
threshold = 5
full = 7.5
confidence = 0.25

[signal.size]
risk-budget = 100.10
max-quantity = "0.5"
volatility = "volatility_10000ms"
horizon = "30s"

[[signal]]
name = "btc"
model = "linear"
symbol = "BTCUSDT"
fit = "btc.json"
horizon = "15s"
least-return = 0.0001

[[signal]]
name = "both"
model = "combination"
of = ["flow", "mine", "btc"]
threshold = 0.1

[[signal]]
name = "mine"
model = "my_signals:Imbalance"
options = { confidence = 0.2, levels = [1, 0.5], name = "x", more = { deep = 1.5 } }
"""


def signals(text: str) -> tuple[SignalConfig, ...]:
    return parse_consumer(text, "c", venues=VENUES).signals


def refusal(text: str) -> str:
    with pytest.raises(ConsumerConfigError) as caught:
        signals(text)
    words = str(caught.value)
    assert "\n" not in words
    assert words.startswith("c: ")
    return words.removeprefix("c: ")


def table(model: str, *lines: str, name: str = "a") -> str:
    return "\n".join(["[[signal]]", f'name = "{name}"', f'model = "{model}"', *lines, ""])


def test_every_setting_arrives() -> None:
    flow, btc, both, mine = signals(WHOLE)
    assert flow == SignalConfig(
        where="c: signal[0]",
        name="flow",
        model="order-flow-threshold",
        venue="binance-usdm",
        options={
            "column": "order_flow_imbalance_10000ms",
            "threshold": 5.0,
            "full": 7.5,
            "confidence": 0.25,
        },
        size=SizeConfig(
            risk_budget=Decimal("100.10"),
            max_quantity=Decimal("0.5"),
            volatility="volatility_10000ms",
            horizon_ns=30 * 10**9,
        ),
    )
    assert btc == SignalConfig(
        where="c: signal[1]",
        name="btc",
        model="linear",
        symbol="BTCUSDT",
        fit="btc.json",
        horizon_ns=15 * 10**9,
        options={"least_return": 0.0001},
    )
    assert both == SignalConfig(
        where="c: signal[2]",
        name="both",
        model="combination",
        of=("flow", "mine", "btc"),
        options={"threshold": 0.1},
    )
    assert mine.options == {
        "confidence": 0.2,
        "levels": [1, 0.5],
        "name": "x",
        "more": {"deep": 1.5},
    }
    assert isinstance(mine.options["confidence"], float)


def test_what_is_not_said_is_left_to_the_model() -> None:
    (flow,) = signals(table("order-flow-threshold", "threshold = 1"))
    assert flow.options == {"threshold": 1.0}
    (size,) = signals(table("a.b:C", "[signal.size]", "risk-budget = 1", "max-quantity = 2"))
    assert size.size == SizeConfig(risk_budget=Decimal(1), max_quantity=Decimal(2))
    assert size.size.volatility == "volatility_60000ms"
    assert signals("") == ()


THRESHOLD = ("order-flow-threshold", "threshold = 1")
NAME_RULE = "a letter a-z, then a-z 0-9 _, 48 at the most"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[signals]\nhorizon = '15s'\n", "signals is unknown: did you mean signal?"),
        ("signal = 1\n", "signal = 1: a list of tables is needed: [[signal]]"),
        ('[[signal]]\nmodel = "linear"\n', "signal[0].name is missing"),
        ('[[signal]]\nname = "a"\n', "signal[0].model is missing"),
        (table(*THRESHOLD, name="Flow"), f"signal[0].name = 'Flow': {NAME_RULE}"),
        (table(*THRESHOLD, name="a.b"), f"signal[0].name = 'a.b': {NAME_RULE}"),
        (table(*THRESHOLD, name="1"), f"signal[0].name = '1': {NAME_RULE}"),
        (table(*THRESHOLD, name="a" * 49), f"signal[0].name = '{'a' * 49}': {NAME_RULE}"),
        (
            2 * table(*THRESHOLD),
            "signal[1].name = 'a': the name of c: signal[0], too: take another",
        ),
        (
            table("ofi"),
            (
                "signal[0].model = 'ofi': no model: order-flow-threshold, linear, combination, or "
                "MODULE:CLASS of your own"
            ),
        ),
        (table("order-flow-threshold"), "signal[0].threshold is missing"),
        (table("linear"), "signal[0].fit is missing"),
        (table("combination"), "signal[0].of is missing"),
        (
            table(*THRESHOLD, 'fit = "btc.json"'),
            (
                "signal[0].fit = 'btc.json': not for the model order-flow-threshold, which has "
                "column, threshold, full, confidence"
            ),
        ),
        (
            table("a:B", "threshold = 1"),
            "signal[0].threshold = 1: not for the model a:B, which has options",
        ),
        (
            table("linear", 'fit = "f"', "options = {}"),
            (
                "signal[0].options = dict: not for the model linear, which has fit, horizon, "
                "least-return"
            ),
        ),
        (table(*THRESHOLD, "speed = 1"), "signal[0].speed is unknown: did you mean size?"),
        (
            table("order-flow-threshold", 'threshold = "5"'),
            "signal[0].threshold = '5': a number is needed",
        ),
        (
            table("order-flow-threshold", "threshold = nan"),
            "signal[0].threshold = NaN: 0 to 1e+15",
        ),
        (table("order-flow-threshold", "threshold = -1"), "signal[0].threshold = -1: 0 to 1e+15"),
        (table(*THRESHOLD, "confidence = 1.5"), "signal[0].confidence = 1.5: 0 to 1"),
        (table(*THRESHOLD, "full = true"), "signal[0].full = True: a number is needed"),
        (table("combination", 'of = ["b"]', "threshold = 2"), "signal[0].threshold = 2: 0 to 1"),
        (
            table("linear", 'fit = "f"', "least-return = 1"),
            "signal[0].least-return = 1: 0 to 0.99",
        ),
        (
            table("linear", 'fit = "f"', "horizon = 15"),
            'signal[0].horizon = 15: no unit: write "100ms"',
        ),
        (
            table("linear", 'fit = "f"', 'horizon = "0s"'),
            "signal[0].horizon = '0s': too short: 1ns to 24h",
        ),
        (
            table(*THRESHOLD, 'venue = "nyse"'),
            "signal[0].venue = 'nyse': no venue that is known: binance, okx",
        ),
        (
            table(*THRESHOLD, f'symbol = "{"S" * 65}"'),
            f"signal[0].symbol = '{'S' * 59}...: at most 64 bytes",
        ),
        (
            table("combination", "of = []"),
            "signal[0].of = list: the names of one or more signals are needed",
        ),
        (
            table("combination", 'of = ["b", "b"]'),
            "signal[0].of = 'b': named twice",
        ),
        (
            table("combination", 'of = ["b"]'),
            "signal[0].of = 'b': no signal of this name: there are a",
        ),
        (
            table("combination", 'of = ["a"]'),
            "signal[0]: the combination contains itself: a contains a",
        ),
        (table("a:B", "options = 1"), "signal[0].options = 1: a table is needed: [signal.options]"),
        (
            table("a:B", "options = { x = [inf] }"),
            "signal[0].options = Infinity: numbers have to be finite",
        ),
        (table(*THRESHOLD, "size = 1"), "signal[0].size = 1: a table is needed"),
        (table(*THRESHOLD, "[signal.size]"), "signal[0].size.risk-budget is missing"),
        (
            table(*THRESHOLD, "[signal.size]", "risk-budget = 1"),
            "signal[0].size.max-quantity is missing",
        ),
        (
            table(*THRESHOLD, "[signal.size]", "risk-budget = 0", "max-quantity = 1"),
            "signal[0].size.risk-budget = 0: a number above 0 is needed, such as 0.01",
        ),
        (
            table(*THRESHOLD, "[signal.size]", "risk-budget = 1", "max-quantity = 1e999999999"),
            "signal[0].size.max-quantity = 1E+999999999: 1e-15 to 1e+15",
        ),
        (
            table(*THRESHOLD, "[signal.size]", "risk-budget = 1e-999999", "max-quantity = 1"),
            "signal[0].size.risk-budget = 1E-999999: 1e-15 to 1e+15",
        ),
        (
            table(*THRESHOLD, "[signal.size]", "risk-budget = 1", "max-quantity = 1", "lots = 1"),
            "signal[0].size.lots is unknown: did you mean volatility?",
        ),
        (
            "".join(table(*THRESHOLD, name=f"s{each}") for each in range(MAX_SIGNALS + 1)),
            "65 tables [[signal]]: at most 64",
        ),
    ],
)
def test_nonsense_is_refused_with_the_key_the_value_and_the_limit(text: str, words: str) -> None:
    assert refusal(text) == words


def test_combinations_in_a_circle_are_refused() -> None:
    text = "".join(
        table("combination", f'of = ["{part}"]', name=name)
        for name, part in (("a", "b"), ("b", "c"), ("c", "b"))
    )
    assert refusal(text).endswith(
        ("itself: b contains c contains b", "itself: c contains b contains c")
    )
