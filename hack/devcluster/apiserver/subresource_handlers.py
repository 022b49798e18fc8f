"""The HTTP side of every subresource but status: scale, binding, eviction, log, token and finalize."""

from aiohttp import web

from devcluster.apiserver import pod_subresources, reads, writes
from devcluster.apiserver.access import token_requests
from devcluster.apiserver.access.gate import ACCESS, write_options
from devcluster.apiserver.bodies import body_object, json_response, read_body
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import method_not_allowed, success, unknown_path
from devcluster.apiserver.negotiation import choose_transform, content_type_of
from devcluster.apiserver.objects import JsonObject, clone
from devcluster.apiserver.patch_types import merge_change
from devcluster.apiserver.pod_logs import parse_log_options, read_log
from devcluster.apiserver.requests import Target
from devcluster.apiserver.resources import ScalePaths
from devcluster.apiserver.scale import scale_of, scaled
from devcluster.apiserver.store import Entry


async def serve(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Answer a request for a subresource. Raises `StatusError`."""
    if target.subresource == "scale" and target.resource.scale is not None:
        return await _scale(request, cluster, target, target.resource.scale)
    if target.subresource not in target.resource.subresources:
        raise unknown_path()
    match (target.subresource, request.method):
        case ("binding", "POST"):
            return await _bind(request, cluster, target)
        case ("eviction", "POST"):
            pod_subresources.evict(cluster, target, await body_object(request))
            return json_response(success({}), 201)
        case ("log", "GET"):
            return await _log(request, cluster, target)
        case ("finalize", "PUT"):
            return await _finalize(request, cluster, target)
        case ("token", "POST"):
            return await _token(request, cluster, target)
    raise method_not_allowed()


async def _scale(request: web.Request, cluster: Cluster, target: Target, paths: ScalePaths) -> web.StreamResponse:
    resource = target.resource
    options = write_options(request)
    if request.method in ("PUT", "PATCH"):
        body = await read_body(request)
        patch = merge_change(request.content_type, body) if request.method == "PATCH" else lambda _: body

        def change(current: JsonObject) -> JsonObject:
            return scaled(resource, paths, current, patch(scale_of(resource, paths, current)))

        document = writes.modify(cluster, target, change, options)
    elif request.method == "GET":
        document = writes.existing(cluster, target).document
    else:
        raise method_not_allowed()
    scale = scale_of(resource, paths, document)
    transform = choose_transform(request.headers.get("Accept", ""))
    rendering = reads.rendering_of(transform, request.query)
    if rendering is not None:
        scale = rendering(resource, Entry(target.key, 0, document, b""))
    return json_response(scale, content_type=content_type_of(transform))


async def _bind(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    options = write_options(request)
    pod_subresources.bind(cluster, target, await body_object(request), options)
    return json_response(success({}), 201)


async def _finalize(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Write a Namespace's spec.finalizers, which nothing else can."""
    wanted = (await body_object(request)).get("spec") or {}
    options = write_options(request)

    def change(current: JsonObject) -> JsonObject:
        return {**current, "spec": {"finalizers": clone(wanted.get("finalizers") or [])}}

    return json_response(writes.modify(cluster, target, change, options))


async def _token(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    """Answer a TokenRequest."""
    body = await body_object(request)
    return json_response(token_requests.answer_request(cluster, request.app[ACCESS].tokens, target, body), 201)


async def _log(request: web.Request, cluster: Cluster, target: Target) -> web.StreamResponse:
    pod = writes.existing(cluster, target).document
    options = parse_log_options(pod, request.query)
    container = request.query.get("container") or pod["spec"]["containers"][0]["name"]

    def may_grow() -> bool:
        entry = cluster.store.get(target.key)
        return pod_subresources.log_may_grow(entry.document if entry else None, container)

    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    async for data in read_log(options, may_grow):
        await response.write(data)
    return response
