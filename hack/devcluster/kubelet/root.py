"""The file system a container sees: the host read-only, its own writable corners, and its volumes.

There is no image to unpack. The root is a small tmpfs; each top-level directory of the host is bound into it
read-only, live, so that the checkout and its virtual environment are there. /tmp, /var/tmp, /run and the home
directory are the container's own and lost with it; /dev is a minimal one; /proc and /sys belong to its own
namespaces.
A checkout that lies in one of these is bound in nevertheless (`own_code`), and so is one below a folder that only
its owner may enter, such as /root: for a container of another user that folder holds nothing but the way there.
A volume's mountPath that the host lacks never touches the host: where a directory of the host would have to
take the new name, that directory is rebuilt in a tmpfs out of binds of its entries (`_open_up`).

This is a convenience for development, not isolation: a container can read what the host's root can read,
except the dev cluster's own state folders. Standard library only; runs inside the new mount namespace.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster.kubelet import system_calls as calls

MOUNT_SOURCE = "tidemill-devcluster"
"""Written as the source of every tmpfs of ours, so that they can be told from others in mountinfo."""
NOT_BOUND = frozenset({"proc", "sys", "dev", "tmp", "run"})
"""Top-level directories of the host that a container gets its own of."""
STAGE = ".stage"
"""Where, below the new root, sources are held while the root is built; gone when it stands."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LAYER = {"tmp": 0o1777, "run": 0o755, "var/tmp": 0o1777}
"""Folders of the container's own on disk, like an image's writable layer, with their modes."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host, shown in the container at `target` (absolute)."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class RootPlan:
    """What to build: `root` is an empty folder to build on, `layer` the container's own folder on disk.

    `emptied` are folders of the host that the container has empty ones of; with `read_only` nothing but its volumes
    can be written to.
    """

    root: str
    layer: str
    mounts: tuple[Mount, ...]
    hidden: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    read_only: bool = False


def closed_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """The outermost folders on the ways to these that only their owner may enter."""
    found = []
    for folder in folders:
        ways = reversed(Path(folder).parents)
        found += [str(way) for way in ways if not way.stat().st_mode & 0o001][:1]
    return tuple(sorted(set(found)))


def own_code(folders: Iterable[str], emptied: Iterable[str] = ()) -> list[Mount]:
    """Mounts for the folders of checkout and interpreter that the container's own corners would hide."""
    corners = tuple(f"/{name}/" for name in LAYER) + tuple(f"{path}/" for path in emptied)
    return [Mount(folder, folder, read_only=True) for folder in sorted(set(folders)) if folder.startswith(corners)]


def build(plan: RootPlan) -> None:
    """Build the root and move into it. The caller is alone in new mount and PID namespaces.

    Raises OSError where a volume's source vanished or a mountPath cannot be made.
    """
    calls.mount("", "/", flags=calls.MS_REC | calls.MS_PRIVATE)
    _tmpfs(plan.root, "mode=755,size=1g")
    stage = f"{plan.root}/{STAGE}"
    Path(stage).mkdir()
    staged = [_stage(mount, f"{stage}/{number}") for number, mount in enumerate(plan.mounts)]
    _forget_other_sandboxes(plan.root)
    _bind_host(plan.root)
    _forget_own_copies(plan.root)
    for path in plan.emptied:
        _tmpfs(plan.root + path, "mode=755,size=1m")
    _bind_layer(plan.root, plan.layer)
    _make_dev(plan.root, plan.devices)
    _make_proc(plan.root)
    _make_sys(plan.root)
    for hidden in plan.hidden:
        _hide(plan.root + hidden)
    by_depth = sorted(zip(plan.mounts, staged, strict=True), key=lambda pair: pair[0].target.count("/"))
    for mount, source in by_depth:
        target = place(plan.root, mount.target, directory=Path(source).is_dir())
        calls.bind(source, target)
        if mount.read_only:
            calls.make_read_only(target)
    _forget_own_copies(plan.root)
    for hidden in plan.hidden:
        _hide(plan.root + hidden)
    _unstage(stage, len(staged))
    _move_into(plan.root)
    if plan.read_only:
        _close(plan)


def _close(plan: RootPlan) -> None:
    """Leave nothing to be written to but volumes and /dev."""
    taken = {mount.target.rstrip("/") for mount in plan.mounts}
    for corner in ("/", *(f"/{name}" for name in LAYER if f"/{name}" not in taken)):
        calls.make_read_only(corner, alone=True)


def _tmpfs(target: str, options: str) -> None:
    calls.mount(MOUNT_SOURCE, target, "tmpfs", calls.MS_NOSUID | calls.MS_NODEV, options)


def _like(source: str, target: str) -> None:
    """Make an empty file or folder at `target` to bind `source` on."""
    if Path(source).is_dir():
        Path(target).mkdir()
    else:
        Path(target).touch()


def _stage(mount: Mount, stage: str) -> str:
    """Hold on to a volume's source before the paths that lead there are hidden."""
    _like(mount.source, stage)
    calls.bind(mount.source, stage)
    return stage


def _unstage(stage: str, count: int) -> None:
    for number in range(count):
        calls.unmount(f"{stage}/{number}")
        held = Path(stage, str(number))
        held.rmdir() if held.is_dir() else held.unlink()
    Path(stage).rmdir()


def _forget_other_sandboxes(root: str) -> None:
    """Drop this namespace's copies of other sandboxes' tmpfs, which would hold their memory when they go."""
    for target in _mounted(lambda fields: MOUNT_SOURCE in fields):
        if not (target + "/").startswith(root + "/"):
            calls.unmount(target)


