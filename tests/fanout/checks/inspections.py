"""Runs the checks against the simulator, with any faults, and picks rows of the report."""

import trio

from fanout.checks import Check, Report, run_checks
from fanout.cli.check import EXIT_CODES
from fanout.config import FeedConfig
from fanout.simulator import SimulatorConfig
from fanout.simulator.faults.schedule import scheduled
from tests.stand.inside import config_for, running_simulator, with_source

ASSETS = ("BTCUSDT", "ETHUSDT")


async def checked(
    *faults: str,
    assets: tuple[str, ...] = ASSETS,
    timeout_s: float = 10.0,
    rate: float = 200.0,
    feed: FeedConfig | None = None,
    **changes: object,
) -> Report:
    """The report about an exchange with these faults."""
    market = SimulatorConfig(symbols=ASSETS, rate=rate, faults=tuple(map(scheduled, faults)))
    async with running_simulator(market) as simulator:
        config = with_source(config_for(simulator, *assets), feed=feed or FeedConfig(), **changes)
        with trio.fail_after(15):
            return await run_checks(config, timeout_s=timeout_s)


def rows(report: Report, name: str) -> dict[str, Check]:
    return {each.target: each for each in report.checks if each.name == name}


def row(report: Report, name: str, target: str = "") -> Check:
    (found,) = [
        each for each in report.checks if each.name == name and each.target.startswith(target)
    ]
    return found


def exit_code(report: Report) -> int:
    return EXIT_CODES[report.fault] if report.fault else 0
