"""Reads tables of a configuration key by key. Every refusal is one line with the file, the key, the
value and the limit.

A `Table` hands out what was asked for, and `close` refuses the keys that nobody asked for. So a
table knows its keys by the code that reads them, and no list of keys can be out of date.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from math import isfinite
from typing import Any, Final, TypeVar

from fanout.analytics.consumer.durations import LONGEST_NS, duration_ns, duration_text
from fanout.analytics.consumer.sizes import size_bytes, size_text
from fanout.analytics.errors import AnalyticsError

T = TypeVar("T")

MAX_SHOWN_CHARS: Final = 60


class ConsumerConfigError(AnalyticsError):
    """A configuration of a consumer that cannot be used."""


class Table:
    """One table of a configuration."""

    def __init__(self, source: str, path: str, values: object) -> None:
        """`source` names the file, `path` the table in it; empty for the top. Raises
        `ConsumerConfigError` if `values` are no table."""
        self._source = source
        self._path = path
        if not isinstance(values, Mapping):
            raise ConsumerConfigError(f"{source}: {path} = {_shown(values)}: a table is needed")
        self._values: Mapping[str, Any] = values
        self._known: list[str] = []

    def fault(self, key: str, why: str, *item: object) -> ConsumerConfigError:
        """The error of a key's value, or of an item in it."""
        value = item[0] if item else self._values.get(key)
        return ConsumerConfigError(f"{self._source}: {self._named(key)} = {_shown(value)}: {why}")

    @property
    def name(self) -> str:
        """The file, and the table in it."""
        return f"{self._source}: {self._path}" if self._path else self._source

    def _named(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        """Whether the table has a key, which is known from now on."""
        self._known.append(key)
        return key in self._values

    def either(self, *keys: str) -> str:
        """The one of several names of the same setting that is there; the first if none is. Raises
        `ConsumerConfigError` if there are two."""
        found = [each for each in keys if self.has(each)]
        if len(found) > 1:
            raise self.fault(found[1], f"it is the same as {found[0]}: leave one out")
        return (found or keys)[0]

    def _take(self, key: str, kinds: type | tuple[type, ...], needed: str, default: T) -> Any:
        if not self.has(key):
            return default
        value = self._values[key]
        is_wrong_bool = isinstance(value, bool) and kinds is not bool
        if is_wrong_bool or not isinstance(value, kinds):
            raise self.fault(key, f"{needed} is needed")
        return value

    def require(self, *keys: str) -> None:
        """Raises `ConsumerConfigError` for a key that is missing."""
        for key in keys:
            if key not in self._values:
                raise ConsumerConfigError(f"{self._source}: {self._named(key)} is missing")

    def text(self, key: str, default: str = "") -> str:
        """A text, which is not empty if it is there."""
        value: str = self._take(key, str, "a text", default)
        if key in self._values and not value.strip():
            raise self.fault(key, "a text is needed")
        return value.strip()

    def switch(self, key: str, default: bool) -> bool:
        """true or false."""
        value: bool = self._take(key, bool, "true or false", default)
        return value

    def whole(self, key: str, default: T, low: int, high: int) -> int | T:
        """A whole number in low..high."""
        value: int | T = self._take(key, int, "a whole number", default)
        if key in self._values and not low <= value <= high:  # type: ignore[operator]
            raise self.fault(key, f"{low:,} to {high:,}")
        return value

    def number(self, key: str, default: T, low: float, high: float) -> float | T:
        """A number in low..high, as a double."""
        value = self._take(key, (int, float, Decimal), "a number", default)
        if key not in self._values:
            return default
        if not (isfinite(value) and low <= value <= high):
            raise self.fault(key, f"{low:,.6g} to {high:,.6g}")
        return float(value)

    def decimal(self, key: str) -> Decimal:
        """A number above 0, exactly as it is written, also as a text: `0.1` in a file is one tenth,
        and not the double beside it."""
        value = self.raw(key)
        try:
            number = Decimal(str(value) if not isinstance(value, bool) else "")
        except InvalidOperation:
            number = Decimal(0)
        if not number.is_finite() or number <= 0:
            raise self.fault(key, "a number above 0 is needed, such as 0.01")
        return number

    def duration(self, key: str, default: T, *, least_ns: int = 0) -> int | T:
        """A duration in ns, at least so long."""
        if not self.has(key):
            return default
        return self._duration(key, self._values[key], least_ns)

    def _duration(self, key: str, value: object, least_ns: int) -> int:
        if not isinstance(value, str):
            raise self.fault(key, 'no unit: write "100ms"', value)
        try:
            ns = duration_ns(value)
        except ValueError as error:
            raise self.fault(key, str(error), value) from None
        if ns < least_ns:
            limits = f"{duration_text(least_ns)} to {duration_text(LONGEST_NS)}"
            raise self.fault(key, f"too short: {limits}", value)
        return ns

    def size(self, key: str, default: T, low: int, high: int) -> int | T:
        """A size in bytes, in low..high."""
        if not self.has(key):
            return default
        value = self._values[key]
        if not isinstance(value, str):
            raise self.fault(key, 'no unit: write "64MiB"')
        try:
            size = size_bytes(value)
        except ValueError as error:
            raise self.fault(key, str(error)) from None
        if not low <= size <= high:
            raise self.fault(key, f"{size_text(low)} to {size_text(high)}")
        return size

    def several(self, key: str, of: Callable[[str, object], T], most: int) -> tuple[T, ...] | None:
        """The items of a list, each made by `of` from the key and the item; None without one."""
        if not self.has(key):
            return None
        items = self._values[key]
        if not isinstance(items, list) or len(items) > most:
            raise self.fault(key, f"a list of at most {most:,} is needed")
        return tuple(of(key, each) for each in items)

    def durations(self, key: str, *, least_ns: int, most: int) -> tuple[int, ...] | None:
        """A list of durations in ns."""
        return self.several(key, lambda key, each: self._duration(key, each, least_ns), most)

    def wholes(self, key: str, low: int, high: int, *, most: int) -> tuple[int, ...] | None:
        """A list of whole numbers in low..high."""

        def whole(key: str, each: object) -> int:
            if isinstance(each, bool) or not isinstance(each, int) or not low <= each <= high:
                raise self.fault(key, f"{low:,} to {high:,}", each)
            return each

        return self.several(key, whole, most)

    def texts(self, key: str, *, most: int) -> tuple[str, ...] | None:
        """A list of texts."""

        def text(key: str, each: object) -> str:
            if not isinstance(each, str) or not each.strip():
                raise self.fault(key, "a text is needed", each)
            return each.strip()

        return self.several(key, text, most)

    def table(self, key: str) -> "Table | None":
        """A table in this one."""
        if not self.has(key):
            return None
        return Table(self._source, self._named(key), self._values[key])

    def tables(self, key: str, *, most: int) -> "tuple[Table, ...]":
        """A list of tables; empty without one."""
        if not self.has(key):
            return ()
        items = self._values[key]
        if not isinstance(items, list):
            raise self.fault(key, f"a list of tables is needed: [[{self._named(key)}]]")
        if len(items) > most:
            raise ConsumerConfigError(
                f"{self._source}: {len(items):,} tables [[{self._named(key)}]]: at most {most:,}"
            )
        return tuple(
            Table(self._source, f"{self._named(key)}[{place}]", each)
            for place, each in enumerate(items)
        )

    def raw(self, key: str) -> object:
        """A value as it stands there; None without one."""
        return self._values[key] if self.has(key) else None

    def rest(self) -> tuple[str, ...]:
        """The keys that nobody has asked for so far."""
        return tuple(key for key in self._values if key not in self._known)

    def close(self) -> None:
        """Raises `ConsumerConfigError` for a key that was not asked for, with the nearest one."""
        for key in self._values:
            if key not in self._known:
                nearest = get_close_matches(str(key), self._known, n=1, cutoff=0)
                advice = f": did you mean {nearest[0]}?" if nearest else ""
                raise ConsumerConfigError(
                    f"{self._source}: {self._named(plain(key))} is unknown{advice}"
                )


def _shown(value: object) -> str:
    text = repr(value)
    if isinstance(value, Mapping | list):
        text = type(value).__name__
    elif isinstance(value, Decimal):
        text = str(value)
    return plain(text)


def plain(text: object, most: int = MAX_SHOWN_CHARS) -> str:
    """Foreign text in one line of at most so many characters."""
    line = "".join(each if each.isprintable() else "?" for each in str(text))
    return line if len(line) <= most else f"{line[:most]}..."
