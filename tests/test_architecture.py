"""What may import what. The table is the plan of the house; the test reads the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED: dict[str, set[str]] = {
    "protocol": {"fanout.protocol", "msgspec"},
    "clients": {"fanout.clients", "fanout.protocol", "msgspec"},
    "clients/*_trio.py": {"fanout.clients", "fanout.protocol", "msgspec", "trio"},
    "clients/nats*.py": {"fanout.clients", "fanout.protocol", "msgspec", "nats"},
    "clients/columns": {"fanout.clients", "fanout.protocol", "msgspec", "numpy"},
    "clients/columns/frames.py": {
        "fanout.clients",
        "fanout.protocol",
        "msgspec",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
    },
    "fanout/venues": {"fanout.venues", "fanout.errors", "fanout.protocol", "msgspec"},
    "fanout/transports": {
        "fanout.transports",
        "fanout.checks.ports",
        "fanout.checks.report",
        "fanout.net.addresses",
        "fanout.stats.anomalies",
        "fanout.config",
        "fanout.net.descriptors",
        "fanout.errors",
        "fanout.stats.histogram",
        "fanout.net.listeners",
        "fanout.channel",
        "fanout.speedups",
        "fanout.stats.snapshots",
        "fanout.protocol",
        "msgspec",
        "trio",
    },
    "fanout/journal": {
        "fanout.journal",
        "fanout.channel.memory",
        "fanout.channel.past",
        "fanout.errors",
        "fanout.protocol",
        "fanout.stats",
        "msgspec",
        "trio",
    },
    "fanout/transports/journal": {
        "fanout.transports",
        "fanout.checks.report",
        "fanout.config",
        "fanout.errors",
        "fanout.stats",
        "fanout.channel",
        "fanout.journal",
        "fanout.protocol",
        "msgspec",
        "trio",
    },
    "fanout/channel": {"fanout.channel", "fanout.protocol", "msgspec", "trio"},
    "fanout/channel/log.py": {"fanout.channel.hand", "fanout.errors", "msgspec", "trio"},
    "fanout/channel/hand.py": {"trio"},
    "fanout/stats": {"fanout.stats", "fanout.errors", "msgspec"},
    "fanout/net": {
        "fanout.net",
        "fanout.errors",
        "fanout.protocol",
        "fanout.venues.base",
        "fanout.venues.values",
        "httpcore2",
        "httpx2",
        "msgspec",
        "python_socks",
        "trio",
        "websockets",
    },
    "fanout/simulator": {
        "fanout.simulator",
        "fanout.errors",
        "fanout.http.request",
        "fanout.net.listeners",
        "fanout.protocol.errors",
        "h11",
        "msgspec",
        "numpy",
        "trio",
        "trio_websocket",
        "wsproto",
    },
    "fanout/bridge": {
        "fanout.bridge",
        "fanout.clients",
        "fanout.errors",
        "fanout.http.answer",
        "fanout.protocol",
        "fanout.stats",
        "h11",
        "msgspec",
    },
    "fanout/bridge/nats": {
        "fanout.bridge",
        "fanout.clients",
        "fanout.errors",
        "fanout.http.answer",
        "fanout.protocol",
        "fanout.stats",
        "msgspec",
        "nats",
        "prometheus_client",
    },
    "fanout/analytics": {"fanout.analytics", "fanout.clients", "fanout.protocol", "msgspec"},
    "fanout/analytics/columns.py": {
        "fanout.analytics",
        "fanout.clients",
        "fanout.protocol",
        "msgspec",
        "numpy",
    },
    "fanout/compare": {
        "fanout.clients",
        "fanout.compare",
        "fanout.protocol",
        "fanout.stats.histogram",
        "msgspec",
    },
    "fanout/analytics/fits/least_squares.py": {"fanout.analytics", "numpy", "msgspec"},
    "fanout/analytics/fits/walk_forward.py": {"fanout.analytics", "numpy", "msgspec"},
    "fanout/trading": {
        "fanout.analytics",
        "fanout.clients",
        "fanout.protocol",
        "fanout.trading",
        "msgspec",
    },
    "fanout/http": {"fanout", "h11", "msgspec", "prometheus_client", "trio"},
    "fanout/http/answer.py": {"h11", "msgspec"},
    "fanout/http/serving.py": {"fanout.http", "fanout.net", "fanout.stats", "h11", "trio"},
    "fanout/http/request.py": {"h11", "trio"},
    "fanout/service.py": {"fanout", "msgspec", "trio"},
    "fanout/checks": {"fanout", "fanout.protocol", "msgspec", "trio"},
    "fanout/cli/analysing": {
        "fanout.analytics",
        "fanout.bridge.nats",
        "fanout.channel.channel",
        "fanout.cli",
        "fanout.clients",
        "fanout.config",
        "fanout.errors",
        "fanout.http.answer",
        "fanout.http.serving",
        "fanout.protocol",
        "fanout.serving",
        "fanout.transports",
        "fanout.venues",
        "fanout.versions",
        "h11",
        "msgspec",
        "nats",
        "prometheus_client",
        "rich",
        "trio",
        "typer",
    },
    "fanout/cli/trading": {
        "fanout.analytics",
        "fanout.cli",
        "fanout.clients.columns.frames",
        "fanout.clients.outcomes",
        "fanout.config",
        "fanout.errors",
        "fanout.journal.disk",
        "fanout.net.addresses",
        "fanout.net.local",
        "fanout.protocol",
        "fanout.trading",
        "fanout.versions",
        "msgspec",
        "rich",
        "trio",
        "typer",
    },
    "fanout/cli": {
        "fanout.analytics",
        "fanout.bridge",
        "fanout.net.addresses",
        "fanout.checks",
        "fanout.compare",
        "fanout.journal",
        "fanout.cli",
        "fanout.config",
        "fanout.errors",
        "fanout.config.secret",
        "fanout.replay",
        "fanout.service",
        "fanout.simulator",
        "fanout.speedups",
        "fanout.stats.snapshots",
        "fanout.config.assets",
        "fanout.net.systemd",
        "fanout.transports",
        "fanout.venues",
        "fanout.versions",
        "fanout.clients",
        "fanout.protocol",
        "msgspec",
        "rich",
        "trio",
        "typer",
    },
    "fanout/__main__.py": {"fanout.cli"},
    "fanout": {
        "fanout",
        "fanout.protocol",
        "httpcore2",
        "httpx2",
        "msgspec",
        "python_socks",
        "trio",
        "websockets",
    },
    "examples": {"fanout.clients", "fanout.protocol", "msgspec", "trio", "trio_websocket"},
    "examples/features_plot.py": {"fanout.analytics", "matplotlib", "numpy"},
}
"""By the most telling rule that fits a file. A name stands for itself and all below it, one
with a = for itself alone."""

FORBIDDEN: dict[str, set[str]] = {
    "protocol": {"socket", "mmap", "time", "logging", "random"},
    "fanout/service.py": {
        "fanout.clients",
        "typer",
        "fanout.checks",
        "fanout.cli",
        "fanout.trading",
    },
    "fanout/replay": {"fanout.clients", "typer", "fanout.cli", "fanout.feed", "fanout.source"},
    "fanout": {"fanout.clients", "typer", "fanout.cli"},
    "fanout/bridge": {
        "fanout.feed",
        "fanout.venues",
        "fanout.transports",
        "fanout.channel",
        "typer",
    },
    "fanout/analytics": {"logging", "random", "socket", "time"},
    "fanout/compare": {"fanout.venues", "fanout.feed", "fanout.channel", "typer", "trio", "time"},
    # A pure core: records and times come in. What could send an order is nowhere near it.
    "fanout/trading": {
        "asyncio",
        "datetime",
        "http",
        "logging",
        "os",
        "random",
        "selectors",
        "socket",
        "ssl",
        "subprocess",
        "time",
        "urllib",
        *(f"fanout.clients.{each}" for each in ("tcp", "ring", "shm", "nats", "multicast")),
    },
    "fanout/__main__.py": set(),
    "fanout/cli": {"socket"},
    "fanout/transports": {"fanout.venues", "fanout.feed", "fanout.feed.normalise"},
    "fanout/venues": {"socket", "ssl", "trio"},
    "fanout/channel/log.py": {"fanout.protocol", "fanout.venues", "fanout.transports"},
}


def sources() -> list[Path]:
    found = [
        path.relative_to(ROOT)
        for top in ("protocol", "clients", "fanout", "examples")
        for path in (ROOT / top).rglob("*.py")
        if not path.relative_to(ROOT).is_relative_to("fanout/clients")
        and not path.relative_to(ROOT).is_relative_to("fanout/protocol")
    ]
    assert len(found) > 30
    return found


def rule_for(path: Path, rules: dict[str, set[str]]) -> set[str]:
    fitting = [
        rule
        for rule in rules
        if path.match(rule) or Path(rule) in path.parents or str(path) == rule
    ]
    return rules[max(fitting, key=len)] if fitting else set()


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports out in full"
            assert node.module is not None
            # `from fanout.venues import binance` imports a module; names of other kinds do no harm.
            found |= {node.module} | {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists()
            }
    return found


def is_below(module: str, names: set[str]) -> bool:
    return f"={module}" in names or any(
        module == name or module.startswith(f"{name}.") for name in names
    )


@pytest.mark.parametrize("path", sources(), ids=str)
def test_a_file_imports_only_what_it_may_know(path: Path) -> None:
    allowed, forbidden = rule_for(path, ALLOWED), rule_for(path, FORBIDDEN)
    for module in imports(path):
        is_standard = module.split(".")[0] in sys.stdlib_module_names
        assert is_standard or is_below(module, allowed), f"{path} may not import {module}"
        assert not is_below(module, forbidden), f"{path} may not import {module}"


SHARED = {
    "transports": ("base", "registry", "shared", "shared_check", "shared_file"),
    "venues": ("acks", "base", "levels", "numbers", "rows", "times", "values"),
}
"""The modules that all transports, and all venues, may use."""


def test_a_transport_or_a_venue_knows_no_other() -> None:
    for kind in ("transports", "venues"):
        top = ROOT / "fanout" / kind
        shared = SHARED[kind]
        for path in top.rglob("*.py"):
            own = path.relative_to(top).parts[0].removesuffix(".py")
            if own in ("__init__", *shared):
                continue
            known = tuple(f"fanout.{kind}.{each}" for each in (*shared, own))
            for module in imports(path.relative_to(ROOT)):
                assert module.startswith(known) or not module.startswith(f"fanout.{kind}."), path


def test_the_simulators_market_knows_no_dialect_and_a_dialect_no_other() -> None:
    """`dialects/base.py` is the interface; `rest.py` and `listings.py` are for all dialects, and
    `dialects/binance` is what Binance's share."""
    dialects, tools = "fanout.simulator.dialects", ("base", "listings", "rest")
    shared = (*tools, "binance")
    top = ROOT / "fanout" / "simulator"
    for path in (top / "market").rglob("*.py"):
        for module in imports(path.relative_to(ROOT)):
            assert not module.startswith(dialects), f"{path} may not import {module}"
    for path in (top / "dialects").rglob("*.py"):
        own = path.relative_to(top / "dialects").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        known = {f"{dialects}.{each}" for each in (tools if own in shared else {own, *shared})}
        known |= {f"{dialects}.{own}"}
        for module in imports(path.relative_to(ROOT)):
            assert is_below(module, known) or not is_below(module, {dialects}), f"{path}: {module}"


