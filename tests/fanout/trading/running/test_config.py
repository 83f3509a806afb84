"""The file of a run on paper: what it says, and every refusal in one line."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.analytics.errors import AnalyticsError
from fanout.protocol import Instrument
from fanout.protocol.constants import InstrumentType
from fanout.trading.errors import TradingError
from fanout.trading.exchange.queues import Model, Weight
from fanout.trading.limits import Check
from fanout.trading.money import money_of
from fanout.trading.running.config import PaperConfig, paper_of, parse_paper
from fanout.trading.running.plans import limits_of, plan_of, strategy_of
from fanout.trading.settings import JournalSettings
from fanout.trading.strategies.avellaneda_stoikov import AvellanedaStoikov
from fanout.trading.strategies.base import Quotes, View
from fanout.trading.strategies.basic import Basic
from fanout.trading.strategies.glft import Glft

BTC = Instrument(
    index=0,
    symbol="BTCUSDT",
    price_exponent=-2,
    quantity_exponent=-4,
    tick=10,
    lot=10,
    base="BTC",
    quote="USDT",
    type=InstrumentType.LINEAR_PERPETUAL,
)

TRADING = """
[trading]
symbols = ["BTCUSDT"]
"""
EXCHANGE = """
[exchange]
maker-fee-bps = 2.0
taker-fee-bps = 5
acknowledge = "10ms"
cancel = "15ms"
"""
STRATEGY = """
[strategy]
name = "basic"
quantity = 0.01
position-limit = 0.05
spread-bps = 4.5
min-spread = 0.1
max-spread = 100
skew-bps = 1
min-life = "500ms"
"""
RISK = """
[risk]
order-quantity = 0.02
order-value = 2_000.5
position = 0.1
notional = 10_000
orders-per-second = 20
order-burst = 40
open-orders = 4
price-deviation-bps = 100
daily-loss = 500
drawdown = "none"
stale = "1.5s"
kills = ["daily-loss", "stale"]
kill-on-feed-loss = true
"""
FILE = TRADING + EXCHANGE + STRATEGY + RISK


def parsed(text: str = FILE, **environment: str) -> PaperConfig:
    return parse_paper(text, "paper.toml", environment=environment)


def test_a_whole_file_is_understood() -> None:
    config = parsed()
    plan = plan_of(config, 0, BTC)
    one = money_of(BTC).worth(1, 1)  # 10**-6 USDT

    assert config.symbols == ("BTCUSDT",)
    assert config.exchange.latencies.acknowledge_ns == 10_000_000
    assert config.exchange.latencies.cancel_ns == 15_000_000
    assert (config.exchange.maker_fee, config.exchange.taker_fee) == (20_000, 50_000)
    assert (config.exchange.lead, config.exchange.weight) == (Model.CONSERVATIVE, Weight.LINEAR)
    assert plan.strategy == Basic(
        quantity=100,
        position_limit=500,
        spread_bps=4.5,
        min_spread=0.1,
        max_spread=100.0,
        skew_bps=1.0,
    )
    assert plan.settings.min_life_ns == 500_000_000
    assert plan.settings.kill_on_feed_loss
    limits = plan.limits
    assert (limits.order_quantity, limits.position) == (200, 1_000)
    assert (limits.order_value, limits.notional) == (2_000_500_000 * one, 10_000_000_000 * one)
    assert (limits.orders_per_second, limits.order_burst, limits.open_orders) == (20, 40, 4)
    assert (limits.price_deviation_bps, limits.stale_ms) == (100, 1_500)
    assert (limits.daily_loss, limits.drawdown) == (500_000_000 * one, None)
    assert limits.kills == {Check.DAILY_LOSS, Check.STALE_DATA}


def test_the_settings_in_a_journal_make_the_same_run_again() -> None:
    text = FILE + "[risk.BTCUSDT]\ndaily-loss = 0.1\nnotional = 1234567.89012345\n"
    config = parsed(text)
    kept = msgspec.json.decode(msgspec.json.encode(config.settings))
    again = paper_of(kept, "paper.toml")

    assert again == config
    assert plan_of(again, 0, BTC) == plan_of(config, 0, BTC)
    assert "system" not in kept


@pytest.mark.parametrize(
    ("name", "words", "kind"),
    [
        ("avellaneda-stoikov", "gamma = 0.1\nsigma = 2\nk = 1.5\ntau = 60", AvellanedaStoikov),
        ("glft", "gamma = 0.1\nsigma = 2\nk = 1.5\na = 140", Glft),
    ],
)
def test_each_strategy_is_made_by_its_name(name: str, words: str, kind: type) -> None:
    text = f'[strategy]\nname = "{name}"\nquantity = 0.01\nposition-limit = 0.05\n{words}\n'
    config = parsed(TRADING + EXCHANGE + text + RISK)
    strategy: Any = strategy_of(config.strategies["BTCUSDT"], BTC, "paper.toml")

    assert type(strategy) is kind
    assert (strategy.gamma, strategy.k) == (0.1, 1.5)
    if kind is Glft:
        assert strategy.delta == 0.01


def test_a_symbol_may_have_values_of_its_own() -> None:
    text = FILE.replace('["BTCUSDT"]', '["BTCUSDT", "ETHUSDT"]')
    text += "[strategy.ETHUSDT]\nquantity = 0.5\nposition-limit = 1\n"
    text += "[risk.ETHUSDT]\nposition = 2\norder-quantity = 1\n"
    config = parsed(text)

    assert config.strategies["ETHUSDT"].quantity == Decimal("0.5")
    assert config.strategies["BTCUSDT"].quantity == Decimal("0.01")
    assert config.strategies["ETHUSDT"].parameters == config.strategies["BTCUSDT"].parameters
    assert config.risks["ETHUSDT"].limits[Check.POSITION] == 2
    assert config.risks["ETHUSDT"].order_burst == 40


def test_a_symbol_with_another_strategy_takes_over_no_parameters() -> None:
    text = FILE.replace('["BTCUSDT"]', '["BTCUSDT", "ETHUSDT"]')
    text += '[strategy.ETHUSDT]\nname = "avellaneda-stoikov"\n'
    text += "gamma = 0.1\nsigma = 2\nk = 1.5\ntau = 1\n"
    config = parsed(text)

    own, other = config.strategies["ETHUSDT"], config.strategies["BTCUSDT"]
    assert set(own.parameters) == {"gamma", "sigma", "k", "tau"}
    assert (own.quantity, own.min_life_ns) == (other.quantity, other.min_life_ns)


def test_the_environment_names_symbols_and_the_level() -> None:
    config = parsed(TRADING_SYMBOL="ETHUSDT, SOLUSDT", LOG_LEVEL="WARNING")

    assert config.symbols == ("ETHUSDT", "SOLUSDT")
    assert config.system.log_level == "warning"


def test_the_journal_is_kept_as_the_file_says() -> None:
    assert parsed().system.kept == JournalSettings(
        segment_bytes=64 * 2**20, keep_bytes=None, sync_ns=10**9
    )
    said = '[system]\nsegment-bytes = "8MiB"\nkeep-bytes = "1GiB"\nsync = "200ms"\n'
    kept = parse_paper(FILE + said, "paper.toml").system.kept
    assert (kept.segment_bytes, kept.keep_bytes, kept.sync_ns) == (2**23, 2**30, 200_000_000)
    none = parse_paper(FILE + '[system]\nkeep-bytes = "none"\n', "paper.toml").system.kept
    assert none == JournalSettings()


def test_a_file_of_the_journal_has_room_for_a_checkpoint_of_all_symbols() -> None:
    said = FILE + '[system]\nsegment-bytes = "1MiB"\n'
    names = ",".join(f"X{number}" for number in range(17))
    words = "segment-bytes = '1MiB': at least 1088KiB for 17 symbols"
    with pytest.raises(TradingError, match=words):
        parsed(said, TRADING_SYMBOL=names)
    assert len(parsed(said, TRADING_SYMBOL=names.removesuffix(",X16")).symbols) == 16


def changed(old: str, new: str) -> str:
    assert old in FILE
    return FILE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "paper.toml is no TOML"),
        ("", "paper.toml: exchange is missing"),
        (EXCHANGE + STRATEGY, "paper.toml: risk is missing"),
        (EXCHANGE + STRATEGY + RISK, "trading.symbols is missing"),
        (changed('["BTCUSDT"]', "[]"), "trading.symbols is missing"),
        (changed('["BTCUSDT"]', '["A", "A"]'), "A is named twice"),
        (changed('["BTCUSDT"]', f'["{"A" * 70}"]'), "at most"),
        (changed("symbols =", 'symbol = "A"\nsymbols ='), "the same as"),
        (changed("[trading]", "[trading]\ncolour = 1"), "trading.colour is unknown"),
        (FILE + "[colour]", "paper.toml: colour is unknown"),
        (changed("maker-fee-bps = 2.0\n", ""), "exchange.maker-fee-bps is missing"),
        (changed("= 2.0", "= 20_000"), "maker-fee-bps = 20000: -10,000 to 10,000"),
        (changed("= 2.0", "= 2.00001"), "with at most 4 digits"),
        (changed("= 2.0", '= "2 bps"'), "maker-fee-bps = '2 bps': a number is needed"),
        (changed("= 2.0", "= nan"), "a number is needed"),
        (changed("= 2.0", "= true"), "a number is needed"),
        (changed("= 2.0", "= 1e99999999"), "at most 15 digits, from 1e-18 to 1e18"),
        (changed("= 2.0", "= 1e-99999999"), "at most 15 digits, from 1e-18 to 1e18"),
        (changed("notional = 10_000", "notional = 1e400"), "risk.notional = 1E+400: at most 15"),
        (changed("notional = 10_000", "notional = 1e999999"), "from 1e-18 to 1e18"),
        (changed("notional = 10_000", f"notional = 1{'0' * 400}"), "from 1e-18 to 1e18"),
        (changed("2_000.5", "2_000.567890123456"), "at most 15 digits"),
        (changed("spread-bps = 4.5", "spread-bps = inf"), "spread-bps = Infinity: a finite number"),
        (changed("spread-bps = 4.5", "spread-bps = 1e400"), "a finite number is needed"),
        (changed("spread-bps = 4.5", f"spread-bps = 1{'0' * 400}"), "a finite number is needed"),
        (changed('"10ms"', "10"), 'exchange.acknowledge = 10: no unit: write "100ms"'),
        (changed('"10ms"', '"-1ms"'), "exchange.acknowledge = '-1ms'"),
        (changed('"15ms"', '"15ms"\nlead = "best"'), "lead = 'best': conservative or prob"),
        (changed('"15ms"', '"15ms"\nweight = "cube"'), "linear or square or logarithm"),
        (changed('"15ms"', '"15ms"\nspeed = 1'), "exchange.speed is unknown"),
        (changed('"15ms"', '"15ms"\napi_key = "abc"'), "exchange.api_key is for an account"),
        (changed('"15ms"', '"15ms"\nAPI-SECRET = "abc"'), "exchange.API-SECRET is for an account"),
        (changed('"15ms"', '"15ms"\ntestnet = true'), "no account, and sends no order"),
        (changed("[trading]", "[trading]\nleverage = 5"), "trading.leverage is for an account"),
        (changed("[strategy]", '[strategy]\nsecret = "abc"'), "strategy.secret is for an account"),
        (changed('"basic"', '"best"'), "strategy.name = 'best': basic, avellaneda-stoikov, glft"),
        (changed("quantity = 0.01\n", ""), "strategy.quantity is missing"),
        (changed("quantity = 0.01\n", "quantity = 0\n"), "strategy.quantity = 0: above 0"),
        (changed("quantity = 0.01\n", "quantity = 1\n"), "above the position-limit of 0.05"),
        (changed("position-limit = 0.05", "position-limit = 0.5"), "above risk.position, 0.1"),
        (changed("order-quantity = 0.02", "order-quantity = 0.001"), "above risk.order-quantity"),
        (changed('"500ms"', "500"), "strategy.min-life = 500: no unit"),
        (changed("[strategy]", "[strategy.X]\na = 1\n[strategy]"), "BTCUSDT is traded"),
        (changed("notional = 10_000\n", ""), "risk.notional is missing"),
        (changed("notional = 10_000", 'notional = "off"'), '"none" to switch the limit off'),
        (changed("notional = 10_000", "notional = -1"), "risk.notional = -1: at least 0"),
        (changed("open-orders = 4", "open-orders = 1.5"), "a whole number is needed"),
        (changed("open-orders = 4", "open-orders = -1"), "risk.open-orders = -1: 0 to"),
        (changed('"1.5s"', "1500"), 'risk.stale = 1500: no unit: write "100ms"'),
        (changed('"1.5s"', '"1us"'), "risk.stale = '1us': whole milliseconds"),
        (changed('["daily-loss", "stale"]', '["loss"]'), "risk.kills = 'loss': order-quantity,"),
        (changed('["daily-loss", "stale"]', '["drawdown"]'), 'drawdown is "none", so it can never'),
        (changed("per-second = 20", 'per-second = "none"'), "order-burst = 40: orders-per-second"),
        (changed("= true", "= 1"), "kill-on-feed-loss = 1: true or false is needed"),
        (FILE + "[system]\nlog-level = 'loud'", "log-level = 'loud': debug, info"),
        (FILE + "[system]\nhttp-port = 70_000", "system.http-port = 70000: 0 to 65,535"),
        (FILE + "[system]\ncolour = 1", "system.colour is unknown"),
        (FILE + "[system]\nsegment-bytes = 64", 'segment-bytes = 64: no unit: write "64MiB"'),
        (FILE + "[system]\nsegment-bytes = '64MB'", "no size: a whole number and one of B, KiB"),
        (FILE + "[system]\nsegment-bytes = '1KiB'", "segment-bytes = '1KiB': 1MiB to "),
        (FILE + "[system]\nkeep-bytes = '127MiB'", "keep-bytes = '127MiB': 128MiB to "),
        (FILE + "[system]\nkeep-bytes = '0B'", "keep-bytes = '0B': 128MiB to "),
        (FILE + "[system]\nsync = '1ms'", "system.sync = '1ms': too short: 10ms to 24h"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_line(text: str, words: str) -> None:
    with pytest.raises((TradingError, AnalyticsError)) as raised:
        parsed(text)

    message = str(raised.value)
    assert words in message
    assert "\n" not in message
    assert "abc" not in message


def test_an_account_in_the_environment_is_refused_without_its_value() -> None:
    with pytest.raises(TradingError, match=r"API_KEY is set: .* no account") as raised:
        parsed(API_KEY="abcdef")
    assert "abcdef" not in str(raised.value)
    assert parsed(API_KEY="") == parsed()


def test_a_level_in_the_environment_is_checked() -> None:
    with pytest.raises(TradingError, match="LOG_LEVEL = 'loud': debug, info"):
        parsed(LOG_LEVEL="LOUD")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed("position = 0.1", "position = 0.0505"), "no multiple of the lot of BTCUSDT"),
        (changed("position = 0.1", "position = 0.050001"), "a quantity of BTCUSDT has at most 4"),
        (
            changed("quantity = 0.01\n", "quantity = 0.0001\n"),
            "below the smallest order of BTCUSDT",
        ),
        (changed("spread-bps = 4.5\n", ""), "strategy.spread-bps is missing for basic"),
        (changed("spread-bps = 4.5", "spread_bps = 4.5"), "strategy.spread_bps is unknown: basic"),
        (changed("spread-bps = 4.5", "spread-bps = 0"), "strategy: spread_bps is 0.0"),
        (changed("spread-bps = 4.5", 'spread-bps = "4.5"'), "'4.5': a number is needed"),
        (changed("max-spread = 100", "max-spread = 0.01"), "min_spread 0.1 is above max_spread"),
        (changed('"basic"', '"no_such_module:A"'), "no_such_module"),
        (changed('"basic"', '":A"'), "is not MODULE:CLASS, such as my_strategies:Breakout"),
        (
            changed('"basic"', '"tests.fanout.trading.running.test_config:Mute"'),
            "has no method quote()",
        ),
        (
            changed('"basic"', '"tests.fanout.trading.running.test_config:Picky"'),
            "cannot be made with",
        ),
    ],
)
def test_what_does_not_fit_the_instrument_gets_one_line(text: str, words: str) -> None:
    with pytest.raises((TradingError, AnalyticsError)) as raised:
        plan_of(parsed(text), 0, BTC)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_zero_is_a_limit_and_never_off() -> None:
    config = parsed(changed("open-orders = 4", "open-orders = 0"))
    limits = limits_of(config.risks["BTCUSDT"], BTC, "paper.toml")

    assert limits.open_orders == 0
    with pytest.raises(TradingError, match="below the smallest order of BTCUSDT"):
        limits_of(
            parsed(
                FILE.replace("order-quantity = 0.02", "order-quantity = 0.0005").replace(
                    "quantity = 0.01\n", "quantity = 0.0005\n"
                )
            ).risks["BTCUSDT"],
            BTC,
            "paper.toml",
        )


class Own:
    """A strategy of a user's own."""

    def __init__(self, instrument: Instrument, **options: object) -> None:
        self.instrument, self.options = instrument, options

    def quote(self, view: View) -> Quotes | None:
        return None

    def filled(self, fill: object) -> None:
        pass

    def stopped(self, why: str) -> None:
        pass


class Mute:
    def __init__(self, instrument: Instrument, **options: object) -> None:
        pass


class Picky(Own):
    def __init__(self, instrument: Instrument) -> None:
        super().__init__(instrument)


def test_a_strategy_of_a_users_own_gets_the_instrument_and_its_parameters() -> None:
    text = changed('"basic"', f'"{__name__}:Own"')
    text = text.replace("skew-bps = 1\n", 'leverage = 2\nmode = "calm"\n')
    strategy: Any = strategy_of(parsed(text).strategies["BTCUSDT"], BTC, "paper.toml")

    assert type(strategy).__name__ == "Own"
    assert strategy.instrument == BTC
    assert strategy.options == {
        "quantity": 100,
        "position_limit": 500,
        "spread_bps": 4.5,
        "min_spread": 0.1,
        "max_spread": 100,
        "leverage": 2,
        "mode": "calm",
    }
