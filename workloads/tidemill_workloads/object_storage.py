"""Input and output folder on an object store, `s3://` or `gs://`: `storage`'s protocols over obstore.

Create-only is the store's own conditional write (If-None-Match: *), and every read of an input is held to its ETag
(If-Match). An object appears whole, at the end of its one request or of its multipart upload. What a killed writer
leaves is an unfinished upload, which nobody sees and a lifecycle rule of the bucket removes. Refused here is what the
store refuses, as JobRefused with the field and the fix.
"""
# ruff: noqa: D102 - the methods are documented on the protocols

from __future__ import annotations

import contextlib
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Self, TypeVar

import obstore

from tidemill_workloads.range_reader import reader
from tidemill_workloads.storage import TEMPORARY_PREFIX, InputIdentity, Writing, input_changed
from tidemill_workloads.store_client import PATIENCE_SECONDS, Bucket, Store, translated, uploading_client
from tidemill_workloads.store_faults import FaultKind, Place, StoreFault, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obstore import WritableFile

    from tidemill_workloads.storage import Folder

PART_BYTES = 96 << 20
"""Of a multipart upload: 10,000 parts, S3's most, hold 1 TB. The same for each part, as some stores want it."""

PARTS_AT_ONCE = 2
"""In memory: one is on its way while the next one fills. What a join costs the head, whatever its length."""

PIECE_BYTES = 1 << 20
"""Lines are handed to the library in pieces of this size."""

WRITE_MARK = "tidemill-write"
"""Metadata of a created object that tells whose write it was, where the answer to a create was lost."""

