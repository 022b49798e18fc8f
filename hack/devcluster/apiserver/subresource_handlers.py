"""Subresources other than status."""

from aiohttp import web

from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import unknown_path
from devcluster.apiserver.requests import Target


async def serve(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Answer a request for a subresource. Raises `StatusError`."""
    raise unknown_path()
