"""Makes the index of a segment anew, from the segment."""

from contextlib import closing

import msgspec

from fanout.journal.browsing import Address
from fanout.journal.disk import Disk
from fanout.journal.files import write_whole
from fanout.journal.findings import FindingKind
from fanout.journal.places import Places
from fanout.journal.survey import ReadAt, survey
from fanout.journal.verifying import check_segment
from fanout.protocol.errors import PeerError, reason
from fanout.protocol.journal import (
    FILE_HEADER_BYTES,
    INDEX,
    INDEX_MAGIC,
    decode_file_header,
    encode_file_header,
    encode_places,
)


class Reindexed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an index."""

    file: str
    is_changed: bool = False
    places: int = 0
    """How many it has now, if it was changed."""
    fault: str | None = None
    """Why it could not be made; None if it is right now."""


def reindex(disk: Disk, address: Address) -> Reindexed:
    """Make the index of a segment anew, unless it is right. A right one need not be the same: a
    writer chooses some places by when it writes. The segment must not grow."""
    folder = address.folder(disk)
    path = folder.file_path(address.epoch_ns, address.first_seq, INDEX)
    try:
        with closing(folder.open(address.epoch_ns, address.first_seq)) as segment:
            header = decode_file_header(segment.read(0, FILE_HEADER_BYTES))
            if (header.epoch_ns, header.first_seq) != (address.epoch_ns, address.first_seq):
                return Reindexed(file=path, fault="the segment is another than its name says")
            size, index = segment.size(), segment.index()
            if _is_right(segment.read, size, index, address):
                return Reindexed(file=path)
            places = survey(segment.read, size, Places(header.first_seq)).places
        write_whole(disk, path, encode_file_header(header, INDEX_MAGIC) + encode_places(places))
    except PeerError as error:
        return Reindexed(file=path, fault=str(error))
    except OSError as error:
        return Reindexed(file=path, fault=reason(error))
    return Reindexed(file=path, places=len(places), is_changed=True)


def _is_right(read: ReadAt, size: int, index: bytes, address: Address) -> bool:
    checked = check_segment(
        read,
        size,
        index,
        channel=address.channel,
        epoch_ns=address.epoch_ns,
        first_seq=address.first_seq,
    )
    return not {FindingKind.INDEX, FindingKind.SHORT} & {each.kind for each in checked.findings}
