"""A blocking client for a journal: the records that a service has kept, from any number or time on.

    from fanout.clients.journal import JournalClient, Moment
    from fanout.protocol import Trade

    with JournalClient("journal:///var/lib/fanout/binance") as client:
        for record in client:
            if isinstance(record, Trade):
                print(record.symbol, record.price_text, record.quantity_text)

Iterating gives the same records as `fanout.clients.tcp`, as fast as the program takes them, and
ends with the journal. The service may be running or not. Each of its starts is an epoch: between
two of them come an `End` and a `Restarted`. A `Loss` gives the numbers of records that cannot be
read any more. With `follow=True` the client waits for more at the end.
"""

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from fanout.clients.client import BlockingClient, Client
from fanout.clients.journal_files import JournalError, folder_of, path_in
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Restarted,
    UnknownChannelError,
    UnknownSymbolError,
)
from fanout.protocol.constants import LENGTH_BYTES, EndReason
from fanout.protocol.errors import MissingPackageError, PeerError, reason
from fanout.protocol.events import decode_event, encode_event
from fanout.protocol.framing import frame
from fanout.protocol.journal_folder import ChannelFolder
from fanout.protocol.journal_play import Playback, Seen
from fanout.protocol.records import End
from fanout.protocol.request import Moment, Position, Request, Start, decode_request

__all__ = [
    "AddressError",
    "DisconnectedError",
    "JournalClient",
    "JournalError",
    "Moment",
    "Position",
    "Restarted",
    "UnknownChannelError",
    "UnknownSymbolError",
]

POLL_S: Final = 0.02
"""How often a client that follows looks for more."""

NO_END: Final = "the service ended without an END"


class JournalReader(Client):
    """The part of a journal's clients that reads. It never waits."""

    def __init__(
        self,
        url: str,
        *,
        start: str | Position | Moment = "oldest",
        follow: bool = False,
        symbols: Collection[str] = (),
        market_only: bool = False,
    ) -> None:
        """`url` is `journal://DIR/CHANNEL`, where DIR is what the service has as `journal --dir`,
        absolute or not. The channel can be left out if there is only one.

        `start` is `"oldest"`, a `Position`, a `Moment` or, to `follow`, `"live"`: the end. With
        `follow` the iteration does not end with the journal. `fanout.clients.client.Client`
        describes `symbols` and `market_only`.

        Raises `AddressError` for another URL. The iteration raises `JournalError` where there is no
        journal, or one that cannot be read.
        """
        path_in(url)
        begin = start if isinstance(start, Position | Moment) else Start(start)
        super().__init__(
            url, request=Request(start=begin), symbols=symbols, market_only=market_only
        )
        self._follow = follow
        self._folder: ChannelFolder | None = None
        self._seen = Seen()
        self._playback: Playback | None = None
        self._is_greeted = False
        """Whether the session has the header of the playback's epoch."""

    def _take(self) -> bool:
        """Read once. False if there is nothing now, and more may come."""
        self._begin()
        try:
            is_any = self._open() if self._playback is None else self._read(self._playback)
        except (OSError, PeerError, MissingPackageError) as error:
            is_any = True
            self._fail(error)
        self._settle()
        return is_any

    def _fail(self, error: Exception) -> None:
        """End with an error, once the records before it are handed over."""
        failure = self._subscription.failure
        if failure is None:
            if not isinstance(error, DisconnectedError):
                error, cause = JournalError(f"{self.url}: {reason(error)}"), error
                error.__cause__ = cause
            failure = error
        self._drop()
        self._subscription.finish(failure)

    def _open(self) -> bool:
        """Go to where the next connection would begin."""
        start = decode_request(self._subscription.request()[LENGTH_BYTES:]).start
        self._folder = self._folder or folder_of(self.url)
        playback = Playback(self._folder, self._seen)
        if not playback.begin(start):
            if not self._follow:
                raise JournalError(f"{self.url}: no segment that can be read is kept there")
            return False
        self._playback, self._is_greeted = playback, True
        self._receive(playback.greeting)
        return True

    def _read(self, playback: Playback) -> bool:
        if not self._is_greeted:
            self._is_greeted = True
            self._subscription.request()
            self._receive(playback.greeting)
            return True
        data = playback.read()
        if not data:
            ended, seq = playback.ended, playback.next_seq
            if playback.next_epoch():
                self._is_greeted = False  # only once the END is handed over, under its own header
                self._go_on(ended, seq)
                return True
            data = playback.read()
        if data:
            self._receive(data)
            return True
        if self._follow:
            return False
        if ended:
            self._receive(frame(encode_event(self._end(ended, seq))))
        self._drop()
        self._subscription.finish()
        return True

    def _go_on(self, ended: bytes, seq: int) -> None:
        """End an epoch that another one follows. That is like another connection."""
        end = replace(self._end(ended, seq), reason=EndReason.EPOCH_OVER, retry_ms=0)
        self._receive(frame(encode_event(end)))
        self._subscription.disconnected(DisconnectedError(end.why), is_own_fault=True)
        last = self._ready.pop()
        assert isinstance(last, Disconnected), "the END does not forbid to go on"

    def _end(self, ended: bytes, seq: int) -> End:
        """The END of an epoch in which number `seq` would have been next."""
        header = self._subscription.header
        if not ended or header is None:
            return End(reason=EndReason.OTHER, last_seq=seq - 1, retry_ms=0, why=NO_END)
        end = decode_event(ended, header)
        assert isinstance(end, End), "its kind says so"
        return replace(end, last_seq=seq - 1)

    def _receive(self, data: bytes) -> None:
        self._mark = None
        self._subscription.receive(data)

    def _drop(self) -> None:
        playback, self._playback = self._playback, None
        if playback is not None:
            playback.close()

    def _has_connection(self) -> bool:
        return self._playback is not None

    def _close_copy(self) -> None:
        self._drop()


class JournalClient(JournalReader, BlockingClient):
    """A reader of a journal. Iterate over it.

    See `JournalReader` for parameters and errors. `close` ends the iteration, also from another
    thread.
    """

    def _step(self) -> None:
        if not self._take():
            self._is_closed_within(POLL_S)
