"""A process without AMX: the kernel refuses its tiles, so that every library of every child falls back alike.

Linux gives tile registers to a process only on request (Documentation/arch/x86/xstate.rst); without them an AMX
instruction ends the process. A filter that refuses the request holds for whatever the process starts, whichever
library asks: a subject that still runs has run without AMX.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

ARCH_PRCTL = 158  # system calls of x86-64
SECCOMP = 317
REQUEST, TILE_DATA = 0x1023, 18  # ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA
NO_NEW_PRIVILEGES, FILTER_MODE = 38, 1
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of the classic packet filter, over struct seccomp_data
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in it


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("value", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def has_amx() -> bool:
    """Whether this process, or one that it starts, may use AMX."""
    if platform.machine() != "x86_64" or "amx_tile" not in Path("/proc/cpuinfo").read_text():
        return False
    return bool(ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST, TILE_DATA) == 0)


def refuse_amx() -> None:
    """Refuse AMX to this process and to its children, until they end; OSError where the kernel has no filters."""
    instructions = (_Instruction * 6)(
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 3, ARCH_PRCTL),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 0, 1, REQUEST),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
    program = _Program(len(instructions), instructions)
    library = ctypes.CDLL(None, use_errno=True)
    refused = library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.syscall(
        SECCOMP, FILTER_MODE, 0, ctypes.byref(program)
    )
    if refused:
        raise OSError(ctypes.get_errno(), "expected a kernel that lets a process filter its system calls")
