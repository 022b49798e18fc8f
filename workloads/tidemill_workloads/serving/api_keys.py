"""The API keys that let a client in: files of a mounted Secret, read again when they change.

Keys are kept as SHA-256 digests and compared in constant time with every one of them, so that the time of an answer
tells nothing of a key, nor which one came near.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the folder is looked at. A kubelet itself takes up to a minute to change it."""


def read_keys(folder: Path) -> dict[str, bytes]:
    """Digests of the keys in `folder` by the client's name; none where it is missing. Raises OSError."""
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except FileNotFoundError:
        return {}
    keys = {path.name: path.read_bytes().strip() for path in files}
    return {name: hashlib.sha256(key).digest() for name, key in keys.items() if key}


def client_of(keys: Mapping[str, bytes], presented: bytes) -> str | None:
    """Whose key it is, or None where it is nobody's. Takes the same time for each key that is presented."""
    digest = hashlib.sha256(presented).digest()
    found = None
    for name, expected in keys.items():
        if hmac.compare_digest(expected, digest):
            found = name
    return found


def bearer(authorization: bytes) -> bytes | None:
    """The key in an Authorization header, or None where there is none."""
    scheme, _, key = authorization.strip().partition(b" ")
    key = key.strip()
    return key if scheme.lower() == b"bearer" and key else None


class ApiKeys:
    """The keys of a folder, as they are now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, bytes] = {}
        self.read()

    def client_of(self, presented: bytes) -> str | None:
        """Whose key it is, or None where it is nobody's."""
        return client_of(self._keys, presented)

    def read(self) -> None:
        """Takes the keys as they stand; what cannot be read just now leaves them as they are."""
        try:
            keys = read_keys(self._folder)
        except OSError as error:  # the Secret changes under our hands: the next look sees it whole
            log.warning("the API keys cannot be read now: %s", error.strerror or type(error).__name__)
            return
        if keys != self._keys:
            log.info("API keys: %d clients", len(keys))
            self._keys = keys

    async def follow(self) -> None:
        """Looks again and again, in a thread, since a mounted folder may be slow."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.read)
