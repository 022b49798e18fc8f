"""Serves discovery, the version and the health endpoints."""

from aiohttp import web

from devcluster.apiserver import discovery
from devcluster.apiserver.errors import unknown_path
from devcluster.apiserver.negotiation import JSON, parse_accept
from devcluster.apiserver.objects import JsonObject, encode
from devcluster.apiserver.registry import Registry


class DiscoveryHandlers:
    """`/api`, `/apis` and what lies directly below, `/version`, `/healthz`, `/readyz`, `/livez`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        for path in ("/healthz", "/readyz", "/livez"):
            app.router.add_get(path, self.healthy)
        app.router.add_get("/version", self.version)
        for path, handler in (
            ("/api", self.core),
            ("/apis", self.groups),
            ("/api/{version}", self.resources),
            ("/apis/{group}", self.group),
            ("/apis/{group}/{version}", self.resources),
        ):
            app.router.add_get(path, handler)
            app.router.add_get(path + "/", handler)

    async def healthy(self, _: web.Request) -> web.Response:
        """Say that the server is up: it answers only once its state is loaded."""
        return web.Response(text="ok")

    async def version(self, _: web.Request) -> web.Response:
        """Say which Kubernetes API this is."""
        return _json(discovery.VERSION)

    async def core(self, request: web.Request) -> web.Response:
        """Serve `/api`."""
        if _wants_aggregated(request):
            return _json(discovery.aggregated(self._registry, core=True), discovery.AGGREGATED)
        return _json(discovery.core_versions(request.host))

    async def groups(self, request: web.Request) -> web.Response:
        """Serve `/apis`."""
        if _wants_aggregated(request):
            return _json(discovery.aggregated(self._registry, core=False), discovery.AGGREGATED)
        return _json(discovery.group_list(self._registry))

    async def group(self, request: web.Request) -> web.Response:
        """Serve `/apis/<group>`. Raises `StatusError` 404."""
        return _json(_found(discovery.one_group(self._registry, request.match_info["group"])))

    async def resources(self, request: web.Request) -> web.Response:
        """Serve `/apis/<group>/<version>`. Raises `StatusError` 404."""
        place = request.match_info
        return _json(_found(discovery.resource_list(self._registry, place.get("group", ""), place["version"])))


def _found(document: JsonObject | None) -> JsonObject:
    if document is None:
        raise unknown_path()
    return document


def _json(document: JsonObject, content_type: str = JSON) -> web.Response:
    return web.Response(body=encode(document), headers={"Content-Type": content_type})


def _wants_aggregated(request: web.Request) -> bool:
    return parse_accept(request.headers.get("Accept", ""))[0].transform == "APIGroupDiscoveryList"
