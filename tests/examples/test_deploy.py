"""What lies in examples/deploy says what this version understands and exports."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanout.bridge.nats.monitor import routes
from fanout.bridge.nats.stats import ChannelStats
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import Trade
from tests.fanout.cli.processes import fanout
from tests.fanout.http.watched import until_ready, watched

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"

ALL = ("trades", "quotes", "book")

METRIC = re.compile(r"\b(?:fanout|process)_[a-z_]+\b")


def unit() -> configparser.ConfigParser:
    # A parser of systemd's own would keep keys that come twice; none does here.
    parser = configparser.ConfigParser(interpolation=None, delimiters=["="], strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((DEPLOY / "fanout.service").read_text())
    return parser


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    return found


async def test_every_metric_that_is_asked_for_is_exported() -> None:
    async with watched(data=ALL) as service, TrioTcpClient(service.tcp_url) as client:
        async for record in client:
            if isinstance(record, Trade):
                break
        text = (await service.get("/metrics")).text
    text += routes([ChannelStats("perps", "fanout-perps")])["/metrics"]().body.decode()
    exported = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    exported |= {METRIC.match(line).group() for line in text.splitlines() if METRIC.match(line)}  # type: ignore[union-attr]
    asked = {word for each in alerts() for word in METRIC.findall(each["expr"])}
    for panel in panels():
        asked |= {word for each in panel["targets"] for word in METRIC.findall(each["expr"])}
    assert len(asked) > 20
    assert asked <= exported


async def test_what_belongs_to_a_channel_can_be_looked_at_by_channel() -> None:
    async with watched(data=ALL) as service:
        await until_ready(service)
        text = (await service.get("/metrics")).text
    samples = [line for line in text.splitlines() if 'channel="' in line]
    by_channel = {METRIC.match(line).group() for line in samples}  # type: ignore[union-attr]
    expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
    found = [each for each in expressions if by_channel & set(METRIC.findall(each))]
    assert len(found) > 10
    assert all('channel=~"$channel"' in each for each in found)
    variables = json.loads((DEPLOY / "grafana.json").read_text())["templating"]["list"]
    assert "channel" in [each["name"] for each in variables]


def test_panels_are_beside_each_other_and_have_numbers_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for each in panels():
        at = each["gridPos"]
        places = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not places & taken
        taken |= places
    assert len({each["id"] for each in panels()}) == len(panels())


def test_every_alarm_is_explained() -> None:
    words = (ROOT / "docs" / "running.md").read_text()
    for each in alerts():
        assert f"**{each['alert']}**" in words, each["alert"]
        assert each["annotations"]["summary"]


def test_the_unit_starts_what_there_is() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    _, *words = shlex.split(service["ExecStart"])
    words[words.index("/etc/fanout.toml")] = str(DEPLOY / "fanout.toml")
    result = fanout(*words, "config", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["transports"][0]["transport"] == "tcp"
    for code in ("2", "77", "78"):
        assert code in service["RestartPreventExitStatus"].split()


def test_the_containers_start_what_there_is() -> None:
    services = compose()
    words = services["fanout"]["command"]
    words.insert(words.index("tcp"), "config")
    result = fanout(*words)
    assert result.returncode == 0, result.stderr
    assert "http-port = 9464" in result.stdout
    (port,) = services["fanout"]["ports"]
    assert port == "127.0.0.1:9000:9000"
    refused = fanout(*services["consumer"]["command"], "--no-reconnect")
    # The name is that of the container, which is not to be found here.
    assert refused.returncode == 1
    assert "tcp://fanout:9000" in refused.stderr
    scraped = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["fanout:9464"]
    assert scraped["scrape_configs"][0]["job_name"] == "fanout"


def test_the_image_is_made_of_files_that_are_let_through() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert set(copied) == let_through
    assert all((ROOT / each).exists() for each in copied)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("promtool", ("check", "rules", str(DEPLOY / "alerts.yaml"))),
        ("systemd-analyze", ("verify", "--man=no", str(DEPLOY / "fanout.service"))),
    ],
)
def test_the_tool_it_is_for_has_no_complaints(tool: str, arguments: tuple[str, ...]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    result = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    # The program of the unit is not at its place here.
    said = [
        line
        for line in (result.stdout + result.stderr).splitlines()
        if "is not executable: No such file" not in line and "SUCCESS" not in line
    ]
    complaints = [line for line in said if "fanout.service" in line or "FAILED" in line]
    assert complaints == []
