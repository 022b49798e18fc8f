"""A POST to an ASGI application in this process, as a server's socket would have made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping


def post_scope(path: str, headers: Iterable[tuple[bytes, bytes]]) -> MutableMapping[str, Any]:
    """The scope of the request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},  # 2.4: a stream needs no second task to see its client go
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": None,
        "server": None,
        "state": {},
    }
