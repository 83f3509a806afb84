"""Sources given by --assets and by [[source]] tables of the configuration file."""

import json
from pathlib import Path

import pytest

from fanout.cli.source_tables import read_tables, source_of
from fanout.config import FeedConfig, SourceConfig
from fanout.errors import ConfigError
from tests.fanout.cli.processes import at_once, started


def shown(*arguments: str) -> list[dict[str, object]]:
    """The sources that `fanout config` prints."""
    result = at_once(*arguments, "config", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    sources: list[dict[str, object]] = json.loads(result.stdout)["sources"]
    return sources


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fanout.toml"


TWO = """
first-trade-timeout = 15
stream = "trade"

[[source]]
venue = "sim"
assets = ["btcusdt", "ETH*"]
channel = "busy"
connections = 2
proxy = "http://me:secret@proxy:3128"

[[source]]
assets = "SOLUSDT, XRPUSDT"
ws-url = "ws://127.0.0.1:1"
first-trade-timeout = 60
strict = true
data = "trades"
"""


def test_a_source_table_overrides_options_which_supply_the_rest(file: Path) -> None:
    file.write_text(TWO)
    busy, other = shown("--config", str(file))
    assert (busy["channel"], busy["venue"], busy["assets"]) == ("busy", "sim", ["BTCUSDT", "ETH*"])
    assert (busy["connections"], busy["first-trade-timeout"], busy["stream"]) == (2, 15, "trade")
    assert busy["proxy"] == "http://proxy:3128"
    assert (other["channel"], other["venue"]) == ("binance", "binance")
    assert other["assets"] == ["SOLUSDT", "XRPUSDT"]
    assert (other["ws-url"], other["first-trade-timeout"]) == ("ws://127.0.0.1:1", 60)
    assert (other["strict"], other["connections"], other["data"]) == (True, 1, ["trades"])


def test_printed_source_tables_read_back_the_same(file: Path) -> None:
    file.write_text(TWO.replace("me:secret@", ""))
    printed = at_once("--config", str(file), "config").stdout
    assert printed.count("[[source]]") == 2
    again = file.with_name("again.toml")
    again.write_text(printed)
    assert shown("--config", str(again)) == shown("--config", str(file))


def test_symbols_of_two_venues_make_two_sources() -> None:
    binance, simulated = shown("--assets", "BTCUSDT,sim:ethusdt", "--assets", "sim:*BTC,ethusdt")
    assert (binance["channel"], binance["assets"]) == ("binance", ["BTCUSDT", "ETHUSDT"])
    assert (simulated["channel"], simulated["assets"]) == ("sim", ["ETHUSDT", "*BTC"])


def test_assets_add_sources_to_those_of_the_tables(file: Path) -> None:
    file.write_text('[[source]]\nvenue = "sim"\nassets = "all"\n')
    assert [each["channel"] for each in shown("--config", str(file))] == ["sim"]
    both = shown("--config", str(file), "--assets", "BTCUSDT")
    assert [each["channel"] for each in both] == ["binance", "sim"]
    assert both[1]["assets"] == ["all"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[source]\nassets = "BTCUSDT"', "source is a list of tables: write [[source]]"),
        ("source = 3", "source is a list of tables"),
        ("[[source]]", "[[source]] 1: assets is missing"),
        ('[[source]]\nassets = "A"\nchanel = "x"', "1: chanel is unknown: did you mean channel?"),
        ('[[source]]\nassets = "A"\napi-key = "x"', "1: api-key is unknown"),
        ('[[source]]\nassets = "A"\nfoo = 1', "1: foo is unknown: a source has assets, venue, "),
        ('[[source]]\nassets = "A"\nconnections = "2"', "1: connections: expected `int`"),
        ('[[source]]\nassets = "A"\nconnections = 9', "1: connections 9: 1 to 4"),
        ("[[source]]\nassets = [1]", "1: assets: expected `str`"),
        ('[[source]]\nassets = ""', "1: no symbol: name some as assets, such"),
        ('[[source]]\nassets = "A,a"', "1: A is asked for twice"),
        ('[[source]]\nassets = "A"\nvenue = "nyse"', "1: venue: unknown venue 'nyse': binance"),
        (
            '[[source]]\nassets = "A"\nchannel = "A B"',
            "1: channel name 'A B': 1 to 32",
        ),
        (
            '[[source]]\nassets = "A"\nchannel = "-a"',
            "1: channel name '-a': 1 to 32",
        ),
        (
            f'[[source]]\nassets = "A"\nchannel = "{"a" * 33}"',
            "1 to 32 characters of a-z",
        ),
        (
            '[[source]]\nassets = "A"\ndata = ["orders"]',
            "1: data orders: binance has trades, quotes, book",
        ),
        (
            '[[source]]\nassets = "A"\ndata = ["book", "book"]',
            "1: data 'book,book': name each kind once",
        ),
        (
            '[[source]]\nassets = "A"\nstream = "aggTrade"\ndata = "trades,book"',
            "1: stream aggTrade brings no book: take stream trade, or auto",
        ),
        ('[[source]]\nassets = "A"\ndata = []', "1: data '': name each kind once"),
        ('[[source]]\nassets = "A"\nws-url = "http://h"', "1: ws-url 'http://h'"),
        ('[[source]]\nassets = "A"\nchecksums = true', "1: checksums: binance sends none"),
        ('checksums = true\n[[source]]\nassets = "A"', "1: --checksums: binance sends none"),
        (
            '[[source]]\nassets = "A"\nvenue = "sim"\nws-url = "ws://h"',
            "1: the venue sim brings its own URLs",
        ),
        (
            '[[source]]\nassets = "A"\n[[source]]\nassets = "B"',
            "[[source]] 2: the channel binance is that of {file}: [[source]] 1 already: name anot",
        ),
        (
            'assets = "A"\n[[source]]\nassets = "B"',
            "[[source]] 1: the channel binance is that of --assets already",
        ),
    ],
)
def test_an_invalid_table_is_refused_with_its_number(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    result = at_once("--config", str(file), "tcp")
    assert result.returncode == 78
    assert result.stderr.startswith(f"fanout: {file}: ")
    assert said.format(file=file) in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_option_that_a_table_leaves_out_keeps_its_dashes_in_an_error() -> None:
    (table,) = read_tables("f", [{"assets": "A", "data": ["quotes"]}])
    with pytest.raises(ConfigError, match=r"f: .* 1: --stream aggTrade brings no quotes"):
        source_of(table, venue="sim", data=("trades",), feed=FeedConfig(stream="aggTrade"))
    (table,) = read_tables("f", [{"assets": "A"}])
    with pytest.raises(ConfigError, match=r"f: .* 1: --data 'foo' is unknown"):
        source_of(table, venue="sim", data=("foo",), feed=FeedConfig())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--assets", "nyse:IBM", "tcp"], "and 'nyse' is no venue: binance, binance-spot,"),
        (["--assets", "sim:", "tcp"], "cannot be a symbol"),
        (["--assets", "sim:A,sim:a", "tcp"], "A is asked for twice"),
        (["--assets", "sim:A,B", "--log-bytes", "100KiB", "tcp"], "at least 131,072"),
    ],
)
def test_invalid_assets_are_refused(arguments: list[str], said: str) -> None:
    result = at_once(*arguments)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


