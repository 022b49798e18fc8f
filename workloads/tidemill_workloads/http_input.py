"""An input on a server, `http(s)://`: read by byte ranges held to one ETag or time, or copied beside the output once.

A server that gives neither ranges nor anything that tells one state of a file from another cannot be read by many
workers at different times. Its file is copied into the output folder, create-only for each state that the server
tells, and the copy is what every attempt reads. Addresses are judged in `url_guard`, requests made in `http_client`.
"""
# ruff: noqa: D102 - the methods are documented on the protocols

from __future__ import annotations

import hashlib
import json
import logging
import re
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.uris import public
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.http_client import HttpClient, HttpFault, PassingFault
from tidemill_workloads.range_reader import reader
from tidemill_workloads.storage import COPIES, InputIdentity, input_changed
from tidemill_workloads.url_guard import UrlRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    import urllib3

    from tidemill_workloads.storage import Folder, Input, Writing

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_COPY_BYTES = 1 << 40
"""A server that never ends its answer is stopped there: 1 TiB, as large as the results may become."""

_PIECE_BYTES = 1 << 20
_HEAD_BYTES = 8
FIELD = "spec.input.uri"


@dataclass(frozen=True, slots=True)
class HttpInput:
    """A file on a server, as its first answer described it. `ranges`: whether it is read from there."""

    url: str
    identity: InputIdentity
    head: bytes
    ranges: bool
    client: HttpClient

    def open(self) -> BinaryIO:
        self.read_range(0, min(_HEAD_BYTES, self.identity.size))
        return reader(self.read_range, self.identity.size)

    def read_range(self, offset: int, length: int) -> bytes:
        if not length:
            return b""
        return _patiently(self.client, self.url, lambda: self._read(offset, length))

    def _read(self, offset: int, length: int) -> bytes:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if not self.identity.etag.startswith("W/"):  # a weak one may not stand in If-Range
            headers["If-Range"] = self.identity.etag
        with self.client.get(self.url, headers) as response:
            if response.status != 206 or _validator(response) != self.identity.etag:
                raise input_changed(self.url)
            if _total(response) != self.identity.size:
                raise input_changed(self.url)
            data = response.read(length)
        if len(data) != length:
            raise PassingFault(response.status, "the answer was too short")
        return data

    def settled(self, folder: Folder) -> Input:
        return self if self.ranges else _copied(self, folder)


@dataclass(frozen=True, slots=True)
class CopiedInput:
    """The copy of an input, under the input's own name."""

    copy: Input
    identity: InputIdentity

    def open(self) -> BinaryIO:
        return self.copy.open()

    def read_range(self, offset: int, length: int) -> bytes:
        return self.copy.read_range(offset, length)

    def settled(self, folder: Folder) -> Input:
        return self


def open_http(url: str, client: HttpClient) -> HttpInput:
    """Asks for the first bytes, which tells what the server can do. Raises JobRefused."""
    return _patiently(client, url, lambda: _first_look(url, client))


def _first_look(url: str, client: HttpClient) -> HttpInput:
    with client.get(url, {"Range": f"bytes=0-{_HEAD_BYTES - 1}"}) as response:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            message = f"{FIELD}: {public(url)} is sent as {encoding}, which is not supported; serve the plain file"
            raise JobRefused(Reason.INPUT_NOT_READABLE, message)
        etag, total = _validator(response), _total(response)
        whole = response.status == 200
        size = (response.length_remaining if whole else total) or 0
        head = b"" if response.status == 416 else response.read(_HEAD_BYTES)
    ranges = not whole and total is not None and bool(etag)
    return HttpInput(url, InputIdentity(url, size, 0, etag), head, ranges, client)


