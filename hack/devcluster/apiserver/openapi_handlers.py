"""Serves the OpenAPI documents, each made once for every change of what is served."""

import hashlib
import uuid

from aiohttp import web

from devcluster.apiserver.errors import not_acceptable, unknown_path
from devcluster.apiserver.negotiation import JSON
from devcluster.apiserver.objects import encode
from devcluster.apiserver.openapi_documents import document_v2, document_v3
from devcluster.apiserver.registry import Registry


class OpenApiHandlers:
    """`/openapi/v2`, `/openapi/v3` and `/openapi/v3/<group version>`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._cache: dict[str, tuple[int, bytes]] = {}
        # Part of every hash: another server on the same address may serve other definitions.
        self._identity = uuid.uuid4().hex

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/openapi/v2", self.version_2)
        app.router.add_get("/openapi/v3", self.index)
        app.router.add_get("/openapi/v3/api/{version}", self.version_3)
        app.router.add_get("/openapi/v3/apis/{group}/{version}", self.version_3)

    async def index(self, _: web.Request) -> web.Response:
        """List the documents of version 3, each with a hash that changes with it."""
        seed = f"{self._identity}-{self._registry.generation}"
        digest = hashlib.sha256(seed.encode()).hexdigest().upper()
        places = ["api/v1"]
        for group, versions in self._registry.groups().items():
            places += [f"apis/{group}/{version}" for version in versions]
        paths = {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"} for place in places}
        return web.Response(body=encode({"paths": paths}), content_type=JSON)

    async def version_3(self, request: web.Request) -> web.Response:
        """Serve one group and version. Raises `StatusError` 404."""
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        resources = self._registry.in_version(group, version)
        if not resources:
            raise unknown_path()
        cached = self._cached(f"{group}/{version}")
        body = cached or self._keep(f"{group}/{version}", encode(document_v3(resources)))
        return web.Response(body=body, content_type=JSON)

    async def version_2(self, request: web.Request) -> web.Response:
        """Serve everything in one document. Raises `StatusError` 406 where only protobuf is accepted."""
        accepted = request.headers.get("Accept", "*/*")
        if "protobuf" in accepted and JSON not in accepted and "*/*" not in accepted:
            raise not_acceptable(f"OpenAPI v2 is served as {JSON} only; OpenAPI v3 is at /openapi/v3")
        body = self._cached("v2") or self._keep("v2", encode(document_v2(list(self._registry))))
        return web.Response(body=body, content_type=JSON)

    def _cached(self, key: str) -> bytes | None:
        generation, body = self._cache.get(key, (-1, b""))
        return body if generation == self._registry.generation else None

    def _keep(self, key: str, body: bytes) -> bytes:
        self._cache[key] = (self._registry.generation, body)
        return body
