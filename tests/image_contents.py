"""What an image holds, file by file, read from the archive that `docker export` writes of a container of it."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker_engine import Docker

OURS = "opt/tidemill/"


def files(docker: Docker, image: str) -> dict[str, tuple[object, ...]]:
    """Each file by its path: mode, owner, target of a link, digest; of our own the time of its last change too."""
    return {member.name: _facts(archive, member) for archive, member in _members(docker, image)}


def _facts(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    digest = ""
    if member.isreg() and (content := archive.extractfile(member)):
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    changed = member.mtime if member.name.startswith(OURS) else 0
    return oct(member.mode), member.uid, member.gid, member.type, member.linkname, digest, changed


def _members(docker: Docker, image: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    container = docker("create", image).strip()
    command = ["docker", "export", container]
    try:
        with (
            subprocess.Popen(command, env=docker.environment, stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            for member in archive:
                yield archive, member
        assert process.returncode == 0
    finally:
        docker("rm", container)


def saved_image_has(docker: Docker, image: str, words: bytes) -> bool:
    """Whether some layer of an image, or its record with its history, holds these bytes anywhere."""
    command = ["docker", "save", image]
    kept = b""
    found = False
    with subprocess.Popen(command, env=docker.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            found = found or words in kept + block
            kept = block[-len(words) :]
    assert process.returncode == 0
    return found
