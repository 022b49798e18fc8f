"""PersistentVolumeClaims: each is bound at once to a folder of the state folder, whatever class it names.

The folder is `<state>/volumes/<namespace>/<claim>` and goes with its claim, as the reclaim policy Delete says. A claim
that names a PersistentVolume with a hostPath is a link to that folder instead, which stays. Sizes are not enforced.
"""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from devcluster.client import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, ApiError, Client, Conflict, NotFound

logger = logging.getLogger(__name__)

Object = dict[str, Any]


class Claims:
    """Binds claims as they appear; `on_change` is for the watch."""

    def __init__(self, client: Client, state: Path) -> None:
        self._client = client
        self._state = state
        self._queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()

    def on_change(self, kind: str, claim: Object) -> None:
        """Take note of a change; returns at once."""
        self._queue.put_nowait((kind, claim))

    async def run(self) -> None:
        """Bind and release for ever."""
        while True:
            kind, claim = await self._queue.get()
            try:
                await self._handle(kind, claim)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                logger.warning("claim %s: %s; trying again", claim["metadata"]["name"], error)
                asyncio.get_running_loop().call_later(1, self._queue.put_nowait, (kind, claim))

    async def _handle(self, kind: str, claim: Object) -> None:
        metadata = claim["metadata"]
        folder = self._state / "volumes" / metadata["namespace"] / metadata["name"]
        if kind == "DELETED":
            await asyncio.to_thread(remove_folder, folder)
            return
        given = await self._host_path(claim["spec"].get("volumeName") or "")
        await asyncio.to_thread(make_folder, folder, given)
        if (claim.get("status") or {}).get("phase") == "Bound":
            return
        spec = claim["spec"]
        status = {
            "phase": "Bound",
            "accessModes": spec.get("accessModes") or [],
            "capacity": (spec.get("resources") or {}).get("requests") or {},
        }
        where = PERSISTENT_VOLUME_CLAIMS, metadata["namespace"], metadata["name"]
        try:
            if not spec.get("volumeName"):
                volume = f"devcluster-{metadata['uid']}"
                await self._client.patch(*where, {"metadata": {"uid": metadata["uid"]}, "spec": {"volumeName": volume}})
            await self._client.patch(
                *where, {"metadata": {"uid": metadata["uid"]}, "status": status}, subresource="status"
            )
        except (NotFound, Conflict):
            return

    async def _host_path(self, volume: str) -> str:
        """The folder of the machine that a PersistentVolume is; empty where there is none, or it is no such folder."""
        if not volume:
            return ""
        try:
            found = await self._client.get(PERSISTENT_VOLUMES, None, volume)
        except NotFound:  # one of the names that are given here
            return ""
        return str((found["spec"].get("hostPath") or {}).get("path") or "")


def make_folder(folder: Path, given: str) -> None:
    """Make a claim's folder, or a link to the given one; what stands already stays."""
    if folder.is_symlink() or folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    if given:
        folder.symlink_to(given)
    else:
        folder.mkdir()


def remove_folder(folder: Path) -> None:
    """Take away what `make_folder` made; the given folder stays as it is."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