def _validator(response: urllib3.BaseHTTPResponse) -> str:
    """What tells this state of the file from another, empty where the server does not say."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _total(response: urllib3.BaseHTTPResponse) -> int | None:
    """Bytes of the whole file by Content-Range (RFC 9110, 14.4), None where it does not say."""
    found = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def standing_copy(url: str, state: tuple[int, int, str], folder: Folder) -> Input | None:
    """The copy of the input in that `state` (`InputIdentity.state`) that stands in `folder`, or None."""
    size, mtime_ns, etag = state
    for said in (size, 0):  # a server need not say the size, which is 0 then
        identity = InputIdentity(url, said, mtime_ns, etag)
        content = folder.read(_note(identity))
        if content is not None:
            return _copy_in(folder, content, identity)
    return None


def _note(identity: InputIdentity) -> str:
    """The name of the note that tells where the copy of an input in that state is."""
    return f"{COPIES}/{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.json"


def _copied(source: HttpInput, folder: Folder) -> Input:
    """The input's copy in `folder`, made by whoever is first."""
    note = _note(source.identity)
    content = folder.read(note)
    if content is None:
        content = _copy(source, folder, note)
    return _copy_in(folder, content, source.identity)


def _copy_in(folder: Folder, note: bytes, identity: InputIdentity) -> Input:
    copy = folder.pin(f"{COPIES}/{json.loads(note)['name']}")
    return CopiedInput(copy, replace(identity, size=copy.identity.size))


def _copy(source: HttpInput, folder: Folder, note: str) -> bytes:
    """Copies the input and says so in the note `note`, or removes its own copy where another was first."""
    name = f"{uuid.uuid4().hex}.jsonl"
    log.info("copying %s beside the output: its server gives no byte ranges of one state", public(source.url))
    size, sha256 = _patiently(source.client, source.url, lambda: _fetch(source, folder, f"{COPIES}/{name}"))
    content = json.dumps({"name": name, "size": size, "sha256": sha256}).encode()
    if folder.create(note, content):
        return content
    folder.delete(f"{COPIES}/{name}")
    standing = folder.read(note)
    if standing is None:
        raise FileNotFoundError(f"{folder.uri(note)} was there a moment ago")
    return standing


def _fetch(source: HttpInput, folder: Folder, name: str) -> tuple[int, str]:
    """Bytes and digest of the whole file, written to `name`."""
    with source.client.get(source.url, {}) as response, folder.writing(name) as out:
        if response.status != 200:  # 206, 412 and 416 answer what was not asked: their body is no file
            raise HttpFault(response.status, f"HTTP status {response.status}")
        if _validator(response) != source.identity.etag:
            raise input_changed(source.url)
        _pour(response, out, public(source.url))
        return out.size, out.sha256()


def _pour(response: urllib3.BaseHTTPResponse, out: Writing, name: str) -> None:
    while data := response.read(_PIECE_BYTES):
        out.write(data)
        if out.size > MAX_COPY_BYTES:
            message = f"{FIELD}: {name} is longer than {MAX_COPY_BYTES} bytes, the most that is copied; split it"
            raise JobRefused(Reason.INPUT_NOT_READABLE, message)


def _patiently(client: HttpClient, url: str, request: Callable[[], Result]) -> Result:
    """The result of `request`, with every fault that lasts in the user's words."""
    name = public(url)
    try:
        return client.call(f"reading {name}", request)
    except UrlRefused as refused:
        raise JobRefused(Reason.INVALID_SPEC, f"{FIELD}: {name} may not be read: {refused}") from refused
    except PassingFault as fault:
        message = f"{FIELD}: {name} cannot be reached ({fault}); see to its server"
        raise JobRefused(Reason.STORAGE_UNREACHABLE, message) from fault
    except HttpFault as fault:
        raise _refusal(name, fault) from fault


def _refusal(name: str, fault: HttpFault) -> JobRefused:
    if fault.status in (404, 410):
        message = f"{FIELD}: there is nothing at {name} ({fault}); put the file there or mend the URI"
        return JobRefused(Reason.INPUT_NOT_FOUND, message)
    if fault.status in (401, 403, 407):
        message = (
            f"{FIELD}: {name} may not be read ({fault}); use a presigned URL, or s3:// with a Secret's credentials"
        )
        return JobRefused(Reason.INPUT_NOT_READABLE, message)
    return JobRefused(
        Reason.INPUT_NOT_READABLE, f"{FIELD}: {name} cannot be read ({fault}); mend the URI or its server"
    )
