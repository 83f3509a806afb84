"""What the ends of a shared-memory queue and of a ring have in common: a page, a data area behind
it, and a place in that."""

from typing import Protocol


class Buffer(Protocol):
    """A buffer: a bytearray, a mapped file. Whoever only reads a ring may have a read-only one."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

    def __len__(self) -> int: ...


class SharedEnd:
    """Views of the page and of the data area of one end, and its position."""

    # Slots, because the compiled twins look at them.
    __slots__ = ("_data", "_mask", "_page", "_position", "_words", "capacity")

    _position: int

    def __init__(self, buffer: Buffer, *, page_bytes: int, data_at: int, capacity: int) -> None:
        """`capacity` is how many bytes of data there are, from byte `data_at` on."""
        with memoryview(buffer) as whole:
            self._page = whole[:page_bytes]
            self._words = self._page.cast("Q")
            self._data = whole[data_at : data_at + capacity]
        self.capacity = capacity
        self._mask = capacity - 1

    def release(self) -> None:
        """Let go of the buffer, so that it can be closed. Nothing works after that."""
        for view in (self._words, self._page, self._data):
            view.release()
