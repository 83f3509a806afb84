"""How a subscriber's header comes together.

A header frame announces a number of instruments, which follow in frames of their own. The header
counts once all of them have come; until then the session uses the one before.

An index keeps its symbol for a whole epoch. A header in mid-stream may belong to older records and
have fewer symbols than the one before it. So a `Listing` remembers all symbols of the epoch, and
checks every header against them. It does the same with the columns of rows of features: none may
change within an epoch, not even between two connections, since the reader is not told of that.

A `Listing` is a value: each step returns another one. A session that has to undo a frame only
takes back the listing it had before.
"""

from collections.abc import Sequence
from itertools import zip_longest

from msgspec import Struct
from msgspec.structs import replace

from fanout.protocol.errors import MalformedError
from fanout.protocol.header import Gathering
from fanout.protocol.records import Header


class Listing(Struct, frozen=True):
    """The symbols of an epoch so far, and the header whose instruments are still coming."""

    epoch_ns: int | None = None
    """None before the first header."""
    symbols: tuple[str, ...] = ()
    """All symbols that the epoch has had so far, by index."""
    columns: tuple[str, ...] = ()
    """Those of the epoch's rows of features."""
    gathering: Gathering | None = None
    """The header whose instruments are still coming, if there is one."""

    @property
    def whole(self) -> Header | None:
        """The new header with all its instruments; None while some are missing."""
        gathering = self.gathering
        return gathering.header if gathering is not None and gathering.is_complete else None

    def begin(self, payload: bytes) -> "Listing":
        """A header frame has come. Raises `PeerError` for a payload that is none."""
        return replace(self, gathering=Gathering.begin(payload))

    def add(self, payload: bytes) -> "Listing":
        """Instruments of the new header have come. Raises `PeerError` for every other payload."""
        assert self.gathering is not None, "the session asks for instruments only behind a header"
        return replace(self, gathering=self.gathering.add(payload))

    def dropped(self) -> "Listing":
        """Without the new header."""
        return replace(self, gathering=None)

    def using(self, header: Header) -> "Listing":
        """`header` counts from here on. Raises `MalformedError` if it gives an index to another
        symbol than the epoch has had there, or has other columns."""
        symbols = tuple(each.symbol for each in header.instruments)
        if header.epoch_ns == self.epoch_ns:
            for index, (known, symbol) in enumerate(zip(self.symbols, symbols, strict=False)):
                if known != symbol:
                    raise MalformedError(f"index {index} was {known}, and is now {symbol}")
            symbols += self.symbols[len(symbols) :]
            _require_same(self.columns, header.columns)
        return Listing(header.epoch_ns, symbols, header.columns)


def _require_same(known: Sequence[str], columns: Sequence[str]) -> None:
    """Raises `MalformedError` that names the first column that differs."""
    for place, (before, now) in enumerate(zip_longest(known, columns)):
        if before != now:
            raise MalformedError(f"column {place} was {before}, and is now {now}, in one epoch")
