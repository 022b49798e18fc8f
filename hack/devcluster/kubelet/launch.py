"""Starts one container and stays as its parent: `python -S -m devcluster.kubelet.launch`, the plan on stdin.

The command becomes PID 1 of a PID namespace of its own, in the pod's network namespace and in new mount, UTS
and IPC namespaces. This process outlives the kubelet: it copies the output into the log file, which it bounds
by rotation, and leaves `process.json` at the start and `exit.json` at the end in the container's folder, from
which a restarted kubelet learns what became of it. If it is killed, the kernel kills the container with it.

The plan holds the environment, with secrets, so it comes by a pipe and is never written down. Standard
library only; it decides nothing (no restart, no probe, no time limit).
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.kubelet import system_calls as calls
from devcluster.kubelet.credentials import Credentials, take_on
from devcluster.kubelet.root import Mount, RootPlan, build

START_FAILED = 128
"""Exit code of a container whose command could not be started, as container runtimes report it."""
OPEN_FILES = 65536
OPEN_FILES_CEILING = 1048576


@dataclass(frozen=True)
class LaunchPlan:
    """Everything one container's start needs, resolved. Paths are the host's unless they say otherwise."""

    folder: str
    log: str
    log_bytes: int
    network_namespace: str
    hostname: str
    root: RootPlan
    command: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str
    credentials: Credentials

    @classmethod
    def parse(cls, text: str) -> "LaunchPlan":
        """The plan that `json.dumps(dataclasses.asdict(plan))` wrote."""
        raw: dict[str, Any] = json.loads(text)
        root = raw["root"]
        root["mounts"] = tuple(Mount(**mount) for mount in root["mounts"])
        root["hidden"], root["devices"] = tuple(root["hidden"]), tuple(root["devices"])
        root["emptied"] = tuple(root["emptied"])
        credentials = raw["credentials"] | {
            name: tuple(raw["credentials"][name]) for name in ("groups", "capabilities")
        }
        return cls(
            **raw
            | {"root": RootPlan(**root), "command": tuple(raw["command"]), "credentials": Credentials(**credentials)}
        )


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5)); None if it is gone or a zombie.

    With the pid it names a process for good: a pid alone may be somebody else's by now.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


class Log:
    """The log file of a container: appended to, and moved to `<file>.1` when it grows past the bound."""

    def __init__(self, path: str, bound: int) -> None:
        self._path = Path(path)
        self._bound = bound
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def write(self, data: bytes) -> None:
        """Append; rotation happens between two writes, so no byte is lost, but where the disk is full."""
        with contextlib.suppress(OSError):  # a full disk must not end the container
            self._file.write(data)
            self._size += len(data)
        if self._size > self._bound:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()


def become_container(plan: LaunchPlan, output: int, failure: int) -> None:
    """In the child: enter and build the namespaces, then turn into the command. Never returns."""
    try:
        calls.set_parent_death_signal(signal.SIGKILL)
        os.setsid()
        calls.enter_namespace(plan.network_namespace, calls.CLONE_NEWNET)
        calls.unshare(calls.CLONE_NEWNS | calls.CLONE_NEWUTS | calls.CLONE_NEWIPC)
        socket.sethostname(plan.hostname)
        os.umask(0o022)
        build(plan.root)
        _working_directory(plan)
        _raise_open_files()
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.fchown(output, plan.credentials.user, plan.credentials.group)  # /dev/stdout may be opened anew
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python changed these three
            signal.signal(number, signal.SIG_DFL)
        take_on(plan.credentials)
        os.execvpe(plan.command[0], plan.command, plan.environment)  # noqa: S606 - a container's command is not ours to quote
    except FileNotFoundError as error:
        missing = error.filename is not None and os.fsdecode(error.filename).endswith(plan.command[0])
        text = f"exec: {plan.command[0]!r}: executable file not found in $PATH" if missing else str(error)
        os.write(failure, text.encode())
    except OSError as error:
        os.write(failure, str(error).encode())
    except BaseException:  # a bug; this process must not run on as a second launcher, nor die without a word
        os.write(failure, traceback.format_exc().encode())
    os._exit(START_FAILED)


def _raise_open_files() -> None:
    """As many open files as a container runtime allows, or as many as this machine lets us have."""
    _, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # needs CAP_SYS_RESOURCE
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES_CEILING))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, ceiling), ceiling))


def _working_directory(plan: LaunchPlan) -> None:
    """Go to the container's working directory; like a runtime, make it where it can be made."""
    path = Path(plan.working_directory)
    if not path.is_dir():
        path.mkdir(parents=True)
        os.chown(path, plan.credentials.user, plan.credentials.group)
    os.chdir(path)


def supervise(plan: LaunchPlan, child: int, output: int, failure: int) -> None:
    """In the parent: copy output until the container has ended, then write down how it ended."""
    folder = Path(plan.folder)
    mine = {"pid": child, "start": start_time(child), "parent": os.getpid(), "parent_start": start_time(os.getpid())}
    write_json(folder / "process.json", mine | {"startedAt": time.time()})
    problem = _until_end(failure)  # blocks until the command runs: its exec closes the other end
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)  # tells the kubelet, which reads our output to its end
    log = Log(plan.log, plan.log_bytes)
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(ended, select.POLLIN)
    alive = True
    while alive:
        ready = [descriptor for descriptor, _ in poll.poll()]
        alive = ended not in ready
        if output in ready and not _copy(output, log):
            poll.unregister(output)
    while _copy(output, log):
        pass
    log.close()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    outcome = {"exitCode": code if code >= 0 else 128 - code, "signal": -code if code < 0 else 0}
    reason = {"reason": "StartError", "message": problem.decode(errors="replace")} if problem else {}
    write_json(folder / "exit.json", outcome | reason | {"finishedAt": time.time()})


def _copy(output: int, log: Log) -> bool:
    """Move what is there into the log; False at the end of the stream or when nothing is left."""
    with contextlib.suppress(BlockingIOError):
        data = os.read(output, 1 << 16)
        if data:
            log.write(data)
        return bool(data)
    return False


def _until_end(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def main() -> None:
    """Read the plan, start the container, stay until it ends."""
    plan = LaunchPlan.parse(sys.stdin.read())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    output_read, output_write = os.pipe()
    failure_read, failure_write = os.pipe()
    os.set_blocking(output_read, False)
    calls.unshare(calls.CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        become_container(plan, output_write, failure_write)
    os.close(output_write)
    os.close(failure_write)
    supervise(plan, child, output_read, failure_read)


if __name__ == "__main__":
    main()
