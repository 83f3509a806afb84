"""A wide soak: two venues, 200 symbols, four channels of one service, and consumers of each.

    USDⓈ-M simulator --stream, rest: spoiled--> two sources --> channels usdm-a, usdm-b
    spot simulator   --stream, rest: spoiled--> two sources --> channels spot-a, spot-b

Of each venue, one source has 8 symbols with trades, quotes and books, and the other one 92 with
trades and quotes. Faults come to both venues, one after another at each.
"""

from collections import Counter
from pathlib import Path
from typing import Final

import trio

from fanout.clients.tcp import TcpClient
from tests.soak.channels import Channel, ManyChannels, Plan, soak_of
from tests.soak.figures import Sampler
from tests.soak.run import DATA, Outcome
from tests.stand.consumers import AsyncioConsumer, BlockingConsumer, Consumer, TrioConsumer

RATE: Final = 300.0
"""Trades a second of each venue."""


def _plan(name: str, venue: str, dialect: str) -> Plan:
    """Its symbols need all REST requests that are allowed in a minute, so there is no room for more
    books."""
    channels = {f"{name}-a": (8, DATA), f"{name}-b": (92, "trades,quotes")}
    return Plan(name, venue, dialect, channels, RATE)


PLANS: Final = (
    _plan("usdm", "binance", "binance-usdm"),
    _plan("spot", "binance-spot", "binance-spot"),
)


class Wide(ManyChannels):
    log_bytes = "4MiB"
    has_journal = True

    def consumers(self, channel: Channel, url: str) -> list[Consumer]:
        oracle, name = channel.oracle, channel.name
        slow = TrioConsumer(oracle, f"{name} slow", url, start="oldest")
        slow.pause_s = 0.01
        return [
            TrioConsumer(oracle, f"{name} witness", url, is_concerned=False),
            TrioConsumer(oracle, f"{name} trio", url, start="oldest"),
            BlockingConsumer(oracle, f"{name} blocking", TcpClient(url, start="oldest")),
            AsyncioConsumer(oracle, f"{name} asyncio", url, start="oldest"),
            slow,
        ]

    async def trouble(self, duration_s: float) -> Counter[str]:
        """Faults at both venues at the same time."""
        all_mischief = [
            self.mischief(site, number, duration_s) for number, site in enumerate(self.sites)
        ]
        with trio.move_on_after(duration_s):
            async with trio.open_nursery() as nursery:
                for each in all_mischief:
                    nursery.start_soon(each.run)
        for each in all_mischief:
            each.stop()
            self.deeds += each.deeds
        return sum((each.done for each in all_mischief), Counter[str]())


async def wide_soak(duration_s: float, seed: int, directory: Path) -> tuple[Outcome, Sampler]:
    """Run one. What went wrong is among the outcome's complaints."""
    return await soak_of(Wide, PLANS, duration_s, seed, directory)
