"""The forms that the URIs of a job may have: one pattern each, for the API server (CEL) and for the types.

Only the form is judged here. Whether a path lies under a mount is said by the operator (`spec_checks.py`), whether
the place exists and may be used by the driver, which has the mounts and the credentials.
"""

from __future__ import annotations

import re

from tidemill_api.markers import rules
from tidemill_api.v1alpha1.reserved import no_way_up

# Patterns without backslashes and shorthands: RE2, Rust and Python read them alike, in CEL's quotes too.
_LOCAL = "(/|file:///).+"
_BUCKET = "(s3|gs)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
_HOST = "https?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?"
_COMPRESSED = "[.](gz|tgz|bz2|xz|zst|zip|7z|lz4)"

INPUT_PATTERN = f"^({_LOCAL}|{_BUCKET}/[^/].*|{_HOST}/.+)$"
OUTPUT_PATTERN = f"^({_LOCAL}|{_BUCKET}/[^/].*)$"
COMPRESSED_PATTERN = f"{_COMPRESSED}$|^https?://[^?]*{_COMPRESSED}[?]"

_INPUT_MESSAGE = (
    "input.uri must be a file: a path such as /data/in/rows.jsonl or file:///data/in/rows.jsonl, s3://bucket/key,"
    " gs://bucket/key or https://host/path without user or password"
)
_PLAIN_MESSAGE = "input.uri names a compressed file: decompress it to plain JSONL first"
_OUTPUT_MESSAGE = (
    "output.uri must be a folder: a path such as /data/out/tickets/ or file:///data/out/tickets/,"
    " s3://bucket/prefix/ or gs://bucket/prefix/"
)

INPUT_RULES = rules(
    (f"self.matches('{INPUT_PATTERN}') && !self.endsWith('/')", _INPUT_MESSAGE),
    (f"!self.matches('{COMPRESSED_PATTERN}')", _PLAIN_MESSAGE),
    no_way_up("input.uri"),
)
OUTPUT_RULES = rules((f"self.matches('{OUTPUT_PATTERN}')", _OUTPUT_MESSAGE), no_way_up("output.uri"))


def check_input(uri: str) -> str:
    """The URI of a file of requests as it is. Raises ValueError, with what to write instead, for another form."""
    if re.fullmatch(INPUT_PATTERN, uri) is None or uri.endswith("/"):
        raise ValueError(f"{_INPUT_MESSAGE}, not {shown(uri)}")
    if re.search(COMPRESSED_PATTERN, uri):
        raise ValueError(_PLAIN_MESSAGE)
    return uri


def check_output(uri: str) -> str:
    """The URI of a folder for results as it is. Raises ValueError, with what to write instead, for another form."""
    if re.fullmatch(OUTPUT_PATTERN, uri) is None:
        raise ValueError(f"{_OUTPUT_MESSAGE}, not {shown(uri)}")
    return uri


def public(uri: str) -> str:
    """The URI as it may be said: of a server's, what stands before `@` is a password, and the query can be a signature.

    Any other is said as it is.
    """
    if not on_server(uri):
        return uri
    before, mark, _ = uri.partition("?")
    return re.sub(r"://[^/]*@", "://", before) + ("?..." if mark else "")


def on_server(uri: str) -> bool:
    """Whether the URI is an `http(s)://` one: elsewhere `?` and `@` are characters of a name."""
    return uri.lower().startswith(("http://", "https://"))


def shown(text: str) -> str:
    """What stands in the place of a URI, in quotes for a message: its form is wrong, so nobody knows where a secret is.

    Everything up to an `@` and from a `?` or `#` on is left out, and what follows the first 200 characters.
    """
    before, mark, _ = text.partition("?")
    before, fragment, _ = before.partition("#")
    hidden = re.sub(r"^.*@", "...@", before, flags=re.DOTALL)
    return repr(hidden[:200] + ("..." if mark or fragment or len(hidden) > 200 else ""))


BLOT = "***"

_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(r"(https?://[^\s?'\"<>]*)(\?(?!\.\.\.)[^\s'\"<>]+)?", re.IGNORECASE)
"""A URL with its query or without: one that had to have a query would, at `http://http://...`, be looked for anew from
each `http`, in a time that grows with the square of the text."""

_PARAMETER = re.compile(
    r"([?&](?:X-(?:Amz|Goog)-[A-Za-z-]+|[A-Za-z_-]*(?:signature|sig|token|key|secret|password|credential))=)[^&\s'\"<>]+",
    re.IGNORECASE,
)
"""A presigned URL's own, where only the path and the query are told, as in "GET /rows.jsonl?X-Amz-Signature=..."."""


def without_signatures(text: str) -> str:
    """Text of whoever wrote it, such as the end of a log, without what in its URLs can be a password or a signature.

    Takes a time that grows as the text does, whatever is in it: 0.2 s a MiB at most.
    """
    text = _QUERY.sub(lambda url: url[1] + (f"?{BLOT}" if url[2] else ""), _USER.sub(f"{BLOT}@", text))
    return _PARAMETER.sub(rf"\1{BLOT}", text)
