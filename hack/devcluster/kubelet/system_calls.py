"""The Linux system calls that Python 3.11 has no function for: namespaces, mounts, capabilities.

Thin wrappers over the C library, standard library only, since `launch` runs without site-packages. Each
raises OSError with the call's arguments in its message. No policy lives here.
"""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_CAPBSET_DROP = 24

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1
_SYS_MOUNT_SETATTR = 442  # the same on every architecture that came to Linux with a shared table

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Do what the manual's section 2 says of mount."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {source} on {target} ({kind or 'flags'} {flags:#x})")


def bind(source: str, target: str) -> None:
    """Show the tree at `source`, with what is mounted in it, at `target` too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def make_read_only(target: str, *, alone: bool = False) -> None:
    """Make the mount at `target`, and unless `alone` every mount below it, read-only (Linux 5.12 or newer)."""
    attributes = _MountAttributes(set=_MOUNT_ATTR_RDONLY)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(target.encode()),
        ctypes.c_uint(0 if alone else _AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"mount_setattr read-only {target}")


def unmount(target: str) -> None:
    """Detach a mount now; it ends when its last user goes."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and move the old root to `old`."""
    _check(_libc.pivot_root(new.encode(), old.encode()), f"pivot_root {new}")


def unshare(flags: int) -> None:
    """Leave for new namespaces; with CLONE_NEWPID the next child is the one that does."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def enter_namespace(path: str, kind: int) -> None:
    """Join the namespace that the file at `path` stands for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, ctypes.c_int(kind)), f"setns {path}")
    finally:
        os.close(descriptor)


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send this process `number` when its parent ends, however that ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def set_no_new_privileges() -> None:
    """Keep this process and all it executes from ever gaining rights by a set-user-ID file."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS")


def drop_capabilities(keep: frozenset[int]) -> None:
    """Take every capability but `keep` out of the bounding set, so that the next exec loses them."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if capability not in keep:
            result = _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
            _check(result, f"prctl PR_CAPBSET_DROP {capability}")
