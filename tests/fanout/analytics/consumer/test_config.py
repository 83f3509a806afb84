"""What a consumer can be told, and what it refuses: one line with the key, the value, the limit."""

import json
from decimal import Decimal
from typing import Any

import pytest

from fanout.analytics.consumer.config import (
    MAX_SYMBOLS,
    ConsumerConfig,
    InputConfig,
    OutputConfig,
    ProcessingConfig,
    SymbolConfig,
    parse_consumer,
)
from fanout.analytics.consumer.signal_table import SignalConfig
from fanout.analytics.consumer.tables import ConsumerConfigError
from fanout.analytics.features.settings import FeatureSettings

VENUES = {"binance": "binance-usdm", "okx": "okx"}

WHOLE = """
inputs = ["tcp://127.0.0.1:9000"]

[[input]]
address = "multicast://239.10.1.1:9100"
start = "oldest"
symbols = ["BTCUSDT"]
recovery = "tcp://10.0.0.5:9000"
group-b = "239.10.2.1:9100"
interface = "10.0.0.7"
buffer-bytes = 8388608

[[symbol]]
venue = "Binance"
symbol = "BTCUSDT"
tick = 0.10

[[symbol]]
venue = "okx"
symbol = "BTC-USDT-SWAP"
enabled = false

[features]
windows = ["10s", "1s"]
lags = ["0ms", "100ms"]
depths = [20, 10]
levels = [5]
volatility = ["2m"]
volatility-sample = "500ms"
vwap = ["5s"]
every = "100ms"
microprices = ["btc.json"]

[[signal]]
name = "flow"
model = "order-flow-threshold"
threshold = 5

[outputs]
format = "csv"
parquet = "rows.parquet"
tcp-port = 0
tcp-host = "0.0.0.0"
nats = "nats://127.0.0.1:4222"
nats-subject = "desk.features"

[processing]
cpu = 2
queue-records = 1000
batch-records = 10
max-symbols = 3
wait = "1.5s"
http-port = 9464
http-host = "::1"
"""


def toml(text: str) -> ConsumerConfig:
    return parse_consumer(text, "consumer.toml", venues=VENUES)


def refusal(text: str) -> str:
    with pytest.raises(ConsumerConfigError) as caught:
        parse_consumer(text, "c", venues=VENUES)
    words = str(caught.value)
    assert "\n" not in words
    assert words.startswith("c")
    return words


def test_every_setting_of_a_file_arrives() -> None:
    assert toml(WHOLE) == ConsumerConfig(
        inputs=(
            InputConfig(address="tcp://127.0.0.1:9000"),
            InputConfig(
                address="multicast://239.10.1.1:9100",
                start="oldest",
                symbols=("BTCUSDT",),
                recovery="tcp://10.0.0.5:9000",
                group_b="239.10.2.1:9100",
                interface="10.0.0.7",
                buffer_bytes=8_388_608,
            ),
        ),
        symbols=(SymbolConfig(venue="binance-usdm", symbol="BTCUSDT", tick=Decimal("0.1")),),
        features=FeatureSettings(
            quantity_bps=(10, 20),
            wap_bps=(10, 20),
            wap_lags_ms=(100,),
            liquidity_bps=(10, 20),
            level_bps=(10, 20),
            queue_levels=(5,),
            order_flow_ms=(1_000, 10_000),
            trade_flow_ms=(1_000, 10_000),
            vwap_ms=(5_000,),
            intensity_ms=(1_000, 10_000),
            volatility_ms=(120_000,),
            volatility_sample_ms=500,
        ),
        microprices=("btc.json",),
        every_ns=100_000_000,
        signals=(
            SignalConfig(
                where="consumer.toml: signal[0]",
                name="flow",
                model="order-flow-threshold",
                options={"threshold": 5.0},
            ),
        ),
        outputs=OutputConfig(
            format="csv",
            parquet="rows.parquet",
            tcp_port=0,
            tcp_host="0.0.0.0",
            nats="nats://127.0.0.1:4222",
            nats_subject="desk.features",
        ),
        processing=ProcessingConfig(
            cpu=2,
            queue_records=1_000,
            batch_records=10,
            max_symbols=3,
            wait_ns=1_500_000_000,
            http_port=9464,
            http_host="::1",
        ),
    )


def test_an_empty_file_is_the_defaults() -> None:
    assert toml("") == toml("\ufeff") == ConsumerConfig()
    assert toml("[features]\n[outputs]\n[processing]\n") == ConsumerConfig()


def symbols(count: int) -> str:
    return "".join(f'[[symbol]]\nvenue = "okx"\nsymbol = "S{each}"\n' for each in range(count))


def test_2048_symbols_are_taken_and_2049_are_not() -> None:
    assert len(toml(symbols(MAX_SYMBOLS)).symbols) == 2_048
    assert refusal(symbols(2_049)) == "c: 2,049 symbols are enabled: at most 2,048"


