"""Compressed segments, made of others in small pieces."""

from pathlib import Path

from fanout.protocol.journal_packed import Chunk, encode_table
from fanout.protocol.zstd import Zstd


def packed(data: bytes, chunk_bytes: int = 200) -> bytes:
    """The file of a compressed segment."""
    pieces = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
    frames = [Zstd().pack(each) for each in pieces]
    chunks = [Chunk(len(frame), len(piece)) for frame, piece in zip(frames, pieces, strict=True)]
    return b"".join(frames) + encode_table(chunks)


def pack_file(path: Path, chunk_bytes: int = 200) -> Path:
    """Compress a segment's file, as the service does. Returns the new one's path."""
    new = path.with_name(path.name + ".zst")
    new.write_bytes(packed(path.read_bytes(), chunk_bytes))
    path.unlink()
    return new
