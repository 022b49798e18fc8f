"""A container's process as the kubelet holds it: started through `launch`, or found again after a restart.

Its folder says what it is (`process.json`) and how it ended (`exit.json`), so nothing depends on this kubelet
being its parent. A pid is only trusted together with its start time.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.kubelet.launch import LaunchPlan, start_time
from devcluster.kubelet.states import Terminated

PACKAGES = Path(__file__).parents[2]
"""The folder that holds the package `devcluster`, for the launcher's PYTHONPATH."""
NSENTER = shutil.which("nsenter") or "/usr/bin/nsenter"
LONGEST_OUTPUT = 1000


@dataclass
class ContainerProcess:
    """A started container. `pid` is its PID 1 as this machine sees it, `parent` the launcher that watches it."""

    folder: Path
    container_id: str
    pid: int
    start: int | None
    parent: int
    parent_start: int | None
    started_at: float
    launcher: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def load(cls, folder: Path, container_id: str) -> "ContainerProcess | None":
        """The last process of a container's folder, running or ended; None if none was ever started."""
        try:
            facts = json.loads((folder / "process.json").read_text())
        except FileNotFoundError:
            return None
        return cls(
            folder,
            container_id,
            facts["pid"],
            facts["start"],
            facts["parent"],
            facts["parent_start"],
            facts["startedAt"],
        )

    def running(self) -> bool:
        """Whether its PID 1 is still there."""
        return self.start is not None and start_time(self.pid) == self.start

    def send(self, number: int) -> None:
        """Send PID 1 a signal; SIGKILL ends every process of the container."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self) -> Terminated:
        """Wait until the container has ended, and how."""
        if self.parent_start is not None and start_time(self.parent) == self.parent_start:
            await _process_gone(self.parent)
        if self.launcher is not None:
            self.launcher.wait()
        return self.outcome()

    def outcome(self) -> Terminated:
        """How it ended, as the launcher wrote it down; a killed launcher took its container with it."""
        try:
            facts = json.loads((self.folder / "exit.json").read_text())
        except FileNotFoundError:
            return Terminated(
                137,
                self.started_at,
                time.time(),
                self.container_id,
                reason="ContainerStatusUnknown",
                message="the process that watched this container is gone, and the container with it",
            )
        return Terminated(
            facts["exitCode"],
            self.started_at,
            facts["finishedAt"],
            self.container_id,
            facts["signal"],
            facts.get("reason", ""),
            facts.get("message", ""),
        )

    def start_failure(self) -> str:
        """Why its command could not be started at all; empty if it was."""
        outcome = self.outcome()
        return outcome.message if outcome.reason == "StartError" else ""

    async def execute(self, command: list[str], seconds: float) -> tuple[bool, str]:
        """Run a command inside the container: whether it ended with 0 in time, and what it printed, shortened."""
        environment = _environment_of(self.pid)
        if environment is None:
            return False, "the container is not running"
        user, group = _user_of(self.pid)
        as_whom = ("--setuid", user, "--setgid", group) if user != "0" else ()
        where = ("--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", *as_whom)
        process = await asyncio.create_subprocess_exec(
            NSENTER,
            *where,
            "--",
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                output, _ = await process.communicate()
        except TimeoutError:
            return False, f"command timed out: {command} after {seconds:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return process.returncode == 0, output[-LONGEST_OUTPUT:].decode(errors="replace").strip()


async def launch(plan: LaunchPlan, container_id: str) -> ContainerProcess:
    """Start a container; returns once its command runs or has failed to start. Raises OSError if we cannot at all."""
    folder = Path(plan.folder)
    launcher = _spawn(folder)
    if launcher.stdin is None or launcher.stdout is None:
        raise RuntimeError("the launcher has no pipes")  # both are asked for above
    with contextlib.suppress(BrokenPipeError), launcher.stdin as stdin:
        stdin.write(json.dumps(asdict(plan)).encode())
    await asyncio.to_thread(launcher.stdout.read)  # the launcher closes it when the command runs
    launcher.stdout.close()
    process = ContainerProcess.load(folder, container_id)
    if process is None:
        complaint = (folder / "launch.err").read_text(errors="replace")[-LONGEST_OUTPUT:]
        raise OSError(f"the launcher ended with {launcher.wait()} before the container began: {complaint}")
    process.launcher = launcher
    return process


def _spawn(folder: Path) -> "subprocess.Popen[bytes]":
    for name in ("process.json", "exit.json"):
        (folder / name).unlink(missing_ok=True)
    with (folder / "launch.err").open("wb") as complaints:
        return subprocess.Popen(
            [sys.executable, "-S", "-m", "devcluster.kubelet.launch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={"PYTHONPATH": str(PACKAGES), "PATH": os.defpath},
            start_new_session=True,
        )


def _user_of(pid: int) -> tuple[str, str]:
    """The user and the group that a process runs as; root's where it has just ended."""
    fields = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return fields.get("Uid", ["0"])[0], fields.get("Gid", ["0"])[0]


def _environment_of(pid: int) -> dict[str, str] | None:
    """The environment that a process was started with."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in raw.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def _set_once(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _process_gone(pid: int) -> None:
    """Wait until a process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _set_once, gone)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
