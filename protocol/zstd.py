"""zstd of the standard library, which has it from Python 3.14 on, or of the package `zstandard`.

Both give the same bytes. `pack` makes one frame that holds its size and a checksum; `unpack` takes
such a frame, whole and alone.
"""

from importlib import import_module
from types import ModuleType
from typing import Final

from fanout.protocol.errors import MalformedError, MissingPackageError

LEVEL: Final = 3
"""Higher levels take several times as long, and save a few per cent of a journal."""


class Zstd:
    """Packs and unpacks. Raises `MissingPackageError` where there is neither of the two."""

    def __init__(self) -> None:
        self._module, self._is_standard = _found()

    def pack(self, data: bytes) -> bytes:
        """The frame of some bytes. Other threads go on meanwhile."""
        module = self._module
        if self._is_standard:
            of = module.CompressionParameter
            packed = module.compress(
                data, options={of.checksum_flag: 1, of.compression_level: LEVEL}
            )
        else:
            packed = module.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)
        return bytes(packed)

    def unpack(self, packed: bytes, size: int) -> bytes:
        """The bytes of a frame, of which there must be `size`: no more is ever allocated. Raises
        `MalformedError`."""
        module = self._module
        try:
            if self._is_standard:
                said = module.get_frame_info(packed).decompressed_size
            else:
                said = module.frame_content_size(packed)
            if said != size:
                raise MalformedError(f"a zstd frame of {said} bytes, where {size} are due")
            if not self._is_standard:
                decompressor = module.ZstdDecompressor()
                return bytes(decompressor.decompress(packed, allow_extra_data=False))
            decompressor = module.ZstdDecompressor()
            data = decompressor.decompress(packed, size + 1)  # room to read on to the checksum
            if not decompressor.eof or decompressor.unused_data:
                raise MalformedError("a zstd frame is cut short, or more than one")
            return bytes(data)
        except module.ZstdError as error:
            raise MalformedError(f"a zstd frame is damaged: {error}") from error

    def unpack_start(self, packed: bytes, size: int) -> bytes:
        """The first bytes of a frame, up to `size` of them, without a look at its checksum. Raises
        `MalformedError`."""
        module = self._module
        try:
            decompressor = module.ZstdDecompressor()
            if self._is_standard:
                return bytes(decompressor.decompress(packed, size))
            return bytes(decompressor.stream_reader(packed).read(size))
        except module.ZstdError as error:
            raise MalformedError(f"a zstd frame is damaged: {error}") from error


def _found() -> tuple[ModuleType, bool]:
    """The module, and whether it is the one of the standard library."""
    try:
        return import_module("compression.zstd"), True
    except ImportError:
        pass
    try:
        return import_module("zstandard"), False
    except ImportError as error:
        raise MissingPackageError(
            "compressed segments need zstandard: pip install zstandard"
        ) from error
