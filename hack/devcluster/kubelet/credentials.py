"""As whom a container's command runs: user, groups, capabilities. Taken on just before it is executed.

Standard library only, as `launch`, which uses it; `security` decides what to take on.
"""

import os
import signal
from dataclasses import dataclass

from devcluster.kubelet import system_calls as calls

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By number, as in capabilities(7)."""

USUAL = tuple(
    CAPABILITIES.index(name)
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE",
        "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP",
    )
)  # fmt: skip
"""What container runtimes leave to root by default: no mounting, no network set-up."""


@dataclass(frozen=True)
class Credentials:
    """`capabilities` bound what root has; any other user has none of them. Ids and capabilities are numbers."""

    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    capabilities: tuple[int, ...] = USUAL
    no_new_privileges: bool = False


def take_on(credentials: Credentials) -> None:
    """Become that user for good, in the process that is about to execute the command. Raises OSError."""
    calls.drop_capabilities(frozenset(credentials.capabilities))
    os.setgroups(credentials.groups)
    os.setresgid(credentials.group, credentials.group, credentials.group)
    os.setresuid(credentials.user, credentials.user, credentials.user)
    calls.set_parent_death_signal(signal.SIGKILL)  # a change of user has cleared it
    if credentials.no_new_privileges:
        calls.set_no_new_privileges()
