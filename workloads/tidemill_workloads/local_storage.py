"""Input and output folder on a mounted file system, local or shared: `storage`'s protocols over pathlib.

Everything is durable when a call returns (fsync of file and folder), and whole or absent (temporary name, then link
or rename). What may be opened is judged in `locations`; refused here is a changed input, and a write for which there is
no room or right (JobRefused(OutputNotWritable)), which is waited for: it may be mended while the job stands.
"""
# ruff: noqa: D102 - the methods are documented on the protocols

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.storage import TEMPORARY_PREFIX, InputIdentity, Writing, input_changed, output_not_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from _typeshed import WriteableBuffer

    from tidemill_workloads.storage import Folder

BUFFER_BYTES = 1 << 20

_NOT_WRITABLE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTSUP,
        errno.ENOSYS,  # link(2) on a file system that has none
    }
)
"""Faults of a write that only the user can mend; any other one is passing, or a bug."""

_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + ".+-[0-9a-f]{32}")
"""The names that `_beside` makes; what only begins like one is somebody else's."""


@dataclass(frozen=True, slots=True)
class LocalInput:
    """An input on a mounted file system."""

    path: Path
    identity: InputIdentity

    @classmethod
    def at(cls, path: Path, uri: str) -> Self:
        """Pins the file as it is now. Raises OSError."""
        state = path.stat()
        return cls(path, InputIdentity(uri, state.st_size, state.st_mtime_ns))

    def open(self) -> BinaryIO:
        with self._readable():
            file = io.BufferedReader(_GuardedFile(self.path, self._readable), BUFFER_BYTES)
        try:
            self._check(file)
        except JobRefused:
            file.close()
            raise
        return file

    def read_range(self, offset: int, length: int) -> bytes:
        with self._readable(), self.path.open("rb", buffering=0) as file:
            self._check(file)
            file.seek(offset)
            data = bytearray()
            while len(data) < length and (piece := file.read(length - len(data))):
                data += piece
            if len(data) < length:
                raise self._changed()
            return bytes(data)

    def settled(self, folder: Folder) -> LocalInput:
        return self

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Turns the loss of a file that was there when it was pinned into JobRefused."""
        try:
            yield
        except FileNotFoundError:
            message = f"spec.input.uri: {self.identity.uri} is not there any more; put the file back"
            raise JobRefused(Reason.INPUT_NOT_FOUND, message) from None
        except OSError as error:
            message = f"spec.input.uri: {self.identity.uri} cannot be read any more ({error.strerror}); mend the mount"
            raise JobRefused(Reason.INPUT_NOT_READABLE, message) from error

    def _check(self, file: io.IOBase | BinaryIO) -> None:
        state = os.fstat(file.fileno())
        if (state.st_size, state.st_mtime_ns) != (self.identity.size, self.identity.mtime_ns):
            raise self._changed()

    def _changed(self) -> JobRefused:
        return input_changed(self.identity.uri)


class _GuardedFile(io.FileIO):
    """A file whose every read is within `guard`: a volume can fail long after the opening."""

    def __init__(self, path: Path, guard: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(path, "rb")
        self._guard = guard

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with self._guard():
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self._guard():
            return super().readall()


@dataclass(slots=True)
class _LocalWriting:
    file: BinaryIO
    digest: hashlib._Hash
    base_uri: str
    size: int = 0

    def write(self, data: bytes) -> None:
        with _writes(self.base_uri):
            self.file.write(data)
        self.digest.update(data)
        self.size += len(data)

    def sha256(self) -> str:
        return self.digest.hexdigest()


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """An output folder on a mounted file system, local or shared.

    Create-only by link(2), which fails where the name exists, on NFS too.
    """

    root: Path
    base_uri: str

    def uri(self, name: str) -> str:
        return self.base_uri.rstrip("/") + "/" + name

    def create(self, name: str, data: bytes) -> bool:
        with _writes(self.base_uri), self._temporary(name, data) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            _sync_folder(target.parent)
            return True

    def replace(self, name: str, data: bytes) -> None:
        with _writes(self.base_uri), self._temporary(name, data) as (temporary, target):
            temporary.replace(target)
            _sync_folder(target.parent)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Writing]:
        target = self.root / name
        temporary = _beside(target)
        with _writes(self.base_uri):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = temporary.open("xb", buffering=BUFFER_BYTES)
        try:
            yield _LocalWriting(file, hashlib.sha256(), self.base_uri)
            with _writes(self.base_uri):
                file.flush()
                os.fsync(file.fileno())
                file.close()
                temporary.replace(target)
                _sync_folder(target.parent)
        finally:
            with contextlib.suppress(OSError):  # closing writes what a failed write left; that fault was raised
                file.close()
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def lines(self, name: str) -> Iterator[bytes]:
        try:
            file = (self.root / name).open("rb", buffering=BUFFER_BYTES)
        except FileNotFoundError:
            return
        with file:
            yield from file

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def names(self, prefix: str) -> list[str]:
        try:
            names = [entry.name for entry in (self.root / prefix).iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def pin(self, name: str) -> LocalInput:
        return LocalInput.at(self.root / name, self.uri(name))

    def delete(self, name: str) -> None:
        target = self.root / name
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # another attempt may be removing the same tree
        else:
            with _writes(self.base_uri):
                target.unlink(missing_ok=True)

    def sweep(self, prefix: str) -> None:
        for leftover in (self.root / prefix).glob(TEMPORARY_PREFIX + "*"):
            if _TEMPORARY.fullmatch(leftover.name) and leftover.is_file():
                with _writes(self.base_uri):
                    leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _temporary(self, name: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(target)
        try:
            with temporary.open("xb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            yield temporary, target
        finally:
            temporary.unlink(missing_ok=True)


class _writes:  # noqa: N801 - reads as a phrase; a class, since a generator would cost the join a microsecond a row
    """Turns a fault of a write that only the user can mend into JobRefused(OutputNotWritable)."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            raise output_not_writable(self.uri, error) from error


def _beside(target: Path) -> Path:
    return target.with_name(f"{TEMPORARY_PREFIX}{target.name}-{uuid.uuid4().hex}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
