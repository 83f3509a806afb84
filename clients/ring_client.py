"""The common part of the clients of a ring: all that a queue does otherwise."""

from typing import Unpack

from fanout.clients.client import ClientOptions
from fanout.clients.ring_file import AttachedRing, attach
from fanout.clients.shared_client import SharedClient
from fanout.clients.shared_file import SharedFileError
from fanout.protocol.queue_file import DIRECTORY
from fanout.protocol.request import Position, Request, Start


class RingOptions(ClientOptions, total=False):
    """Options of every client of a ring. `RingClientBase` describes them."""

    start: str | Position
    resume: bool
    directory: str


class RingClientBase(SharedClient[AttachedRing]):
    """A subscriber to a ring."""

    _scheme = "ring"
    _noun = "ring"

    def __init__(
        self,
        url: str,
        *,
        start: str | Position = "live",
        resume: bool = True,
        directory: str = DIRECTORY,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `ring://NAME`; any other raises `AddressError`. `directory` holds the rings'
        files. `fanout.clients.client.Client` has the other parameters.

        `start` is where to begin: `"live"`, `"oldest"` for the oldest record that is left in the
        ring, or a client's `position`. What is gone is reported as a `Loss`, and so is what the
        service overwrites before this client has read it. After a disconnect the client resumes
        where it stopped, or, with `resume=False`, at the newest record.

        With `reconnect=False` the iteration stops after an `End`. It raises `DisconnectedError` if
        there is no ring to attach to, or the ring is lost in another way; the `__cause__` is a
        `RingError`, or the error in the bytes. `idle_timeout_s` is the longest silence of a writer
        whose process lives. Raises `NotRepresentableError` for a position that cannot be, and
        `UnsupportedMachineError` where rings do not work.
        """
        request = Request(start=start if isinstance(start, Position) else Start(start))
        super().__init__(url, directory=directory, request=request, resume=resume, **options)
        self._given_up_epoch_ns: int | None = None
        """Of a ring in trouble that was read to its end."""

    def _open(self, now_s: float) -> AttachedRing:
        self._file = ring = attach(self._path, self._subscription, now_s=now_s)
        if ring.epoch_ns == self._corrupt_epoch_ns:
            # Broken bytes stay broken.
            ring.is_broken = True
            self._corrupt_epoch_ns = None
        return ring

    def _require_worth(self, ring: AttachedRing, now_s: float) -> None:
        """Raises `RingError` for a ring that is in trouble, unless this client is in the middle of
        it and has not read it to its end."""
        trouble = ring.trouble(now_s, self._idle_timeout_s)
        if trouble is None:
            return
        header = self._subscription.header
        is_amid = header is not None and header.epoch_ns == ring.epoch_ns
        if not is_amid or ring.epoch_ns in (self._ended_epoch_ns, self._given_up_epoch_ns):
            raise trouble

    def _give_up(self, ring: AttachedRing, trouble: SharedFileError) -> None:
        """Leave a ring in trouble that is read to its end. A reader that waits for a snapshot reads
        what there is before."""
        if ring.is_waiting:
            opening = ring.begin_at_once()
            if opening:
                self._receive(ring, opening)
            return
        self._given_up_epoch_ns = ring.epoch_ns
        raise trouble
