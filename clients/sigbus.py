"""A mapped file that is cut short must not kill the process.

Touching a page of a mapping that lies behind the end of its file raises SIGBUS, which ends the
process before any Python runs. No check before the touch helps: the file can be cut between the
two, and a reader that polls is nearly always in between. Nor can tmpfs files be sealed, and to
read by system calls instead would cost what shared memory is taken for.

So while a mapping is guarded, a handler for SIGBUS is installed. It maps private zeros over the
mapping that was touched, and the instruction runs again: the reader finds zeros instead of a queue,
and reports that. Any other SIGBUS goes to the handler that was installed before.

Why it is safe that the handler is Python: the signal is raised by the instruction that touches
the mapping, and only where the interpreter copies to or from a memoryview of it. There it holds
the GIL and changes no state of its own.
"""

import ctypes
import mmap
import signal
import weakref
from functools import partial
from typing import Final

_SIGINFO_FLAG: Final = 4
_CODE_AT: Final = 8
_ADDRESS_AT: Final = 16
"""Offsets in `siginfo_t` on 64-bit Linux: of the code, above 0 for a fault, and of the address that
was touched."""
_FIXED_ANONYMOUS: Final = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
"""MAP_FIXED is missing in `mmap`."""

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Action(ctypes.Structure):
    """`struct sigaction` of Linux on x86-64."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)

_guarded: dict[int, tuple[int, weakref.ref[mmap.mmap]]] = {}
"""Address and size of each guarded mapping, and what takes it out of here when the mapping goes: an
interrupt may come before anybody is there to `unguard` it. Global, since signal handlers are."""
_previous = _Action()


class _Fields(ctypes.Structure):
    """How an object of `mmap` begins, behind what every object begins with."""

    _fields_ = (("address", ctypes.c_size_t), ("size", ctypes.c_ssize_t))


def guard(mapped: mmap.mmap) -> int:
    """Guard a mapping from now on. Returns the address to pass to `unguard`."""
    # `ctypes` tells the address of writable buffers only. A mapping object begins with it.
    fields = _Fields.from_address(id(mapped) + object.__basicsize__)
    address: int = fields.address
    assert fields.size == len(mapped), "mmap objects begin so from Python 3.8 on"
    _guarded[address] = len(mapped), weakref.ref(mapped, partial(_guarded.pop, address))
    _install()
    return address


def unguard(address: int) -> None:
    """No longer guard a mapping, which is about to be closed. The handler stays."""
    _guarded.pop(address, None)


def _install() -> None:
    """Install our handler if another one is set: it may have been replaced since."""
    current = _Action()
    _libc.sigaction(signal.SIGBUS, None, ctypes.byref(current))
    if current.handler != _OURS.handler:
        _libc.sigaction(signal.SIGBUS, ctypes.byref(_OURS), ctypes.byref(_previous))


def _on_sigbus(_number: int, info: int, _context: int) -> None:
    if ctypes.c_int.from_address(info + _CODE_AT).value <= 0:
        # A process sent it: the handler before ours gets it.
        _libc.sigaction(signal.SIGBUS, ctypes.byref(_previous), None)
        signal.raise_signal(signal.SIGBUS)
        return
    touched = ctypes.c_void_p.from_address(info + _ADDRESS_AT).value or 0
    for address, (size, _) in _guarded.items():
        if address <= touched < address + size:
            access = mmap.PROT_READ | mmap.PROT_WRITE
            _libc.mmap(address, size, access, _FIXED_ANONYMOUS, -1, 0)
            return
    # Not ours. The instruction runs again, and the handler before ours gets the signal.
    _libc.sigaction(  # pragma: no cover  the process ends here, and what was counted with it
        signal.SIGBUS, ctypes.byref(_previous), None
    )


_handler = _Handler(_on_sigbus)
_OURS: Final = _Action(handler=ctypes.cast(_handler, ctypes.c_void_p).value, flags=_SIGINFO_FLAG)