def test_disabled_symbols_do_not_count() -> None:
    text = "[processing]\nmax-symbols = 2\n" + symbols(3) + "enabled = false\n"
    assert [each.symbol for each in toml(text).symbols] == ["S0", "S1"]


BTC = '[[symbol]]\nvenue = "okx"\nsymbol = "BTC-USDT"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[processing]\nbatch = 1\n",
            "c: processing.batch is unknown: did you mean batch-records?",
        ),
        ("feature = 1\n", "c: feature is unknown: did you mean features?"),
        ("[features]\nwindow = ['1s']\n", "c: features.window is unknown: did you mean windows?"),
        (BTC + "ticks = 1\n", "c: symbol[0].ticks is unknown: did you mean tick?"),
        ("[[input]]\naddres = 'x'\n", "c: input[0].address is missing"),
        ("[[symbol]]\nsymbol = 'A'\n", "c: symbol[0].venue is missing"),
        ("[[symbol]]\nvenue = 'okx'\n", "c: symbol[0].symbol is missing"),
        ("[[symbol]]\nvenue = 'okx'\nsymbol = ''\n", "c: symbol[0].symbol = '': a text is needed"),
        (
            BTC.replace("okx", "kraken"),
            "c: symbol[0].venue = 'kraken': no venue that is known: binance, okx",
        ),
        (BTC.replace("BTC", "B" * 80), f"c: symbol[0].symbol = '{'B' * 59}...: at most 64 bytes"),
        (BTC + BTC, "c: symbol[1].symbol = 'BTC-USDT': okx BTC-USDT is named twice"),
        (BTC + "enabled = false\n", "c: no symbol is enabled"),
        (BTC + "enabled = 1\n", "c: symbol[0].enabled = 1: true or false is needed"),
        (BTC + "tick = 0\n", "c: symbol[0].tick = 0: a number above 0 is needed, such as 0.01"),
        (
            BTC + "tick = nan\n",
            "c: symbol[0].tick = NaN: a number above 0 is needed, such as 0.01",
        ),
        (
            BTC + "tick = 'small'\n",
            "c: symbol[0].tick = 'small': a number above 0 is needed, such as 0.01",
        ),
        (
            "[features]\nwindows = ['0s']\n",
            "c: features.windows = '0s': too short: 1ms to 24h",
        ),
        (
            "[features]\nwindows = ['25h']\n",
            "c: features.windows = '25h': longer than 24h",
        ),
        (
            "[features]\nwindows = [100]\n",
            'c: features.windows = 100: no unit: write "100ms"',
        ),
        (
            "[features]\nwindows = ['100']\n",
            (
                "c: features.windows = '100': no duration: a number and one of ns, us, "
                "ms, s, m, h, such as 100ms"
            ),
        ),
        (
            "[features]\nlags = ['-1ms']\n",
            ("c: features.lags = '-1ms': no duration of whole nanoseconds, such as 100ms or 1.5s"),
        ),
        (
            "[features]\nlags = ['1e9999999999s']\n",
            (
                "c: features.lags = '1e9999999999s': no duration of whole nanoseconds, "
                "such as 100ms or 1.5s"
            ),
        ),
        (
            "[features]\nwindows = ['1500us']\n",
            "c: features.windows = '1500us': no whole number of milliseconds",
        ),
        (
            "[features]\nwindows = '1s'\n",
            "c: features.windows = '1s': a list of at most 16 is needed",
        ),
        (
            "[features]\ndepths = [0]\n",
            "c: features.depths = 0: 1 to 10,000",
        ),
        (
            "[features]\ndepths = ['10bps']\n",
            "c: features.depths = '10bps': 1 to 10,000",
        ),
        (
            "[features]\nvolatility = ['1s']\n",
            (
                "c: features: volatility_ms 1,000 is below 2,000, which is twice "
                "volatility_sample_ms: lengthen the window or sample more often"
            ),
        ),
        ("[features]\nevery = '0s'\n", "c: features.every = '0s': too short: 1ms to 24h"),
        ("signals = 1\n", "c: signals is unknown: did you mean signal?"),
        ("features = 1\n", "c: features = 1: a table is needed"),
        ("symbol = 1\n", "c: symbol = 1: a list of tables is needed: [[symbol]]"),
        ("[outputs]\nformat = 'xml'\n", "c: outputs.format = 'xml': jsonl, csv or none"),
        ("[outputs]\ntcp-port = 65536\n", "c: outputs.tcp-port = 65536: 0 to 65,535"),
        ("[outputs]\ntcp-port = true\n", "c: outputs.tcp-port = True: a whole number is needed"),
        ("[outputs]\nparquet = 1\n", "c: outputs.parquet = 1: a text is needed"),
        ("[processing]\nmax-symbols = 2049\n", "c: processing.max-symbols = 2049: 1 to 2,048"),
        ("[processing]\nqueue-records = 0\n", "c: processing.queue-records = 0: 1 to 16,777,216"),
        ("inputs = [1]\n", "c: inputs = 1: a text is needed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str, words: str) -> None:
    assert refusal(text) == words


def test_more_inputs_than_the_limit_are_refused() -> None:
    text = "".join(f"[[input]]\naddress = 'tcp://h:{each}'\n" for each in range(65))
    assert refusal(text) == "c: 65 tables [[input]]: at most 64"


def test_what_is_no_toml_is_refused() -> None:
    assert refusal("[features\n").startswith("c is no TOML: ")
    assert refusal("x = " + "[" * 5_000).startswith("c is no TOML: ")


DESCRIBED: dict[str, Any] = {
    "udp_config": {
        "multicast_group": "239.10.1.1",
        "port": 9100,
        "interface": "10.0.0.7",
        "buffer_size": 8_388_608,
    },
    "symbols": [
        {"exchange": "binance", "symbol": "BTCUSDT", "tick_size": 0.1, "enabled": True},
        {"exchange": "OKX", "symbol": "BTC-USDT", "tick_size": 1e-05},
        {"exchange": "okx", "symbol": "ETH-USDT", "tick_size": 0.01, "enabled": False},
    ],
    "processing_config": {
        "cpu_core": 3,
        "ring_buffer_size": 4096,
        "batch_size": 64,
        "max_symbols": 2,
    },
}


def test_the_layout_of_the_described_consumer_is_read() -> None:
    assert toml(json.dumps(DESCRIBED)) == ConsumerConfig(
        inputs=(
            InputConfig(
                address="multicast://239.10.1.1:9100",
                interface="10.0.0.7",
                buffer_bytes=8_388_608,
            ),
        ),
        symbols=(
            SymbolConfig(venue="binance-usdm", symbol="BTCUSDT", tick=Decimal("0.1")),
            SymbolConfig(venue="okx", symbol="BTC-USDT", tick=Decimal("0.00001")),
        ),
        processing=ProcessingConfig(cpu=3, queue_records=4_096, batch_records=64, max_symbols=2),
    )


def test_its_other_names_mean_the_same() -> None:
    udp = {
        "group": "239.10.1.1",
        "port": 1,
        "interface_ip": "0.0.0.0",
        "receive_buffer_size": 4_096,
    }
    config = toml("\n " + json.dumps({"udp_config": udp}))
    assert config.inputs == (InputConfig(address="multicast://239.10.1.1:1", buffer_bytes=4_096),)
    assert toml("{}") == ConsumerConfig()


def changed(**changes: Any) -> str:
    """The layout with changes; a name's parts are divided by two underlines, None removes."""
    said: dict[str, Any] = json.loads(json.dumps(DESCRIBED))
    for path, value in changes.items():
        *way, last = path.split("__")
        table: Any = said
        for each in way:
            table = table[int(each) if each.isdecimal() else each]
        if value is None:
            del table[last]
        else:
            table[last] = value
    return json.dumps(said)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"udp_config__multicast_group": "10.0.0.1"},
            (
                "c: udp_config.multicast_group = '10.0.0.1': no multicast group: 224.0.0.0 to "
                "239.255.255.255"
            ),
        ),
        (
            {"udp_config__multicast_group": "group"},
            "c: udp_config.multicast_group = 'group': an IPv4 address is needed",
        ),
        (
            {"udp_config__group": "239.1.1.1"},
            "c: udp_config.group = '239.1.1.1': it is the same as multicast_group: leave one out",
        ),
        ({"udp_config__port": None}, "c: udp_config.port is missing"),
        ({"udp_config__port": 0}, "c: udp_config.port = 0: 1 to 65,535"),
        (
            {"udp_config__interface": "eth0"},
            "c: udp_config.interface = 'eth0': an IPv4 address is needed",
        ),
        ({"udp_config__ttl": 1}, "c: udp_config.ttl is unknown: did you mean multicast_group?"),
        (
            {"symbols__0__exchange": "kraken"},
            "c: symbols[0].exchange = 'kraken': no venue that is known: binance, okx",
        ),
        (
            {"symbols__0__tick_size": -0.1},
            "c: symbols[0].tick_size = -0.1: a number above 0 is needed, such as 0.01",
        ),
        ({"symbols__0__lot": 1}, "c: symbols[0].lot is unknown: did you mean symbol?"),
        (
            {"symbols__2__enabled": True},
            "c: 3 symbols are enabled: at most 2",
        ),
        (
            {"processing_config__cpu_core": -1},
            "c: processing_config.cpu_core = -1: 0 to 65,535",
        ),
        (
            {"processing_config__ring_buffer_size": "64k"},
            "c: processing_config.ring_buffer_size = '64k': a whole number is needed",
        ),
        (
            {"processing_config__numa_node": 1},
            "c: processing_config.numa_node is unknown: did you mean cpu_core?",
        ),
        ({"log_level": "info"}, "c: log_level is unknown: did you mean symbols?"),
    ],
)
def test_what_the_described_layout_cannot_have_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    assert refusal(changed(**changes)).split(": did")[0] == words.split(": did")[0]


def test_what_is_no_json_is_refused() -> None:
    assert refusal("{").startswith("c is no JSON: ")
