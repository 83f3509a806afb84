"""The files of a ring, from the writer's side: made, continued, locked, and written.

    DIR/NAME.meta .data    see `fanout.protocol.consolidated`
    DIR/NAME.lock          held by the one process that writes the ring; its text is the pid

They are written by system calls, which readers that have them mapped see at once. A store to a
mapped page would do the same, but it may have to wait for the disk, and Python's lock is held
meanwhile: the event loop would wait too. Nor can a file that somebody cuts end this process.

Nothing is synced: the kernel writes pages to the disk when it likes. All room is allocated at the
start, so that a disk that fills up later does not concern a ring.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from fanout.errors import BindError
from fanout.protocol.consolidated import (
    DATA,
    HEAD_BYTES,
    META,
    SEQUENCE_AT,
    TAIL_AT,
    Head,
    decode_head,
    decode_record,
    encode_head,
    slot_fault,
    stores_of,
)
from fanout.protocol.consolidated_reader import RingRecord, bytes_of, slots_from
from fanout.protocol.errors import MalformedError, reason
from fanout.transports.shared_file import has_name

_LOG = logging.getLogger("fanout")

LOCK: Final = ".lock"
_MAX_PID_BYTES: Final = 20
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OwnedRing:
    """A ring that is ours to write. Made by `open_ring`."""

    def __init__(self, stem: str, lock: int, meta: int, data: int, head: Head) -> None:
        self.stem = stem
        self.head = head
        self._stored = head
        """What NAME.meta has, unless another program writes there."""
        self._lock, self._meta, self._data = lock, meta, data

    def append(self, records: Sequence[bytes], kind: int) -> None:
        """Append records, the first of which has the number behind the head's. See `stores_of` for
        how many. After an `OSError` nothing was appended. Raises `BindError` if another program
        has written to the ring: one that knows nothing of our lock."""
        if os.pread(self._meta, HEAD_BYTES, 0) != encode_head(self._stored):
            raise BindError(
                f"another program writes the ring {self.stem}: stop it, and start this service anew"
            )
        stores = stores_of(self.head, records, kind)
        for each in stores.data:
            _write(self._data, each.data, each.offset)
        for each in stores.slots:
            _write(self._meta, each.data, each.offset)
        head = stores.head
        _write(self._meta, head.tail.to_bytes(8, "little"), TAIL_AT)
        self._stored = msgspec.structs.replace(self._stored, tail=head.tail)
        _write(self._meta, head.seq.to_bytes(8, "little"), SEQUENCE_AT)
        self.head = self._stored = head

    def newest(self, count: int) -> list[RingRecord]:
        """The newest records, so many at the most, without those that are damaged."""
        head, found = self.head, list[RingRecord]()
        first = max(head.seq - count + 1, head.oldest_slot)
        slots = slots_from(self, head, first, head.seq)
        for seq, slot in zip(range(first, head.seq + 1), slots, strict=True):
            with suppress(MalformedError):
                if not slot_fault(slot, seq, head):
                    payload = decode_record(bytes_of(self, head, slot), slot)
                    found.append(RingRecord(seq, slot.kind, payload, slot.offset + slot.size))
        return found

    def is_whole(self) -> bool:
        """Whether the files still have their names and their lengths."""
        return (
            os.fstat(self._meta).st_size == self.head.meta_bytes
            and os.fstat(self._data).st_size == self.head.capacity
            and has_name(self.stem + META, self._meta)
            and has_name(self.stem + DATA, self._data)
            and has_name(self.stem + LOCK, self._lock)
        )

    def meta(self, offset: int, size: int) -> bytes:
        """See `RingFiles`."""
        return os.pread(self._meta, size, offset)

    def data(self, offset: int, size: int) -> bytes:
        """See `RingFiles`."""
        return os.pread(self._data, size, offset)

    def close(self) -> None:
        """Let another process write the ring."""
        for each in (self._meta, self._data, self._lock):
            os.close(each)


def open_ring(
    stem: str,
    *,
    capacity: int,
    slots: int,
    given_slots: int,
    reinit: bool,
    was_open: bool = False,
) -> OwnedRing:
    """The ring at DIR/NAME: continued, or made if there is none, or with `reinit`. A new one has
    `slots`; one that is there must have as many as were given, if any were. Data without a head are
    refused, unless the ring `was_open` here before. May block. Raises `BindError`, with words on
    what to do."""
    lock = _take_lock(stem)
    opened: list[int] = [lock]
    try:
        has_meta, has_data = (os.path.lexists(stem + each) for each in (META, DATA))
        if has_data and not (has_meta or reinit or was_open):
            raise BindError(f"{stem}{DATA} has no {META}: bring it back, or give --reinit")
        if reinit or not has_meta:
            _make(stem, Head(capacity, 0, 0, slots))
        meta = os.open(stem + META, _FLAGS)
        opened.append(meta)
        data = os.open(stem + DATA, _FLAGS)
        opened.append(data)
        head = _continued(stem, meta, data, capacity, given_slots)
        for fd, size in ((meta, head.meta_bytes), (data, head.capacity)):
            os.posix_fallocate(fd, 0, size)  # it may have holes
        ring = OwnedRing(stem, lock, meta, data, head)
        _mend(ring)
        return ring
    except BaseException as error:
        for each in opened:
            os.close(each)
        if isinstance(error, OSError):
            why = _words(error, Head(capacity, 0, 0, slots))
            raise BindError(f"cannot open the ring {stem}: {why}") from error
        raise


def writer_of(stem: str) -> int | None:
    """The pid of the process that writes a ring, None if nobody does. Changes nothing. Raises
    `OSError`."""
    try:
        fd = os.open(stem + LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if has_locked(fd, fcntl.LOCK_SH) else _pid_in(fd)
    finally:
        os.close(fd)


def head_of(stem: str) -> Head | None:
    """The head of a ring, None if there is none. Raises `OSError` and `MalformedError`."""
    try:
        fd = os.open(stem + META, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return decode_head(os.read(fd, HEAD_BYTES))
    finally:
        os.close(fd)


def _take_lock(stem: str) -> int:
    path = stem + LOCK
    try:
        fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    except OSError as error:
        raise BindError(f"cannot open {path}: {reason(error)}") from error
    try:
        if not has_locked(fd, fcntl.LOCK_EX):
            raise BindError(
                f"the ring {stem} belongs to process {_pid_in(fd)}, which is running: stop it, or "
                "give another --rings"
            )
        os.ftruncate(fd, 0)
        _write(fd, f"{os.getpid()}\n".encode(), 0)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise BindError(f"cannot write {path}: {reason(error)}") from error
        raise
    return fd


def has_locked(fd: int, kind: int) -> bool:
    """Take a lock of a kind on a file. False if another process holds it. Raises `OSError`."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(fd: int) -> int:
    text = os.pread(fd, _MAX_PID_BYTES, 0).strip()
    return int(text) if text.isdigit() else 0