def _mounted(wanted: Callable[[list[str]], bool]) -> list[str]:
    """Where this namespace's mounts stand of which the fields in mountinfo are `wanted`, the deepest first."""
    lines = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted((unescape(fields[4]) for fields in lines if wanted(fields)), reverse=True)


def _forget_own_copies(root: str) -> None:
    """Drop the copies of this very root that came with every bind of a tree in which the state folder lies.

    A copy's mounts on the stage would keep the stage's folders busy. Copies below what is hidden since are out
    of reach, from here as for the container, so the copies that come with the host go before anything is hidden.
    """
    device = os.stat(root).st_dev  # noqa: PTH116 - of the mount, as mountinfo writes it
    name = f"{os.major(device)}:{os.minor(device)}"
    for target in _mounted(lambda fields: fields[2] == name):
        if target != root:
            with contextlib.suppress(FileNotFoundError):
                calls.unmount(target)


def unescape(path: str) -> str:
    """Undo mountinfo's octal escapes for blanks and backslashes."""
    return path.encode().decode("unicode_escape").encode("latin-1").decode() if "\\" in path else path


def _bind_host(root: str) -> None:
    for entry in sorted(os.scandir("/"), key=lambda item: item.name):
        if entry.name not in NOT_BOUND:
            _bind_entry(entry, f"{root}/{entry.name}")
            if not entry.is_symlink():
                calls.make_read_only(f"{root}/{entry.name}")


def _bind_entry(entry: "os.DirEntry[str]", target: str) -> None:
    if entry.is_symlink():
        Path(target).symlink_to(os.readlink(entry.path))  # noqa: PTH115 - the text as it stands
    else:
        _like(entry.path, target)
        calls.bind(entry.path, target)


def _bind_layer(root: str, layer: str) -> None:
    for name, mode in LAYER.items():
        own = Path(layer, name)
        own.mkdir(parents=True, exist_ok=True)
        own.chmod(mode)
        target = place(root, f"/{name}", directory=True)
        calls.bind(str(own), target)


def _make_dev(root: str, devices: Iterable[str]) -> None:
    dev = Path(root, "dev")
    dev.mkdir()
    _tmpfs(str(dev), "mode=755,size=64k")
    for name in (*DEVICES, *(device.removeprefix("/dev/") for device in devices)):
        target = dev / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _like(f"/dev/{name}", str(target))
        calls.bind(f"/dev/{name}", str(target))
    (dev / "shm").mkdir()
    (dev / "pts").mkdir()
    calls.mount("devpts", str(dev / "pts"), "devpts", calls.MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, points_to in links.items():
        (dev / name).symlink_to(points_to)


def _make_proc(root: str) -> None:
    proc = f"{root}/proc"
    Path(proc).mkdir()
    calls.mount("proc", proc, "proc", calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC)


def _make_sys(root: str) -> None:
    """Show the devices of the container's own network, and the host's cgroups, by which programs size themselves."""
    target = Path(root, "sys")
    target.mkdir()
    calls.mount("sysfs", str(target), "sysfs", calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC)
    if Path("/sys/fs/cgroup").is_dir():
        calls.bind("/sys/fs/cgroup", str(target / "fs" / "cgroup"))
    calls.make_read_only(str(target))


def _hide(path: str) -> None:
    if Path(path).is_dir():
        _tmpfs(path, "mode=755,size=4k")
        calls.make_read_only(path)


def place(root: str, target: str, *, directory: bool) -> str:
    """The path below `root` where `target` can be mounted on, made where it is missing.

    Symbolic links are followed as the container will see them, never out of `root`.
    """
    missing = [part for part in target.split("/") if part not in {"", "."}]
    where = root
    links = 0
    while missing:
        part = missing.pop(0)
        if part == "..":
            where = where if where == root else str(Path(where).parent)
            continue
        path = Path(where, part)
        if path.is_symlink():
            links += 1
            if links > 40:
                raise OSError(f"mountPath {target}: too many symbolic links")
            link = os.readlink(path)  # noqa: PTH115 - the text as it stands
            where = root if link.startswith("/") else where
            missing = [piece for piece in link.split("/") if piece not in {"", "."}] + missing
            continue
        if not path.exists():
            _make(root, path, directory=directory or bool(missing))
        where = str(path)
    return where


def _make(root: str, path: Path, *, directory: bool) -> None:
    try:
        path.mkdir() if directory else path.touch()
    except OSError:  # read-only, as all that is the host's
        _open_up(root, str(path.parent))
        path.mkdir() if directory else path.touch()


def _open_up(root: str, folder: str) -> None:
    """Put a tmpfs in the place of a read-only folder, with each of its entries bound in, to take a new name."""
    rebuilt = Path(root, STAGE, "rebuilt")
    rebuilt.mkdir()
    _tmpfs(str(rebuilt), f"mode={Path(folder).stat().st_mode & 0o7777:o},size=1m")
    for entry in os.scandir(folder):
        _bind_entry(entry, str(rebuilt / entry.name))
    calls.mount(str(rebuilt), folder, flags=calls.MS_MOVE)
    rebuilt.rmdir()


def _move_into(root: str) -> None:
    old = Path(root, ".old")
    old.mkdir()
    calls.pivot_root(root, str(old))
    os.chdir("/")
    calls.unmount("/.old")
    Path("/.old").rmdir()
