"""What of a template would load code that is not the image's: variables and mounts that exist for just that.

An image is what a platform team can judge: it is pulled by name, scanned, signed, admitted. A library taken from a
data volume is none of that, and an engine that takes no remote code by its arguments must not take it by these. Who
needs other code builds an image of their own. Refuses to know a field but these two.
"""

from __future__ import annotations

from pathlib import PurePosixPath

CODE_PREFIXES = ("PYTHON", "LD_", "RAY_RUNTIME_ENV_", "RAY_AUTH_", "KUBERNETES_")
"""Beginnings of variables that name code, its folders, or whom a pod trusts."""

HARMLESS = frozenset(
    {"PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONTRACEMALLOC"}
)

CODE_VARIABLES = frozenset(
    {
        "BASH_ENV",  # KubeRay starts Ray in a bash
        "ENV",
        "IFS",
        "PATH",
        "RAY_CLUSTER_ACTIVITY_HOOK",
        "RAY_JEMALLOC_LIB_PATH",
        "RAY_JOB_SUBMIT_HOOK",
        "RAY_START_HOOK",
        "RAY_USER_SETUP_FUNCTION",
        "VLLM_ALLOW_INSECURE_SERIALIZATION",  # pickles that come over the wire
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        "VLLM_CUDART_SO_PATH",
        "VLLM_LOGGING_CONFIG_PATH",  # names classes to be made
        "VLLM_MODEL_REDIRECT_PATH",  # another model than the spec says
        "VLLM_NCCL_SO_PATH",
        "VLLM_PLUGINS",
        "VLLM_RUST_FRONTEND_PATH",
        "VLLM_SERVER_DEV_MODE",
    }
)
"""From the environment variables that Ray 2.60 and vLLM 0.32 read (`ray/**/*.py`, `vllm/envs.py`)."""

TEST_CODE = "PYTHONPATH"
"""How a test's engine is found, where the operator allows such engines."""

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
