"""The precedence of options: flag, environment variable, configuration file, default."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from fanout.cli.app import app
from fanout.cli.config_file import name_variables, settings_of
from tests.fanout.cli.processes import at_once, fanout, started

ALL = """
assets = ["SOLUSDT"]
venue = "sim"
stream = "trade"
connections = 3
strict = true
log-bytes = 131072

[tcp]
port = 9001
max-lag = 1.5

[shm]
name = "q"
keep = true
"""


def in_force(*arguments: str, **variables: str) -> dict[str, tuple[Any, str]]:
    """Each setting's value and who said so, `tcp.port` for one of a transport."""
    result = at_once(*arguments, **variables)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    settings = {each["name"]: (each["value"], each["source"]) for each in shown["options"]}
    for transport in shown["transports"]:
        for each in transport["options"]:
            name = f"{transport['transport']}.{each['name']}"
            settings[name] = (each["value"], each["source"])
    return settings


@pytest.mark.parametrize(
    ("flags", "variables", "file", "value", "source"),
    [
        ((), {}, "", 9000, "default"),
        ((), {}, "[tcp]\nport = 9001", 9001, "FILE"),
        ((), {}, '[tcp]\nport = "9001"', 9001, "FILE"),
        ((), {"FANOUT_TCP_PORT": "9002"}, "", 9002, "FANOUT_TCP_PORT"),
        ((), {"FANOUT_TCP_PORT": "9002"}, "[tcp]\nport = 9001", 9002, "FANOUT_TCP_PORT"),
        (("--port", "9003"), {}, "[tcp]\nport = 9001", 9003, "--port"),
        (("--port", "9003"), {"FANOUT_TCP_PORT": "9002"}, "", 9003, "--port"),
        (
            ("--port", "9003"),
            {"FANOUT_TCP_PORT": "9002"},
            "[tcp]\nport = 9001",
            9003,
            "--port",
        ),
    ],
)
def test_precedence_is_flag_variable_file_default(
    tmp_path: Path,
    flags: tuple[str, ...],
    variables: dict[str, str],
    file: str,
    value: int,
    source: str,
) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text(file)
    settings = in_force("--config", str(path), "config", "--json", "tcp", *flags, **variables)
    assert settings["tcp.port"] == (value, str(path) if source == "FILE" else source)


def test_a_file_can_set_every_type_of_value(tmp_path: Path) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text(ALL)
    settings = in_force("config", "--json", FANOUT_CONFIG=str(path))
    said = {name: value for name, (value, source) in settings.items() if source == str(path)}
    assert said == {
        "assets": ["SOLUSDT"],
        "venue": "sim",
        "stream": "trade",
        "connections": 3,
        "strict": True,
        "log-bytes": "131072",
        "tcp.port": 9001,
        "tcp.max-lag": 1.5,
        "shm.name": "q",
        "shm.keep": True,
    }


def test_a_byte_order_mark_before_a_file_is_accepted(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_text(ALL)
    marked.write_text(ALL, encoding="utf-8-sig")
    assert marked.read_bytes()[:3] == b"\xef\xbb\xbf"
    printed = at_once("--config", str(marked), "config").stdout
    assert (
        printed.replace(str(marked), str(plain)) == at_once("--config", str(plain), "config").stdout
    )


def test_the_printed_configuration_reads_back_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(ALL)
    printed = at_once("--config", str(first), "config").stdout
    second.write_text(printed)
    again = at_once("--config", str(second), "config").stdout
    assert again == printed.replace(str(first), str(second)).replace("# default", f"# {second}")


def test_a_blank_separates_a_long_value_from_its_source() -> None:
    url = "ws://a-host-with-a-long-name.example:9000"
    printed = at_once("--ws-url", url, "config").stdout
    assert f'\nws-url = "{url}" # --ws-url\n' in printed


def test_every_option_has_the_variable_that_help_names() -> None:
    for name, (_, source) in in_force(
        "config", "--json", "tcp", FANOUT_MAX_CLIENTS="7", FANOUT_HTTP_PORT="0", FANOUT_QUIET="1"
    ).items():
        if name in ("tcp.max-clients", "http-port", "quiet"):
            variable = "FANOUT_" + name.rpartition(".")[2].replace("-", "_").upper()
            assert source == variable
    assert in_force("config", "--json", "shm", "--name", "q", FANOUT_SHM_KEEP="1")["shm.keep"] == (
        True,
        "FANOUT_SHM_KEEP",
    )


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("log-byte = 1", 78, "log-byte is unknown: did you mean log-bytes?"),
        ("log_bytes = 1", 78, "log_bytes is unknown: did you mean log-bytes?"),
        ("[tpc]\nport = 1", 78, "tpc is unknown: did you mean tcp?"),
        ("[tcp]\nprot = 1", 78, "[tcp] prot is unknown: did you mean port?"),
        ("[tcp]\nstrict = true", 78, "[tcp] strict is unknown: did you mean "),
        ("tcp = 9000", 78, "tcp is a table: [tcp]"),
        ("strict = 1", 78, "strict = 1: true or false is needed"),
        ("connections = true", 78, "connections = True: a string or a number is needed"),
        ("venue = ['sim']", 78, "venue = ['sim']: a string or a number is needed"),
        ("assets = [1]", 78, "assets = [1]: a list of strings, or one, is needed"),
        ("proxy = 2026-11-21", 78, "a string or a number is needed"),
        ("connections =", 78, "is not TOML: "),
        ("version = true", 78, "version is unknown"),
        ("config = 'other.toml'", 78, "config is unknown"),
        ("connections = " + "[" * 5000, 78, "cannot read --config"),
        ("connections = 0x" + "f" * 5000, 78, "connections = a number too long: a string"),
        ("assets = [0x" + "f" * 5000 + "]", 78, "assets = [a number too long]: a list"),
        ("connections." + "a." * 3000 + "a = 1", 78, "a string or a number is needed"),
        ("venue = 'sim'\n" + "# more\n" * 5000, 78, "has more than 16,384 bytes"),
        ('"a\\u001b[31m" = 1', 78, "a?[31m is unknown"),
        ("connections = 1.5", 2, "fanout.toml: connections: input should be a valid integer"),
        ("[tcp]\nport = 90000", 2, "port 90000"),
        ("log-bytes = -1", 2, "'-1' is not a size"),
    ],
)
def test_an_error_in_a_file_is_one_line_with_the_files_name(
    tmp_path: Path, file: str, code: int, said: str
) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text(file)
    result = at_once("--config", str(path), "tcp")
    assert result.returncode == code
    assert said in result.stderr
    assert result.stderr.count("\n") <= 2
    if code == 78:
        assert str(path) in result.stderr


