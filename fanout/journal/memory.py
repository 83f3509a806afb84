"""What a channel's journal remembers for the next start: saved now and then, and made again from
what was saved and the frames behind it.

    DIR/CHANNEL/EPOCH/FIRSTSEQ.fs     a `Memory` as JSON, a line feed, and the CRC-32 in hex

Only what is synced may be saved: else a restart would go on behind trades that never reached the
disk. The first file of an epoch has what the epoch inherited.

A start that finds no file of use reads the last segments, and does not know what is older.
"""

import logging
from collections.abc import Iterable
from contextlib import closing, suppress
from os.path import join
from typing import Final
from zlib import crc32

import msgspec

from fanout.channel.memory import RECENT_NS, Memory, Recollection
from fanout.journal.disk import Disk
from fanout.journal.files import STATE, write_whole
from fanout.protocol.constants import START
from fanout.protocol.errors import PeerError, reason
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.journal import number_in, numbered, segments_in
from fanout.protocol.journal_folder import ChannelFolder, contents
from fanout.protocol.journal_play import Playback
from fanout.protocol.request import Moment, Position
from fanout.protocol.session import SubscriberSession

_LOG = logging.getLogger("fanout")

SAVE_EVERY_BYTES: Final = 16 * 1024 * 1024
"""How much of a segment the next start may have to read, beside the last seconds."""

LEAST_BYTES: Final = 16 * 1024
"""What a segment counts as, where nothing was saved. Opening one takes as long as reading that."""

_DECODER: Final = msgspec.json.Decoder(Memory)


def save(disk: Disk, folder: str, memory: Memory, *, syncs: bool = True) -> bool:
    """Save what is remembered in the folder of an epoch, beside the segment that goes on behind it.
    It takes the place of what the epoch had. False without such a segment. Raises `OSError`."""
    names = disk.names(folder)
    first_seq = max((each for each in segments_in(names) if each <= memory.next_seq), default=None)
    if first_seq is None:
        return False
    name = numbered(first_seq, STATE)
    write_whole(disk, join(folder, name), encode(memory), syncs=syncs)
    for each in names:
        if each != name and number_in(each, STATE) is not None:
            disk.remove(join(folder, each))
    return True


def remember_all(disk: Disk, directory: str, channels: Iterable[str]) -> dict[str, Memory]:
    """What is remembered of each of these channels. What cannot be read is logged, and the channel
    begins as one that is new."""
    memories = dict[str, Memory]()
    for channel in channels:
        try:
            memory = remember(disk, ChannelFolder(disk, join(directory, channel)))
        except OSError as error:
            _LOG.error("journal: %s begins without its past: %s", channel, reason(error))
            continue
        if memory is not None:
            memories[channel] = memory
    return memories


def remember(disk: Disk, folder: ChannelFolder) -> Memory | None:
    """What is remembered of a channel; None if nothing is. May take a second or two. Raises
    `OSError`."""
    saved = _newest_saved(disk, folder)
    playback = Playback(folder, skips_damaged=True)
    try:
        if not _begin(playback, folder, saved):
            return saved
        recollection = Recollection(saved)
        _take_epoch(playback, recollection)
        while playback.next_epoch():
            _take_epoch(playback, recollection)
        return recollection.memory(
            epoch_ns=playback.epoch_ns,
            next_seq=playback.next_seq,
            symbols=[each.symbol for each in playback.header.instruments],
        )
    finally:
        playback.close()


def encode(memory: Memory) -> bytes:
    """The contents of a file. Single trades are left out: they are in the frames."""
    body = msgspec.json.encode(memory.without_recent()) + b"\n"
    return body + b"%08x\n" % crc32(body)


def decode(data: bytes) -> Memory | None:
    """What a file holds; None if it is not whole, or of another version."""
    body, crc = data[:-9], data[-9:]
    if crc != b"%08x\n" % crc32(body):
        return None
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _newest_saved(disk: Disk, folder: ChannelFolder) -> Memory | None:
    """The newest file that is of use."""
    for epoch_ns in reversed(folder.epochs()):
        for first_seq in reversed(folder.segments(epoch_ns)):
            path = folder.file_path(epoch_ns, first_seq, STATE)
            data = contents(disk, path)
            memory = decode(data)
            if memory is not None and memory.epoch_ns == epoch_ns:
                return memory
            if data:
                _LOG.warning("journal: %s is not whole, and is not used", path)
    return None


def _begin(playback: Playback, folder: ChannelFolder, saved: Memory | None) -> bool:
    """Go to the first frame that matters: those of the last seconds before what was saved tell
    single trades, and which ids were skipped at that moment."""
    if saved is None:
        return any(map(playback.begin, _last_places(folder)))
    behind = Position(epoch_ns=saved.epoch_ns, seq=saved.next_seq)
    if playback.begin(Moment(time_ns=max(0, saved.time_ns - RECENT_NS))):
        place = playback.epoch_ns, playback.next_seq
        if place <= (saved.epoch_ns, saved.next_seq):
            return True
    return playback.begin(behind)  # the clock was set


def _last_places(folder: ChannelFolder) -> list[Position]:
    """Where the last segments begin, in order: two, or more if they are short. A service that was
    killed again and again as soon as it was up has left many, each with next to nothing."""
    places: list[Position] = []
    size_bytes = 0
    for epoch_ns in reversed(folder.epochs()):
        for first_seq in reversed(folder.segments(epoch_ns)):
            if len(places) >= 2 and size_bytes > SAVE_EVERY_BYTES:
                return places[::-1]
            places.append(Position(epoch_ns=epoch_ns, seq=first_seq))
            with suppress(OSError), closing(folder.open(epoch_ns, first_seq)) as segment:
                size_bytes += max(segment.size(), LEAST_BYTES)
    return places[::-1]


def _take_epoch(playback: Playback, recollection: Recollection) -> None:
    """Take what follows in an epoch."""
    session = _session(playback.greeting)
    while data := playback.read():
        session.receive(data)
        try:
            while (records := session.next_records()) is not None:
                recollection.take(records)
        except PeerError as error:
            _LOG.warning("journal: records cannot be read: %s", reason(error))
            header = msgspec.structs.replace(playback.header, next_seq=playback.next_seq)
            session = _session(frame(START) + opening(header))
    recollection.end(is_orderly=bool(playback.ended))


def _session(greeting: bytes) -> SubscriberSession:
    session = SubscriberSession()
    session.receive(greeting)
    return session
