"""What a journal would keep of a channel for the next start, made from the records of a reader, and
without the frames."""

from collections.abc import Iterable

from fanout.channel.memory import Memory, Recollection
from fanout.channel.past import Passage
from fanout.protocol import Record
from fanout.protocol.request import Begin


class KeptPast:
    """The past of a channel, of which only the memory is kept."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory
        self.newest_epoch_ns = memory.epoch_ns if memory else 0

    async def find(self, begin: Begin, *, epoch_ns: int) -> Passage | None:
        return None


def remembered(
    records: Iterable[Record],
    *symbols: str,
    epoch_ns: int = 1,
    before: Memory | None = None,
    is_orderly: bool = True,
) -> Memory:
    """What is known after these records of an epoch."""
    recollection = Recollection(before)
    recollection.take(records)
    recollection.end(is_orderly=is_orderly)
    return recollection.memory(epoch_ns=epoch_ns, next_seq=1, symbols=symbols)