@pytest.mark.parametrize("path", ["/nowhere.toml", "/", "/dev/zero"])
def test_an_unreadable_file_is_reported(path: str) -> None:
    result = at_once("--config", path, "tcp")
    assert result.returncode == 78
    assert path in result.stderr
    assert result.stderr.count("\n") == 1


def test_secrets_are_not_shown() -> None:
    secrets = {
        "FANOUT_TOKEN": "sesame",
        "FANOUT_BINANCE_API_KEY": "abrakadabra",
        "FANOUT_PROXY": "http://me:mellon@proxy:3128",
    }
    for arguments in (("config",), ("config", "--json")):
        result = fanout(*arguments, **secrets)
        assert result.returncode == 0
        assert "http://proxy:3128" in result.stdout
        assert "FANOUT_TOKEN" in result.stdout
        for word in ("sesame", "abrakadabra", "mellon"):
            assert word not in result.stdout + result.stderr


def test_without_a_command_the_transports_of_the_file_are_served(tmp_path: Path) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text('venue = "sim"\nassets = "BTCUSDT"\n[tcp]\nport = 0\n')
    with started("--config", str(path)) as service:
        assert "serving BTCUSDT from sim on tcp://" in service.until_said("serving")


def test_without_a_command_or_a_file_the_missing_transport_is_reported() -> None:
    result = at_once("--strict")
    assert result.returncode == 2
    assert "no transport given: add tcp or shm or ring" in result.stderr


def test_each_option_has_a_variable_with_the_name_of_its_flag() -> None:
    command = typer.main.get_command(app)
    name_variables(command)
    for name, each in {"": command, **command.commands}.items():  # type: ignore[attr-defined]
        for flag, parameter in settings_of(each).items():
            words = flag.replace("-", "_").upper()
            assert parameter.envvar in (f"FANOUT_{words}", f"FANOUT_{name.upper()}_{words}")


@pytest.mark.parametrize("variable", ["FANOUT_HELP", "FANOUT_SHOW_VERSION", "FANOUT_VERSION"])
def test_no_variable_changes_the_purpose_of_a_command(variable: str) -> None:
    assert at_once("config", **{variable: "1"}).stdout.startswith("assets = ")


@pytest.mark.parametrize("flag", ["--ws-url", "--rest-url"])
def test_a_url_with_a_password_is_refused_without_showing_it(flag: str) -> None:
    scheme = "wss" if flag == "--ws-url" else "https"
    result = at_once(flag, f"{scheme}://me:mellon@host", "config")
    assert result.returncode == 2
    assert "mellon" not in result.stdout + result.stderr


def test_a_character_outside_the_terminals_encoding_is_one_line() -> None:
    assets = "\N{CJK UNIFIED IDEOGRAPH-5E01}"
    result = fanout("config", FANOUT_ASSETS=assets, PYTHONIOENCODING="ascii")
    assert result.returncode == 1
    assert "PYTHONIOENCODING=utf-8" in result.stderr
    assert result.stderr.count("\n") == 1
