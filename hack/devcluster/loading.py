"""Loads CustomResourceDefinitions into an API server and waits until they are served."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

from devcluster.client import CUSTOM_RESOURCE_DEFINITIONS, AlreadyExists, Client, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from devcluster.client import Object

DIGEST = "devcluster.tidemill.dev/digest"
"""Annotation with the hash of what was loaded, so that an unchanged definition is not written again."""

ESTABLISH_SECONDS = 10.0


async def load(kubeconfig: Path, definitions: list[Object]) -> None:
    """Create or replace the definitions and wait until each is served. TimeoutError after ten seconds."""
    async with Client.from_kubeconfig(kubeconfig) as client:
        for definition in definitions:
            await _apply(client, definition)
        await _established(client, [definition["metadata"]["name"] for definition in definitions])


async def _apply(client: Client, definition: Object) -> None:
    name = definition["metadata"]["name"]
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
    annotations = {**definition["metadata"].get("annotations", {}), DIGEST: digest}
    body = {**definition, "metadata": {**definition["metadata"], "annotations": annotations}}
    while True:
        try:
            present = await client.get(CUSTOM_RESOURCE_DEFINITIONS, None, name)
            if present["metadata"].get("annotations", {}).get(DIGEST) == digest:
                return
            body["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
            await client.replace(CUSTOM_RESOURCE_DEFINITIONS, None, name, body)
        except NotFound:
            body["metadata"].pop("resourceVersion", None)
            try:
                await client.create(CUSTOM_RESOURCE_DEFINITIONS, None, body)
            except AlreadyExists:
                continue
        except Conflict:
            continue
        return


async def _established(client: Client, names: Iterable[str]) -> None:
    """Wait until the server serves the kinds. TimeoutError after ten seconds."""
    missing = set(names)
    async with asyncio.timeout(ESTABLISH_SECONDS):
        async for kind, definition in client.watch(CUSTOM_RESOURCE_DEFINITIONS):
            if kind != "SYNCED" and _is_established(definition):
                missing.discard(definition["metadata"]["name"])
            if not missing:
                return


def _is_established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)
