"""From the URIs of a job to places on object stores and servers: what `locations` does for paths, for everything else.

Names are taken as they are written: `%20` in `s3://` is three characters of a key, as for the vendors' own tools.
"""

from __future__ import annotations

import uuid

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.http_client import HttpClient
from tidemill_workloads.http_input import HttpInput, open_http
from tidemill_workloads.object_storage import ObjectFolder, ObjectInput, refused
from tidemill_workloads.storage import TEMPORARY_PREFIX
from tidemill_workloads.store_client import Bucket
from tidemill_workloads.store_faults import Place

STORE_SCHEMES = ("s3", "gs")
WEB_SCHEMES = ("http", "https")

MAX_KEY_BYTES = 1024
"""Both kinds of store allow no longer key; 100 bytes of it are left to our own names."""


def scheme_of(uri: str) -> str:
    """The scheme in lower case, empty for a plain path."""
    scheme, marked, _ = uri.partition("://")
    return scheme.lower() if marked else ""


def open_object_input(uri: str) -> ObjectInput:
    """The object at `uri`, pinned. Raises JobRefused."""
    field = "spec.input.uri"
    bucket, key = _bucket_and_key(uri, field)
    if not key or uri.endswith("/"):
        raise _invalid(field, uri, "names no object", "file.jsonl")
    place = Place(uri, field)
    with refused(place):
        return ObjectInput.at(bucket, key, place)


def object_folder(uri: str, field: str) -> ObjectFolder:
    """The folder at `uri`, of which nothing is known yet. Raises JobRefused(InvalidSpec)."""
    bucket, key = _bucket_and_key(uri, field)
    if not key:
        raise _invalid(field, uri, "is a whole bucket", "")
    return ObjectFolder(bucket, key, uri, field)


def prove_writable(folder: ObjectFolder) -> None:
    """Writes, writes again and removes an object. Raises JobRefused where the store lets one of these go wrong.

    The second write must be refused: a store that does not know `If-None-Match: *` would let two attempts own a folder.
    """
    probe = f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}"
    folder.create(probe, b"probe\n")
    twice = folder.create(probe, b"probe\n")
    folder.delete(probe)
    if twice:
        message = (
            f"{folder.field}: the store of {folder.base_uri} overwrites an object that If-None-Match: * should keep, "
            "so no job can own a folder there; use a store with conditional writes"
        )
        raise JobRefused(Reason.OUTPUT_NOT_WRITABLE, message)


def open_http_input(uri: str, allow_loopback: bool) -> HttpInput:
    """The file at `uri`, pinned as far as its server allows it. Raises JobRefused."""
    return open_http(uri, HttpClient(allow_loopback))


def _bucket_and_key(uri: str, field: str) -> tuple[Bucket, str]:
    bucket, _, key = uri.partition("://")[2].partition("/")
    if "@" in bucket:
        raise JobRefused(Reason.INVALID_SPEC, f"{field}: names no bucket before `@`; credentials belong in a Secret")
    if not bucket or any(character in bucket for character in "?#: "):
        raise _invalid(field, uri, "names no bucket")
    key = key.removesuffix("/")
    if key and any(part in ("", ".", "..") for part in key.split("/")):
        raise _invalid(field, uri, "has an empty part, `.` or `..` in its path")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in key):
        raise _invalid(field, uri, "holds a control character")
    if len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES - 100:
        raise _invalid(field, uri, f"is longer than {MAX_KEY_BYTES - 100} bytes")
    return Bucket(scheme_of(uri), bucket), key


def _invalid(field: str, uri: str, what: str, name: str = "name") -> JobRefused:
    """A refusal that shows how it is written; the start of the URI is enough to know it again, the rest may be long."""
    example = f"{scheme_of(uri)}://bucket/folder/{name}"
    return JobRefused(Reason.INVALID_SPEC, f"{field}: {uri[:200]!r} {what}; write it as {example}")