def _make(stem: str, head: Head) -> None:
    """Make both files, and give them their names once they are whole. The head's comes last."""
    begun = encode_head(head)
    sizes = {DATA: (head.capacity, b""), META: (head.meta_bytes, begun)}
    try:
        for ending, (size, first) in sizes.items():
            fd = os.open(f"{stem}{ending}.new", _FLAGS | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                os.posix_fallocate(fd, 0, size)
                _write(fd, first, 0)
            finally:
                os.close(fd)
        if os.path.lexists(stem + META):  # no head is ever found over other data
            os.unlink(stem + META)
        for ending in sizes:
            os.rename(f"{stem}{ending}.new", stem + ending)
    except BaseException:
        for ending in sizes:
            if os.path.lexists(f"{stem}{ending}.new"):
                os.unlink(f"{stem}{ending}.new")
        raise


def _continued(stem: str, meta: int, data: int, capacity: int, given_slots: int) -> Head:
    """The head of a ring that is there. Raises `BindError` if it is none, or another one than is
    asked for."""
    try:
        head = decode_head(os.pread(meta, HEAD_BYTES, 0))
    except MalformedError as error:
        raise BindError(f"{stem}{META} is {error}: move it away, or give --reinit") from error
    if head.capacity != capacity:
        raise BindError(
            f"the ring {stem} has {head.capacity:,} bytes, and --data-bytes is {capacity:,}: give "
            "what it has, or --reinit"
        )
    if given_slots and head.slots != given_slots:
        raise BindError(
            f"the ring {stem} has {head.slots:,} slots, and --index-slots is {given_slots:,}: give "
            "what it has, or --reinit"
        )
    for ending, fd, size in ((META, meta, head.meta_bytes), (DATA, data, head.capacity)):
        found = os.fstat(fd).st_size
        if found != size:
            raise BindError(
                f"{stem}{ending} has {found:,} bytes, and its head says {size:,}: it is half a "
                "file; move it away, or give --reinit"
            )
    return head


def _mend(ring: OwnedRing) -> None:
    """Set the tail behind the newest record: a writer that was killed between two stores may have
    left it further on."""
    newest, head = ring.newest(1), ring.head
    if not newest:
        if head.seq:
            _LOG.warning(
                "ring %s: its newest record %d is damaged; the next one follows",
                ring.stem,
                head.seq,
            )
        return
    tail = newest[-1].stop % head.capacity
    if tail != head.tail:
        _LOG.warning("ring %s: left half written; it goes on at number %d", ring.stem, head.seq + 1)
        ring.head = Head(head.capacity, tail, head.seq, head.slots)


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        taken = os.pwrite(fd, data, offset)
        if not taken:
            raise OSError(errno.EIO, "the disk took nothing")
        data, offset = data[taken:], offset + taken


def _words(error: OSError, head: Head) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        wanted = head.capacity + head.meta_bytes
        return f"no {wanted:,} bytes are free there: make room, or give a smaller --data-bytes"
    return reason(error).lower()
