"""What readers of a journal have read or unpacked before, kept for the next one that needs it."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key, up to a size together: the one that was not asked for the longest goes first.
    Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size(self) -> int:
        return self._size

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: T, size: int = 1) -> bool:
        """Keep a value. Returns whether others had to go for it. One that is too large by itself is
        not kept."""
        with self._lock:
            before = self._values.pop(key, None)
            self._size += size - (before[1] if before else 0)
            self._values[key] = value, size
            is_full = self._size > self._most
            while self._size > self._most:
                _, (_, gone) = self._values.popitem(last=False)
                self._size -= gone
            return is_full

    def values(self) -> list[T]:
        with self._lock:
            return [value for value, _ in self._values.values()]
