"""The aiohttp application: routes, and the life of the store and the controllers around it."""

from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from devcluster.apiserver.access.certificates import ServingTls
from devcluster.apiserver.access.gate import ACCESS, Access, gate, record
from devcluster.apiserver.access.keepers import Keepers
from devcluster.apiserver.bootstrap import create_initial_objects
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.controllers import Controllers
from devcluster.apiserver.discovery_handlers import DiscoveryHandlers
from devcluster.apiserver.handlers import ResourceHandler, answer_errors
from devcluster.apiserver.openapi_handlers import OpenApiHandlers
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import Store
from devcluster.apiserver.watches import Watches

# Bodies up to this size are read; the largest definitions are near 1 MB, etcd's own bound is 1.5 MB.
_MAX_BODY_BYTES = 16 * 1024 * 1024


def make_app(data: Path, tls: ServingTls, history: int = 20_000) -> web.Application:
    """Return the server's application over the state in folder `data`, which exists."""
    cluster = Cluster(Store(data / "objects.sqlite3", history), Registry(built_in_resources()))
    watches = Watches(cluster.store)
    app = web.Application(middlewares=[answer_errors, gate], client_max_size=_MAX_BODY_BYTES)
    app[ACCESS] = Access.over(cluster.store, data)
    app.on_response_prepare.append(record)

    async def controllers(_: web.Application) -> AsyncIterator[None]:
        tasks = [Controllers(cluster).start()]
        create_initial_objects(cluster)
        tasks.append(Keepers(cluster, tls).start())
        yield
        for task in tasks:
            task.cancel()
        app[ACCESS].audit.close()
        cluster.store.close()

    app.cleanup_ctx.append(controllers)
    DiscoveryHandlers(cluster.registry).add_to(app)
    OpenApiHandlers(cluster.registry).add_to(app)
    handler = ResourceHandler(cluster, watches)
    for prefix in ("/api", "/apis"):
        app.router.add_route("*", prefix + "/{path:.+}", handler)
    return app