def test_a_fault_and_a_connection_know_no_venue() -> None:
    for part in ("faults", "connection"):
        for path in (ROOT / "fanout" / "simulator" / part).rglob("*.py"):
            for module in imports(path.relative_to(ROOT)):
                interface = module == "fanout.simulator.dialects.base"
                assert interface or not is_below(module, {"fanout.simulator.dialects"}), path


def test_examples_use_public_names_only_and_are_short() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        text = path.read_text()
        tree = ast.parse(text)
        assert ast.get_docstring(tree), f"{path.name} opens with what it shows"
        assert text.count("\n") <= 40, f"{path.name} is longer than 40 lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                is_private = node.attr.startswith("_") and not node.attr.startswith("__")
                assert not is_private, f"{path.name}: {node.attr}"


@pytest.mark.parametrize(
    "module",
    [
        "fanout.clients.tcp",
        "fanout.clients.tcp_asyncio",
        "fanout.clients.shm",
        "fanout.clients.shm_asyncio",
        "fanout.clients.journal",
        "fanout.clients.multicast",
        "fanout.clients.multicast_asyncio",
        "fanout.clients.nats",
        "fanout.clients.consolidated",
        "fanout.protocol",
    ],
)
def test_a_client_brings_in_nothing_heavy(module: str) -> None:
    heavy = ["trio", "numpy", "typer", "websockets", "httpx2", "nats"]
    ours = ["fanout", "fanout.clients", "fanout.protocol"]
    code = f"""if True:
        import sys, {module}
        service = [each for each in sys.modules if each.split(".")[0] == "fanout"
                   and ".".join(each.split(".")[:2]) not in {ours}]
        print([each for each in {heavy} if each in sys.modules] + service)"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
