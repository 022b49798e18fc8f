"""Where rows come from and lines go to: the only interface between the driver and a file system or object store.

A `Folder` offers few operations on purpose: those that a local file system and an object store can both do
atomically. Objects appear whole or not at all; `create` never overwrites (that is what ownership, attempts and parts
rest on). Values are picklable, since engine actors on other nodes use them too. `local_storage`, `object_storage` and
`http_input` implement the protocols, `locations` chooses among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.uris import public
from tidemill_workloads.errors import JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

TEMPORARY_PREFIX = ".tmp-"
"""Names that start so are unfinished writes: never listed, swept when the job's manifest stands."""

COPIES = "input-copy"
"""Folder of the output that holds the copy of an input; it goes with the parts when the manifest stands."""


@dataclass(frozen=True, slots=True)
class InputIdentity:
    """What tells one state of an input from another: a changed file has another size or time.

    An object on a store or a server is told apart by its ETag, which is stronger than any time; a file has none.
    """

    uri: str
    size: int
    mtime_ns: int
    etag: str = ""

    @property
    def state(self) -> tuple[int, int, str]:
        """All but the name: equal for two looks at the same content."""
        return self.size, self.mtime_ns, self.etag


class Input(Protocol):
    """The file of requests, pinned to one identity."""

    @property
    def identity(self) -> InputIdentity:
        """The state that every read is held to."""

    def open(self) -> BinaryIO:
        """The whole file for one streaming pass. Raises JobRefused(InputChanged)."""

    def read_range(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from byte `offset`. Raises JobRefused(InputChanged)."""

    def settled(self, folder: Folder) -> Input:
        """What the rows are read from: this input, or its copy in `folder` where its server gives no byte ranges.

        The copy is made once for each state of the input; only the folder's owner may call this.
        """


class Writing(Protocol):
    """An object being written: invisible until its `Folder.writing` block ends without an exception."""

    size: int

    def write(self, data: bytes) -> None:
        """Appends."""

    def sha256(self) -> str:
        """Of all that was written so far, in hexadecimal."""


class Folder(Protocol):
    """The output folder. Names are relative, with slashes."""

    def uri(self, name: str) -> str:
        """What the user may call the object `name`."""

    def create(self, name: str, data: bytes) -> bool:
        """Writes a new object durably; False, changing nothing, where the name is taken."""

    def replace(self, name: str, data: bytes) -> None:
        """Writes an object durably in the place of any other."""

    def writing(self, name: str) -> AbstractContextManager[Writing]:
        """Streams a large object, which replaces any other when the block ends well."""

    def read(self, name: str) -> bytes | None:
        """A small object, or None."""

    def lines(self, name: str) -> Iterator[bytes]:
        """A large object line by line with the newlines; empty where it does not exist."""

    def exists(self, name: str) -> bool:
        """Whether the object is there."""

    def names(self, prefix: str) -> list[str]:
        """Sorted names (without the prefix) directly below the folder `prefix`."""

    def pin(self, name: str) -> Input:
        """The object `name` as an input, as it is now. Raises OSError or JobRefused where it is not there."""

    def delete(self, name: str) -> None:
        """Removes an object or everything below it; nothing where it does not exist."""

    def sweep(self, prefix: str) -> None:
        """Removes unfinished writes directly below the folder `prefix`. Only where nobody writes any more."""


def output_not_writable(uri: str, error: OSError) -> JobRefused:
    """The refusal of an output folder that takes no file, with the system's word for it."""
    message = (
        f"spec.output.uri: nothing can be written to {uri} ({error.strerror}); "
        "mount a writable volume there that has room and hard links"
    )
    return JobRefused(Reason.OUTPUT_NOT_WRITABLE, message)


def input_changed(uri: str) -> JobRefused:
    """The refusal of an input that is not what the job began with."""
    message = (
        f"spec.input.uri: {public(uri)} was changed after the job began to work on it; "
        "create a job with another output folder for the new file, or put the old file back"
    )
    return JobRefused(Reason.INPUT_CHANGED, message)
