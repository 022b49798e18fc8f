"""PersistentVolumeClaims: each is bound at once to a folder of the state folder, whatever class it names.

The folder is `<state>/volumes/<namespace>/<claim>` and goes with its claim, as the reclaim policy Delete says.
Sizes are not enforced.
"""

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Any

import aiohttp

from devcluster.client import PERSISTENT_VOLUME_CLAIMS, ApiError, Client, Conflict, NotFound

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
            await asyncio.to_thread(shutil.rmtree, folder, True)
            return
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
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
