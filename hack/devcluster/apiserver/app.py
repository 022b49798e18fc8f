"""The aiohttp application: routes, and the life of the store and the controllers around it."""

from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from devcluster.apiserver import discovery
from devcluster.apiserver.bootstrap import create_initial_objects
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.controllers import Controllers
from devcluster.apiserver.errors import unknown_path
from devcluster.apiserver.handlers import ResourceHandler, answer_errors, json_response
from devcluster.apiserver.negotiation import parse_accept
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import Store
from devcluster.apiserver.watches import Watches

# Bodies up to this size are read; the largest definitions are near 1 MB, etcd's own bound is 1.5 MB.
_MAX_BODY_BYTES = 16 * 1024 * 1024


def make_app(data: Path, history: int = 20_000) -> web.Application:
    """Return the server's application over the state in folder `data`."""
    data.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(Store(data / "objects.sqlite3", history), Registry(built_in_resources()))
    watches = Watches(cluster.store)
    app = web.Application(middlewares=[answer_errors], client_max_size=_MAX_BODY_BYTES)

    async def controllers(_: web.Application) -> AsyncIterator[None]:
        task = Controllers(cluster).start()
        create_initial_objects(cluster)
        yield
        task.cancel()
        cluster.store.close()

    app.cleanup_ctx.append(controllers)
    _add_discovery(app, cluster)
    handler = ResourceHandler(cluster, watches)
    for prefix in ("/api", "/apis"):
        app.router.add_route("*", prefix + "/{path:.+}", handler)
    return app


def _add_discovery(app: web.Application, cluster: Cluster) -> None:
    registry = cluster.registry

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def version(_: web.Request) -> web.Response:
        return json_response(discovery.VERSION)

    async def api(request: web.Request) -> web.Response:
        if _wants_aggregated(request):
            return json_response(discovery.aggregated(registry, core=True), content_type=discovery.AGGREGATED)
        return json_response(discovery.core_versions(request.host))

    async def apis(request: web.Request) -> web.Response:
        if _wants_aggregated(request):
            return json_response(discovery.aggregated(registry, core=False), content_type=discovery.AGGREGATED)
        return json_response(discovery.group_list(registry))

    async def group(request: web.Request) -> web.Response:
        found = discovery.one_group(registry, request.match_info["group"])
        if found is None:
            raise unknown_path()
        return json_response(found)

    async def resources(request: web.Request) -> web.Response:
        info = request.match_info
        found = discovery.resource_list(registry, info.get("group", ""), info["version"])
        if found is None:
            raise unknown_path()
        return json_response(found)

    for path in ("/healthz", "/readyz", "/livez"):
        app.router.add_get(path, ok)
    app.router.add_get("/version", version)
    for path, handler in (
        ("/api", api),
        ("/apis", apis),
        ("/api/{version}", resources),
        ("/apis/{group}", group),
        ("/apis/{group}/{version}", resources),
    ):
        app.router.add_get(path, handler)
        app.router.add_get(path + "/", handler)


def _wants_aggregated(request: web.Request) -> bool:
    first = parse_accept(request.headers.get("Accept", ""))[0]
    return first.transform == "APIGroupDiscoveryList"
