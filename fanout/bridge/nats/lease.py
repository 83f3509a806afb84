"""A lease on a channel: one bridge at a time, where the servers do not see to that themselves.

In a cluster, servers before 2.12 check the sequence number that a message names before they agree
on it with the others, and so two bridges could both be believed around a change of leader
(nats-server #4320, #7119). There a bridge first takes a key in a key-value bucket, whose entries
vanish unless they are renewed.
"""

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from fanout.bridge.nats.connection import REQUEST_S, in_words
from fanout.bridge.nats.options import NatsOptions
from fanout.bridge.nats.publisher import WRONG_LAST, FencedError
from fanout.protocol.jetstream import token

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.js.kv import KeyValue

TTL_S: Final = 10.0
"""How long a lease lasts that is not renewed."""

RENEW_S: Final = 3.0

FIRST_SAFE: Final = (2, 12)
"""The first version of the server whose clusters need no lease."""


def is_needed(nats: "Nats", replicas: int) -> bool:
    """Whether a stream with so many replicas needs one."""
    version = nats.connected_server_version
    return replicas > 1 and (version.major, version.minor) < FIRST_SAFE


class Lease:
    """The lease of one bridge on one channel, over one connection."""

    def __init__(
        self, nats: "Nats", options: NatsOptions, channel: str, owner: str, *, replicas: int
    ) -> None:
        """`owner` is this bridge's, over all its connections, and nobody else's. The bucket is made
        with as many `replicas` as the stream has."""
        self._js = nats.jetstream(timeout=REQUEST_S)
        self._options = options
        self._bucket = f"{options.prefix}-bridges"
        self._key = token(channel).replace("%", "=")
        self._owner = owner.encode()
        self._kv: KeyValue | None = None
        self._revision = 0
        self._replicas = replicas

    async def take(self) -> bool:
        """Take it. False if another bridge has it. Raises `EngineError` and `ConfigError`."""
        with in_words(self._options):
            kv = self._kv = self._kv or await self._opened()
            if await self._changed(kv.create(self._key, self._owner)):
                return True
            return await self._take_again(kv)

    async def _take_again(self, kv: "KeyValue") -> bool:
        """Take it if it is ours already, over a connection that was lost."""
        from nats.js.errors import KeyNotFoundError

        try:
            entry = await kv.get(self._key)
        except KeyNotFoundError:
            return False  # it has just ended
        if entry.value != self._owner:
            return False
        return await self._changed(kv.update(self._key, self._owner, last=entry.revision))

    async def _opened(self) -> "KeyValue":
        from nats.js.api import KeyValueConfig
        from nats.js.errors import BucketNotFoundError

        try:
            return await self._js.key_value(self._bucket)
        except BucketNotFoundError:
            return await self._js.create_key_value(
                KeyValueConfig(
                    bucket=self._bucket,
                    description="which bridge publishes each channel",
                    ttl=TTL_S,
                    replicas=self._replicas,
                )
            )

    async def keep(self) -> None:
        """Renew it, until somebody else has it. Raises `FencedError` then, and `EngineError`."""
        assert self._kv is not None, "it was taken"
        while True:
            await asyncio.sleep(RENEW_S)
            with in_words(self._options):
                update = self._kv.update(self._key, self._owner, last=self._revision)
                if not await self._changed(update):
                    raise FencedError("another bridge has the lease")

    async def _changed(self, change: Awaitable[int]) -> bool:
        """Change the key. False if it is not as this bridge left it."""
        from nats.js.errors import APIError, KeyWrongLastSequenceError

        try:
            self._revision = await change
        except KeyWrongLastSequenceError:
            return False
        except APIError as error:
            if error.err_code != WRONG_LAST:
                raise
            return False
        return True

    async def give_back(self) -> None:
        """Let another bridge have it at once. Raises `EngineError`."""
        with in_words(self._options):
            if self._kv is not None:
                await self._changed(self._kv.delete(self._key, last=self._revision))
