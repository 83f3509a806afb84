"""A consolidator's ring, packed by code that shares nothing with the project. A test breaks it as
it likes."""

import json
import struct
import zlib
from pathlib import Path


class PackedRing:
    """The two files in memory. It is also what gives a reader their bytes."""

    def __init__(self, capacity: int = 8192, slots: int = 128) -> None:
        self.capacity, self.slots = capacity, slots
        self.meta_file = bytearray(40 + 24 * slots)
        self.data_file = bytearray(capacity)
        self.seq = self.tail = 0
        self.calls = 0
        self.head()

    def head(self, magic: bytes = b"RINGV1\0\0") -> None:
        words = self.capacity, self.tail, self.seq, self.slots
        struct.pack_into("<8s4Q", self.meta_file, 0, magic, *words)

    def append(self, payload: bytes, kind: int = 1, *, counts: bool = True) -> int:
        """Append a record; without `counts` as a writer that is killed before it stores the
        sequence. Gives its offset."""
        body = struct.pack("<IB7xQ", len(payload), kind, self.seq + 1) + payload
        record = body + struct.pack("<I", zlib.crc32(body))
        at = self.tail
        room = min(len(record), self.capacity - at)
        self.data_file[at : at + room] = record[:room]
        self.data_file[: len(record) - room] = record[room:]
        self.slot(self.seq + 1, at, len(record), kind)
        if counts:
            self.seq, self.tail = self.seq + 1, (at + len(record)) % self.capacity
            self.head()
        return at

    def slot(self, seq: int, offset: int, size: int, kind: int = 1, *, number: int = -1) -> None:
        number = seq if number < 0 else number
        struct.pack_into(
            "<QIQB3x", self.meta_file, 40 + number % self.slots * 24, offset, size, seq, kind
        )

    def trade(self, number: int, **fields: object) -> int:
        return self.append(payload_of(number, **fields))

    def damage(self, at: int) -> None:
        self.data_file[at % self.capacity] ^= 0xFF

    def meta(self, offset: int, size: int) -> bytes:
        self.calls += 1
        return bytes(self.meta_file[offset : offset + size])

    def data(self, offset: int, size: int) -> bytes:
        self.calls += 1
        return bytes(self.data_file[offset : offset + size])

    def write(self, folder: Path, name: str = "x_trade_chunk0") -> Path:
        folder.mkdir(exist_ok=True)
        for ending, data in ((".data", self.data_file), (".meta", self.meta_file)):
            with (folder / (name + ending)).open("r+b" if self._is_in(folder, name) else "wb") as f:
                f.write(data)
        return folder

    def _is_in(self, folder: Path, name: str) -> bool:
        return (folder / f"{name}.meta").exists()


def payload_of(number: int, **fields: object) -> bytes:
    """A trade as the layout's users write it."""
    trade = {
        "exchange": "DERIBIT",
        "asset": "BTC-PERPETUAL",
        "kind": "Perpetual",
        "px": 102049.5,
        "sz": 1280.0,
        "side": "Sell",
        "exchange_trade_id": number,
        "exchange_ts_ms": 1762632731000,
        "event_u": None,
        "writer_seq": number,
        **{
            f"{each}_ts_ms": 1762632731001
            for each in ("writer", "recv", "parse", "enqueue", "persist")
        },
        **fields,
    }
    return json.dumps(trade, separators=(",", ":")).encode()
