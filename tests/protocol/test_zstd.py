import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import zstandard

from fanout.protocol.errors import MalformedError, MissingPackageError
from fanout.protocol.zstd import Zstd

DATA = b"trades and more trades, " * 40


class StandardLibrary(ModuleType):
    """`compression.zstd`, as far as it is used, for a Python that has none."""

    CompressionParameter = SimpleNamespace(checksum_flag=201, compression_level=100)
    ZstdError = zstandard.ZstdError

    @staticmethod
    def compress(data: bytes, options: dict[int, int]) -> bytes:
        level, checksum = options[100], options[201]
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=bool(checksum))
        return compressor.compress(data)

    @staticmethod
    def get_frame_info(data: bytes) -> Any:
        return SimpleNamespace(decompressed_size=zstandard.frame_content_size(data))

    class ZstdDecompressor:
        def __init__(self) -> None:
            self._inner: Any = zstandard.ZstdDecompressor().decompressobj()

        def decompress(self, data: bytes, max_length: int) -> bytes:
            return bytes(self._inner.decompress(data))[:max_length]

        @property
        def eof(self) -> bool:
            return bool(self._inner.eof)

        @property
        def unused_data(self) -> bytes:
            return bytes(self._inner.unused_data)


@pytest.fixture(params=["package", "standard library"])
def zstd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Zstd:
    is_standard = request.param == "standard library"
    found = StandardLibrary("compression.zstd") if is_standard else None
    monkeypatch.setitem(sys.modules, "compression", found and ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", found)
    return Zstd()


def test_both_make_the_same_of_the_same(zstd: Zstd) -> None:
    packed = zstd.pack(DATA)
    assert packed == zstandard.ZstdCompressor(level=3, write_checksum=True).compress(DATA)
    assert zstd.unpack(packed, len(DATA)) == DATA
    assert zstd.unpack(zstd.pack(b"1"), 1) == b"1"


def test_what_is_no_such_frame_is_refused(zstd: Zstd) -> None:
    packed = zstd.pack(DATA)
    bad = [packed + b"1", packed + packed, b"", b"1234", packed[:-4], packed[:-1] + b"x"]
    bad += [packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :] for at in range(7)]
    for each in bad:
        with pytest.raises(MalformedError, match="a zstd frame"):
            zstd.unpack(each, len(DATA))
    for size in (0, len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(MalformedError, match=f"of 960 bytes, where {size} are due"):
            zstd.unpack(packed, size)


def test_the_first_bytes_of_a_frame_can_be_had_alone(zstd: Zstd) -> None:
    packed = zstd.pack(DATA)
    assert zstd.unpack_start(packed, 10) == DATA[:10]
    assert zstd.unpack_start(packed[:-4], len(DATA)) == DATA
    with pytest.raises(MalformedError, match="a zstd frame is damaged"):
        zstd.unpack_start(b"no frame at all", 10)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingPackageError) as caught:
        Zstd()
    assert str(caught.value) == "compressed segments need zstandard: pip install zstandard"