def test_a_table_can_set_every_field_of_a_source_except_the_key() -> None:
    values = {"venue": "binance", "assets": ["A"], "rest-url": "http://h:1", "rotate-after": 90}
    (table,) = read_tables("f", [values])
    source = source_of(table, venue="sim", data=("quotes",), feed=FeedConfig(connections=3))
    assert source == SourceConfig(
        assets=("A",),
        data=("quotes",),
        rest_url="http://h:1",
        feed=FeedConfig(connections=3, rotate_after_s=90),
    )
    for hidden in ("api-key", "feed", "sim"):
        with pytest.raises(ConfigError, match="is unknown"):
            read_tables("f", [{"assets": "A", hidden: None}])


def test_log_lines_of_two_sources_have_the_sources_name(file: Path) -> None:
    file.write_text('[[source]]\nvenue = "sim"\nassets = "BTCUSDT"\nchannel = "busy"\n')
    with started("--config", str(file), "--assets", "sim:SOLUSDT", "tcp", "--port", "0") as service:
        line = service.until_said("serving")
        assert "serving SOLUSDT from sim and BTCUSDT from sim as busy on tcp://" in line
        for words in ("busy: BTCUSDT is LIVE", "sim: SOLUSDT is LIVE"):
            if words not in "".join(service.said):
                service.until_said(words)