CREATE_TRIES = 20
DELETE_BATCH = 1000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ObjectInput:
    """An input on an object store."""

    bucket: Bucket
    key: str
    identity: InputIdentity
    field: str = "spec.input.uri"
    patience_seconds: float = PATIENCE_SECONDS

    @classmethod
    def at(cls, bucket: Bucket, key: str, place: Place, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Pins the object as it is now. Raises StoreFault.

        Asks for the object and leaves its body, since the answer to a HEAD does not say whether the bucket is there.
        """
        found = bucket.call(f"looking at {place.uri}", lambda store: obstore.get(store, key).meta, patience_seconds)
        identity = InputIdentity(place.uri, found["size"], 0, found["e_tag"] or found["version"] or "")
        return cls(bucket, key, identity, place.field, patience_seconds)

    def open(self) -> BinaryIO:
        self._call(lambda store: obstore.get(store, self.key, options={"head": True, "if_match": self.identity.etag}))
        return reader(self.read_range, self.identity.size)

    def read_range(self, offset: int, length: int) -> bytes:
        if not length:
            return b""
        span, etag = (offset, offset + length), self.identity.etag
        data = self._call(
            lambda store: bytes(obstore.get(store, self.key, options={"range": span, "if_match": etag}).bytes())
        )
        if len(data) != length:
            raise input_changed(self.identity.uri)
        return data

    def settled(self, folder: Folder) -> ObjectInput:
        return self

    def _call(self, request: Callable[[Store], Result]) -> Result:
        try:
            return self.bucket.call(f"reading {self.identity.uri}", request, self.patience_seconds)
        except StoreFault as fault:
            if fault.kind == FaultKind.CHANGED:
                raise input_changed(self.identity.uri) from fault
            raise refusal(fault, Place(self.identity.uri, self.field)) from fault


@dataclass(slots=True)
class _ObjectWriting:
    """Gathers lines to pieces; the library gathers the pieces to parts and sends one while the next one fills."""

    upload: WritableFile
    place: Place
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    buffer: bytearray = field(default_factory=bytearray)
    size: int = 0

    def write(self, data: bytes) -> None:
        self.buffer += data
        self.digest.update(data)
        self.size += len(data)
        if len(self.buffer) >= PIECE_BYTES:
            self.hand_on()

    def sha256(self) -> str:
        return self.digest.hexdigest()

    def hand_on(self) -> None:
        """Gives the library what was gathered. Raises JobRefused."""
        piece, self.buffer = bytes(self.buffer), bytearray()
        with refused(self.place):
            self.upload.write(piece)

    def complete(self) -> None:
        """Makes the object appear. Raises JobRefused; then the library has aborted the upload."""
        with refused(self.place):
            self.upload.close()

    def abort(self) -> None:
        """Gives the upload up; a store that cannot even do that keeps its parts until the bucket's lifecycle rule."""
        with contextlib.suppress(StoreFault), translated():
            self.upload.__exit__(RuntimeError, None, None)


@contextlib.contextmanager
def refused(place: Place) -> Iterator[None]:
    """Turns a fault at the store into JobRefused."""
    try:
        with translated():
            yield
    except StoreFault as fault:
        raise refusal(fault, place) from fault


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """An output folder on an object store: all objects whose key starts with `prefix/`."""

    bucket: Bucket
    prefix: str
    base_uri: str
    field: str = "spec.output.uri"
    patience_seconds: float = PATIENCE_SECONDS

    def uri(self, name: str) -> str:
        return self.base_uri.rstrip("/") + "/" + name

    def create(self, name: str, data: bytes) -> bool:
        key, mark = self._key(name), uuid.uuid4().hex

        def put(store: Store) -> None:
            obstore.put(store, key, data, attributes={WRITE_MARK: mark}, mode="create", use_multipart=False)

        for _ in range(CREATE_TRIES):
            try:
                self.bucket.call(f"writing {self.uri(name)}", put, self.patience_seconds)
            except StoreFault as fault:
                if fault.kind != FaultKind.TAKEN:
                    raise self._refusal(fault) from fault
            else:
                return True
            writer = self._mark(key)
            if writer is not None:  # ours, where the answer to an earlier try was lost on the way
                return writer == mark
        raise self._refusal(StoreFault(FaultKind.PASSING, f"{name} is taken and absent at once"))

    def _mark(self, key: str) -> str | None:
        """Whose write the object at `key` is, empty where it does not say; None where there is no such object."""
        try:
            found = self._call("looking", lambda store: obstore.get(store, key, options={"head": True}).attributes)
        except StoreFault as fault:
            if fault.kind == FaultKind.NO_OBJECT:
                return None
            raise self._refusal(fault) from fault
        return found.get(WRITE_MARK, "")

    def replace(self, name: str, data: bytes) -> None:
        key = self._key(name)
        with refused(self._place):
            self._call("writing", lambda store: obstore.put(store, key, data, use_multipart=False))

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Writing]:
        with refused(self._place):
            store = uploading_client(self.bucket)
        upload = obstore.open_writer(store, self._key(name), buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        writing = _ObjectWriting(upload, self._place)
        try:
            yield writing
            writing.hand_on()
        except BaseException:
            writing.abort()
            raise
        writing.complete()

    def read(self, name: str) -> bytes | None:
        key = self._key(name)
        return self._found(lambda store: bytes(obstore.get(store, key).bytes()))

    def lines(self, name: str) -> Iterator[bytes]:
        if self.exists(name):
            with self.pin(name).open() as stream:
                yield from stream

    def exists(self, name: str) -> bool:
        key = self._key(name)
        if key and self._found(lambda store: obstore.head(store, key)) is not None:
            return True
        return bool(self._found(lambda store: next(iter(obstore.list(store, key or None, chunk_size=1)), [])))

    def names(self, prefix: str) -> list[str]:
        key = self._key(prefix)
        with refused(self._place):
            listed = self._call("listing", lambda store: obstore.list_with_delimiter(store, key or None))
        keys = [*listed["common_prefixes"], *(item["path"] for item in listed["objects"])]
        names = (below.rstrip("/").rpartition("/")[2] for below in keys if below.rstrip("/") != key)
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def delete(self, name: str) -> None:
        key = self._key(name)
        self._delete(key)
        while below := self._some_below(key):
            self._delete(below)

    def _delete(self, keys: str | list[str]) -> None:
        """Removes these objects; one that another attempt removes at the same time is no fault."""
        self._found(lambda store: obstore.delete(store, keys))

    def _some_below(self, key: str) -> list[str]:
        """Keys of the first objects below `key`."""
        first = self._found(lambda store: next(iter(obstore.list(store, key, chunk_size=DELETE_BATCH)), []))
        return [item["path"] for item in first or []]

    def sweep(self, prefix: str) -> None:
        """Nothing: an unfinished upload is no object, and the library cannot list those that others left."""

    def pin(self, name: str) -> ObjectInput:
        place = Place(self.uri(name), self.field)
        with refused(place):
            return ObjectInput.at(self.bucket, self._key(name), place, self.patience_seconds)

    @property
    def _place(self) -> Place:
        return Place(self.base_uri, self.field, writing=True)

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name.strip("/")) if part)

    def _found(self, request: Callable[[Store], Result]) -> Result | None:
        """The result of `request`, or None where the object is not there. Raises JobRefused."""
        try:
            return self._call("reading", request)
        except StoreFault as fault:
            if fault.kind == FaultKind.NO_OBJECT:
                return None
            raise self._refusal(fault) from fault

    def _call(self, doing: str, request: Callable[[Store], Result]) -> Result:
        return self.bucket.call(f"{doing} {self.base_uri}", request, self.patience_seconds)

    def _refusal(self, fault: StoreFault) -> Exception:
        return refusal(fault, self._place)
