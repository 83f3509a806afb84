"""Rows of features as text: JSON Lines and CSV. The same row is the same text, always.

    {"time_ns":1795219200000000000,"venue":"binance","symbol":"BTCUSDT","mid":61000.05,
     "wap_10bps":null,"absences":{"wap_10bps":"WARMING_UP"}}

A value that is absent is null, and the object `absences` has the reason. A row with signals has the
object `reasons`, too, with the text of each. In CSV a value that is absent is empty, and neither
object is there. Numbers are the shortest text that gives the same double again.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fanout.analytics.consumer.roster import Listed
from fanout.analytics.signals.signalled import SignalledRow
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow

MOST_KEPT: Final = 4_096
"""Patterns of absent columns whose text is kept. A market has a few dozen."""

Line = Callable[[Listed, FeatureRow], bytes]

_encode: Final = msgspec.json.Encoder().encode


class JsonLines:
    """Makes a line of JSON of each row."""

    header = b""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._named: dict[tuple[str, str], bytes] = {}
        self._absent: dict[bytes, bytes] = {}

    def line(self, listed: Listed, row: FeatureRow) -> bytes:
        """One line, with its end."""
        key = listed.venue, listed.symbol
        named = self._named.get(key)
        if named is None:
            named = self._named[key] = _encode(dict(zip(("venue", "symbol"), key, strict=True)))
        absent = self._absent.get(row.absences)
        if absent is None:
            absent = self._reasons(row.absences)
        # Objects without their braces. Their texts are put together without a look at each key.
        values = _encode(dict(zip(self._columns, row.values, strict=True)))
        comma = b"," if self._columns else b""
        reasons = b""
        if isinstance(row, SignalledRow):
            reasons = b',"reasons":%b' % _encode(row.reasons)
        return b'{"time_ns":%d,%b,%b%b"absences":%b%b}\n' % (
            row.time_ns,
            named[1:-1],
            values[1:-1],
            comma,
            absent,
            reasons,
        )

    def _reasons(self, absences: bytes) -> bytes:
        reasons = {
            name: Absence(code).name
            for name, code in zip(self._columns, absences, strict=True)
            if code
        }
        if len(self._absent) >= MOST_KEPT:
            self._absent.clear()
        text = self._absent[absences] = _encode(reasons)
        return text


class CsvLines:
    """Makes a row of CSV of each row. `header` is the first line, with the columns' names."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.header = ",".join(("time_ns", "venue", "symbol", *columns)).encode() + b"\n"
        self._named: dict[tuple[str, str], bytes] = {}

    def line(self, listed: Listed, row: FeatureRow) -> bytes:
        """One line, with its end."""
        key = listed.venue, listed.symbol
        named = self._named.get(key)
        if named is None:
            named = self._named[key] = ",".join(map(_quoted, key)).encode()
        # A list of numbers and null is JSON and nearly CSV, and this is the fastest way to either.
        values = _encode(row.values)[1:-1].replace(b"null", b"")
        return b"%d,%b,%b\n" % (row.time_ns, named, values)


def _quoted(text: str) -> str:
    """A name as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


FORMS: Final[dict[str, Callable[[Sequence[str]], JsonLines | CsvLines]]] = {
    "jsonl": JsonLines,
    "csv": CsvLines,
}
"""The makers of lines by the names of their formats."""
