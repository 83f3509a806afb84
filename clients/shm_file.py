"""A shared-memory queue's file, from the reader's side: attach to it as its only reader.

`shared_file` has all that is not the queue's own.
"""

import os
from collections.abc import Callable
from typing import ClassVar

import msgspec

from fanout.clients.shared_file import (
    AttachedFile,
    Descriptor,
    Mapping,
    Outcome,
    SharedFileError,
    head_of,
    open_file,
)
from fanout.protocol.blocks import BLOCK_KINDS, block_from
from fanout.protocol.constants import START
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.joining import first_seq, run_of
from fanout.protocol.queue import QueueReader
from fanout.protocol.queue_page import (
    HEAD_BYTES,
    READER_PID_WORD,
    LayoutVersionError,
    NotAQueueError,
    TruncatedQueueError,
    check_page,
)


class QueueError(SharedFileError):
    """A queue cannot be read, or no longer."""

    noun = "queue"
    outcomes: ClassVar = {
        NotAQueueError: Outcome.FOREIGN,
        LayoutVersionError: Outcome.OTHER_VERSION,
        TruncatedQueueError: Outcome.TRUNCATED,
    }


class AttachedQueue(AttachedFile):
    """A queue that this process has opened, locked and mapped. Made by `attach`."""

    error = QueueError

    def __init__(self, path: str, descriptor: Descriptor, size: int, now_s: float) -> None:
        mapping = Mapping(descriptor, QueueError, size_bytes=size)
        try:
            self.reader = QueueReader(mapping.mapped, pid=os.getpid())
        except BaseException:
            mapping.close()
            raise
        closes = (self.reader.release, mapping.close)
        super().__init__(path, descriptor, self.reader, closes, size_bytes=size, now_s=now_s)
        self.commit = self.reader.commit
        self._rest: Callable[[bytes], bytes] | None = None
        """Removes from the first frame the records that the last reader handed over."""
        self._begun = self.reader.committed

    def opening(self) -> bytes:
        """START, the session header and its instruments, for a session that begins at the first
        unread frame, or inside it if the last reader left there. Raises `PeerError`."""
        header = self.reader.header()
        next_seq = self._next_seq()
        resume_seq = self.reader.resume_seq
        if self._is_in_first_block(resume_seq):
            next_seq = resume_seq
            self._rest = lambda payload: block_from(payload, resume_seq, header)
        return frame(START) + opening(msgspec.structs.replace(header, next_seq=next_seq))

    def read(self) -> bytes:
        """The next frame, or nothing; it stays unread until the next call, or until the reader
        commits. Raises `PeerError`."""
        payload = self.reader.take()
        if payload is None:
            return b""
        rest = self._rest
        if rest is not None:
            if self.reader.committed == self._begun:  # also after a `rewind`
                return frame(rest(payload))
            self._rest = None
        return frame(payload)

    def _is_in_first_block(self, seq: int) -> bool:
        """Whether the first unread frame is a block with this number, but not as its first."""
        payload = next(self.reader.unread(), None) if seq else None
        if payload is None or payload[0] not in BLOCK_KINDS:
            return False
        first, count = run_of(payload)
        return first < seq < first + count

    def _next_seq(self) -> int:
        # The writer may be in the middle of a frame: it is not there yet, and the mark is old. The
        # next turn finds it. Frames of unknown kinds are looked at only once.
        seen = 0
        for _ in range(1_000):
            unread = self.reader.unread_bytes
            for payload in self.reader.unread() if unread != seen else ():
                seq = first_seq(payload)
                if seq is not None:
                    return seq
            seen = unread
            seq = self.reader.marked_seq()
            if seq is not None:
                return seq
        raise QueueError(Outcome.SILENT, "it stopped in the middle of a frame")

    def rewind(self) -> None:
        """See `AttachedFile.rewind`."""
        self.reader.rewind()


def attach(path: str, *, now_s: float) -> AttachedQueue:
    """The queue at `path`, to resume where its last reader stopped. `now_s` is a monotonic time.
    Raises `QueueError`, or another `PeerError` for a malformed page."""
    descriptor = open_file(path, QueueError)
    try:
        head, size = head_of(descriptor, QueueError, HEAD_BYTES)
        check_page(memoryview(head).cast("Q"), size)
        if not descriptor.lock(READER_PID_WORD):
            raise QueueError(Outcome.BUSY, f"process {descriptor.owner(READER_PID_WORD)}")
        return AttachedQueue(path, descriptor, size, now_s)
    except BaseException as error:
        descriptor.close()
        meant = QueueError.of(error)
        if meant is error:
            raise
        raise meant from error
