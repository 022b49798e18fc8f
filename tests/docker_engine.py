"""A Docker engine for the tests of the images: the machine's own where one answers, else one that lives in a folder.

The latter makes no bridge and no rule of a firewall, and turns nothing on in the kernel, so that the dev cluster's
network beside it stays as it is; builds and containers use the machine's network instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".tidemill" / "docker"
START_SECONDS = 60


class NoEngineError(Exception):
    """This machine has no Docker engine and cannot be given one; the text says why."""


@dataclass(frozen=True)
class Docker:
    """The docker command for one engine."""

    environment: dict[str, str]
    own_base: bool
    """Whether images stand on `tidemill-test-base`, made here, since the engine can pull none."""

    def run(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS`, whatever it says."""
        return subprocess.run(
            ["docker", *words], env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def __call__(self, *words: str, seconds: float = 60) -> str:
        """What `docker WORDS` prints; fails the test where docker fails."""
        done = self.run(*words, seconds=seconds)
        assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of an image or a container."""
        (found,) = json.loads(self("inspect", name))
        return dict(found)

    def build(self, checkout: Path, image: str, *options: str, seconds: float, **variables: str) -> str:
        """Build an image of a checkout as a user does, by hack/images.sh with these variables; returns its name."""
        environment = self.environment | variables | {"REGISTRY": ""}
        if self.own_base:
            environment["BASE_IMAGE"] = "tidemill-test-base"
        command = [str(checkout / "hack" / "images.sh"), image, "--", "--network=host", *options]
        built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
        assert built.returncode == 0, f"{' '.join(command)}\n{built.stderr[-6000:]}"
        return built.stdout.strip()


def still_checkout(folder: Path) -> Path:
    """A copy of this checkout, with what is not committed yet, that nobody edits while images are built of it."""
    copy = folder / "checkout"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(copy)], check=True, timeout=120)
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, copy / name)
    for name in ("operator", "workloads", "hack/locks"):
        shutil.rmtree(copy / name)
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    for file in ("hack/images.sh", "hack/setup.sh", "hack/constraints.txt", "hack/bytecode.py"):
        shutil.copy2(ROOT / file, copy / file)
    return copy


@contextmanager
def docker_engine() -> Iterator[Docker]:
    """An engine that answers, and its base image where it cannot pull one."""
    theirs = Docker(dict(os.environ), own_base=False)
    with suppress(FileNotFoundError, subprocess.TimeoutExpired):
        if theirs.run("version", seconds=20).returncode == 0:
            yield theirs
            return
    prepared = subprocess.run(
        [str(ROOT / "hack" / "docker_engine.sh")], capture_output=True, text=True, timeout=300, check=False
    )
    if prepared.returncode != 0:
        raise NoEngineError(prepared.stderr.strip()[-500:])
    with tempfile.TemporaryDirectory(prefix="tidemill-docker-") as folder, _daemon(Path(folder)) as docker:
        docker("import", str(STATE / "base.tar"), "tidemill-test-base", seconds=120)
        yield docker


@contextmanager
def _daemon(folder: Path) -> Iterator[Docker]:
    files = STATE / "files"
    group = f"/{folder.name}"
    environment = os.environ | {
        "PATH": f"{files}/usr/bin:{files}/usr/sbin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{files}/usr/lib/x86_64-linux-gnu:{files}/lib/x86_64-linux-gnu",
    }
    command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "--pidfile", f"{folder}/pid"]
    command += ["--host", f"unix://{folder}/socket", "--cgroup-parent", group]
    command += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        docker = Docker(environment | {"DOCKER_HOST": f"unix://{folder}/socket"}, own_base=True)
        _await(docker, process, folder / "log")
        yield docker
    finally:
        _stop(process, folder, group)


def _await(docker: Docker, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while docker.run("version", seconds=20).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoEngineError(f"dockerd does not start here:\n{log.read_text(errors='replace')[-800:]}")
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes], folder: Path, group: str) -> None:
    """End the engine with its containers, and take away what the kernel keeps of it: mounts and control groups."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False, timeout=30)
    for root in [*Path("/sys/fs/cgroup").glob(f"*{group}"), *Path("/sys/fs/cgroup").glob(group.lstrip("/"))]:
        for child in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                child.rmdir()
        with suppress(OSError):
            root.rmdir()
