"""Readers that share a name: where each channel's reading stands, and who reads it.

Both are keys `DURABLE.CHANNEL` in two key-value stores of NATS:

    PREFIX-places     epoch and next number: what was handed over
    PREFIX-leases     who reads the channel; a lease that is not renewed goes by itself

Why not a durable consumer of JetStream: it knows the stream's sequence numbers only. If retention
removes the message behind which it stands, nothing says any more how many records were lost. A
place in fanout's numbering says it exactly.

A place changes only if it is as this reader left it. So a reader that was thought dead cannot move
the place of the one that took over.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fanout.clients.nats_connection import NatsConnection, NatsSettings, channels_at, translated
from fanout.clients.outcomes import DisconnectedError, UnknownChannelError
from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.errors import reason
from fanout.protocol.jetstream import stream_of, token
from fanout.protocol.request import Position

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

LEASE_S: Final = 15.0
"""How long a lease holds that is not renewed."""

SAVE_S: Final = 1.0
"""How often a place is stored. A reader that crashes reads at most so much again."""

_OTHER: Final = "another reader of this durable name has taken over the channel"


class Durable:
    """One reader's lease of a channel."""

    def __init__(self, connection: NatsConnection, settings: NatsSettings, name: str) -> None:
        self._connection = connection
        self._settings = settings
        self._name = name
        self._leases: KeyValue
        self._places: KeyValue
        self._key = ""
        self._owner = b""
        self._lease = self._revision = 0
        """The revisions of both keys, as this reader has left them; 0 for none."""
        self._saved: Position | None = None
        self._saved_s = 0.0
        self._renewing: asyncio.Task[None] | None = None

    async def take(self, channel: str, owner: str) -> tuple[str, Position | None]:
        """Wait until no other reader has the channel, or, without one, any channel. Gives the
        channel, and where its reading stands."""
        self._owner = owner.encode()
        with translated():
            stream = channel or (await self._all())[0]
            self._leases = await self._store("leases", LEASE_S, stream)
            self._places = await self._store("places", None, stream)
        # No event: a lease that goes by itself tells nobody.
        while not (found := await self._free(channel)):  # noqa: ASYNC110
            await asyncio.sleep(LEASE_S / 10)
        self._renewing = asyncio.create_task(self._renew())
        with translated():
            return found, await self._load()

    async def _store(self, name: str, ttl_s: float | None, channel: str) -> "KeyValue":
        """The key-value store, which is made if it is missing: as safe as the channel's stream."""
        from nats.js.api import KeyValueConfig
        from nats.js.errors import NotFoundError

        jetstream, bucket = self._connection.jetstream, f"{self._settings.prefix}-{name}"
        try:
            return await jetstream.key_value(bucket)
        except NotFoundError:
            replicas = await self._replicas(channel)
            return await jetstream.create_key_value(
                KeyValueConfig(bucket=bucket, ttl=ttl_s, replicas=replicas)
            )

    async def _replicas(self, channel: str) -> int:
        """How many servers keep the channel's stream."""
        from nats.js.errors import NotFoundError

        name = stream_of(self._settings.prefix, channel)
        try:
            info = await self._connection.jetstream.stream_info(name)
        except NotFoundError as error:
            raise UnknownChannelError(
                f"{self._settings.address.shown}: there is no stream {name} for channel {channel}"
            ) from error
        return info.config.num_replicas or 1

    async def _free(self, channel: str) -> str:
        """A channel that was just leased; empty if there is none."""
        with translated():
            for each in [channel] if channel else await self._all():
                self._key = f"{self._name}.{token(each).replace('%', '=')}"
                if await self._lease_it():
                    return each
            return ""

    async def _all(self) -> list[str]:
        return await channels_at(self._connection, self._settings)

    async def _lease_it(self) -> bool:
        from nats.js.errors import KeyWrongLastSequenceError, NotFoundError

        with suppress(KeyWrongLastSequenceError):
            self._lease = await self._leases.create(self._key, self._owner)
            return True
        with suppress(KeyWrongLastSequenceError, NotFoundError):
            entry = await self._leases.get(self._key)
            if entry.value == self._owner:
                # Of the connection before, which cannot release it any more then.
                self._lease = await self._leases.update(self._key, self._owner, last=entry.revision)
                return True
        return False

    async def _load(self) -> Position | None:
        from nats.js.errors import NotFoundError

        try:
            entry = await self._places.get(self._key)
        except NotFoundError:
            return None
        value = entry.value or b""
        # Stored again, so that a reader before this one cannot change it any more.
        self._revision = await self._places.update(self._key, value, last=entry.revision)
        self._saved = _position_in(value)
        return self._saved

    async def _renew(self) -> None:
        from nats.js.errors import KeyWrongLastSequenceError

        with suppress(asyncio.CancelledError):
            try:
                while True:
                    await asyncio.sleep(LEASE_S / 3)
                    with translated():
                        self._lease = await self._leases.update(
                            self._key, self._owner, last=self._lease
                        )
            except OSError as error:  # and `DisconnectedError`, which is one
                is_taken = isinstance(error.__cause__, KeyWrongLastSequenceError)
                why = f"the lease of the channel was not renewed: {reason(error)}"
                self._connection.fail(_OTHER if is_taken else why)

    async def save(self, place: Position | None, *, at_once: bool = False) -> None:
        """Store what was handed over, from time to time. Raises `DisconnectedError` if another
        reader has taken over."""
        from nats.js.errors import KeyWrongLastSequenceError

        now_s = time.monotonic()
        is_due = at_once or now_s >= self._saved_s + SAVE_S
        if place is None or place == self._saved or not is_due:
            return
        value = f"{place.epoch_ns} {place.seq}".encode()
        with translated():
            try:
                self._revision = await self._places.update(self._key, value, last=self._revision)
            except KeyWrongLastSequenceError as error:
                raise DisconnectedError(_OTHER) from error
        self._saved, self._saved_s = place, now_s

    async def release(self) -> None:
        """Let another reader have the channel."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait([renewing])
        lease, self._lease = self._lease, 0
        if lease:
            with suppress(OSError, DisconnectedError), translated():
                await self._leases.delete(self._key, last=lease)


def new_owner() -> str:
    """A name for one client."""
    return secrets.token_hex(8)


def _position_in(value: bytes) -> Position | None:
    """None for what is no place."""
    epoch, _, seq = value.decode(errors="replace").partition(" ")
    if not (epoch.isdecimal() and seq.isdecimal()):
        return None
    position = Position(epoch_ns=int(epoch), seq=int(seq))
    return position if position.epoch_ns <= U64_MAX and 1 <= position.seq <= MAX_SEQ else None
