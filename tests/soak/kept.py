"""The journal that a soak's service keeps, looked through once the service has ended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fanout.clients.journal import JournalClient
from fanout.protocol import LossReason
from tests.stand.consumers import BlockingConsumer
from tests.stand.oracle import Oracle
from tests.stand.verified import faults_of, lost_in, verified

KEPT_BYTES: Final = 2 * 1024 * 1024
"""Old segments go after some minutes."""


def options(directory: Path) -> str:
    """The transport's."""
    return f"journal --dir {directory} --segment-bytes 1MiB --keep-bytes {KEPT_BYTES}"


async def looked_through(directory: Path, oracles: Mapping[str, Oracle]) -> dict[str, float]:
    """Check each byte of it, and hold its records against what consumers got, as those of another
    consumer. `oracles` are by channel. Gives figures for the report."""
    checked = verified(directory)
    read = lost = removed = 0
    for channel, oracle in oracles.items():
        for fault in faults_of(checked.get(channel, [])):
            oracle.complain("P2", f"the journal of {channel}: {fault}")
        client = JournalClient(f"journal://{directory}/{channel}")
        consumer = BlockingConsumer(oracle, f"journal of {channel}", client)
        await consumer.run()
        reader = consumer.reader
        reader.require_goodbye()
        read += reader.got
        segments = checked[channel]
        lost += lost_in(segments)
        removed += segments[0].first_seq - 1
        if reader.losses.total() != reader.losses[LossReason.EVICTED]:
            oracle.complain("P2", f"the journal of {channel} lost {reader.losses}")
    segments = [each for found in checked.values() for each in found]
    return {
        "journal: segments kept": len(segments),
        "journal: bytes kept": sum(each.size_bytes for each in segments),
        "journal: records read": read,
        "journal: records that were removed": removed,
        "journal: records lost": lost,
    }
