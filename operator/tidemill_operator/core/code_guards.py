"""What of a template would load code that is not the image's: variables and mounts that exist for just that.

An image is what a platform team can judge: it is pulled by name, scanned, signed, admitted. A library taken from a
data volume is none of that, and an engine that takes no remote code by its arguments must not take it by these. Who
needs other code builds an image of their own. It is no sandbox: `spec.image` is free, and policies of admission judge
that (`reserved.CODE_VARIABLES` says more). Refuses to know a field but these two.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from tidemill_api.v1alpha1.reserved import CODE_PREFIXES, CODE_VARIABLES, HARMLESS

SYSTEM_FOLDERS = tuple(
    PurePosixPath(folder)
    for folder in (
        "/bin",
        "/boot",
        "/dev",  # /dev/shm is KubeRay's
        "/lib",
        "/lib64",
        "/opt/tidemill",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/tmp/ray",  # noqa: S108 - a place that is refused: KubeRay's volume of logs
        "/usr",
        "/var/run",  # where the service account's token is
    )
)
SETTINGS_FOLDER = PurePosixPath("/etc")
OWN_SETTINGS = tuple(PurePosixPath(folder) for folder in ("/etc/ssl", "/etc/pki", "/etc/tidemill"))
"""What of /etc may be mounted: certificates. The rest says which libraries are loaded and who is root."""


def loads_code(variable: str) -> bool:
    """Whether a variable of this name says which code is run, or whom it trusts."""
    return variable in CODE_VARIABLES or (variable.startswith(CODE_PREFIXES) and variable not in HARMLESS)


def hides_the_system(mount_path: str) -> bool:
    """Whether a volume that is mounted there stands in the place of the image's own programs or settings."""
    path = PurePosixPath("/" + mount_path.lstrip("/"))  # "//usr" is /usr to the kernel, but not to pathlib
    return any(_covers(path, folder) for folder in SYSTEM_FOLDERS) or _is_setting(path)


def _covers(path: PurePosixPath, folder: PurePosixPath) -> bool:
    """Whether a mount at this path lies in the folder, or hides it."""
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def _is_setting(path: PurePosixPath) -> bool:
    return path.is_relative_to(SETTINGS_FOLDER) and not any(path.is_relative_to(own) for own in OWN_SETTINGS)
