"""The HTTP shell: routes a request to reads, writes, deletes and watches, and puts their outcome into an answer.

Nothing is decided here. Every error leaves as a `Status`; an unexpected one is logged with its traceback and
answered with 500, so that a bug is loud on both sides.
"""

import logging
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from devcluster.apiserver import deletes, reads, reviews, subresource_handlers, writes
from devcluster.apiserver.access.gate import write_options
from devcluster.apiserver.bodies import body_object, json_response, read_body, status_response
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import (
    StatusError,
    bad_request,
    field_manager_required,
    internal,
    method_not_allowed,
    success,
)
from devcluster.apiserver.negotiation import choose_transform, content_type_of
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.patch_types import patch_change
from devcluster.apiserver.patches import APPLY_PATCH
from devcluster.apiserver.requests import Target, WriteOptions, parse_boolean, parse_target
from devcluster.apiserver.store import Entry
from devcluster.apiserver.streaming import serve_watch
from devcluster.apiserver.watches import Watches, object_bytes

_LOG = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a `Status`."""
    try:
        return await handler(request)
    except StatusError as error:
        return status_response(error)
    except web.HTTPException as error:
        return status_response(StatusError(error.status, error.reason.replace(" ", ""), error.text or error.reason))
    except (ConnectionResetError, ConnectionError):
        raise
    except Exception as error:  # The boundary: whatever else goes wrong is a bug, told to the log and to the client.
        _LOG.exception("%s %s", request.method, request.path_qs)
        return status_response(internal(f"{type(error).__name__}: {error}"))


@dataclass(frozen=True)
class _Made:
    """How a write is answered: the HTTP status and what the client is warned of."""

    code: int
    warnings: list[str]


class ResourceHandler:
    """Serves `/api/v1/...` and `/apis/<group>/<version>/...`."""

    def __init__(self, cluster: Cluster, watches: Watches) -> None:
        self._cluster = cluster
        self._watches = watches

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer one request. Raises `StatusError`."""
        target = parse_target(self._cluster.registry, request.path)
        if target.subresource and (target.subresource != "status" or not target.resource.status):
            return await subresource_handlers.serve(request, self._cluster, target)
        match request.method:
            case "GET" | "HEAD":
                return await self._read(request, target)
            case "POST" if not target.name:
                return await self._create(request, target)
            case "PUT" if target.name:
                return await self._replace(request, target)
            case "PATCH" if target.name:
                return await self._patch(request, target)
            case "DELETE":
                return await self._delete(request, target)
        raise method_not_allowed()

    async def _read(self, request: web.Request, target: Target) -> web.StreamResponse:
        if parse_boolean(request.query, "watch"):
            _require(target, "watch")
            return await serve_watch(request, self._cluster, self._watches, target)
        transform = choose_transform(request.headers.get("Accept", ""))
        if target.name:
            _require(target, "get")
            entry = writes.existing(self._cluster, target)
            return self._shown(request, target, entry, transform)
        _require(target, "list")
        options = reads.parse_list_options(self._cluster, target, request.query)
        body = reads.list_bytes(self._cluster, options, transform, request.query)
        return json_response(body, content_type=content_type_of(transform))

    def _shown(
        self, request: web.Request, target: Target, entry: Entry, transform: str, code: int = 200
    ) -> web.Response:
        rendering = reads.rendering_of(transform, request.query)
        document = rendering(target.resource, entry) if rendering else object_bytes(target.resource, entry)
        return json_response(document, code, content_type_of(transform))

    def _answer(self, request: web.Request, target: Target, document: JsonObject, made: _Made) -> web.Response:
        transform = choose_transform(request.headers.get("Accept", ""))
        entry = Entry(target.resource.key(target.namespace, metadata(document)["name"]), 0, document, b"")
        response = self._shown(request, target, entry, transform, made.code)
        for warning in made.warnings:
            if any(unicodedata.category(character) == "Cc" for character in warning):
                continue  # Kubernetes leaves such a warning out, too: no header may have a control character
            escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{escaped}"')
        return response

    async def _create(self, request: web.Request, target: Target) -> web.StreamResponse:
        _require(target, "create")
        document = await body_object(request)
        if reviews.is_review(target.resource.kind):
            return json_response(reviews.answer(request, target, document), 201)
        options = write_options(request)
        created = writes.create(self._cluster, target, document, options)
        return self._answer(request, target, created, _Made(201, options.warnings))

    async def _replace(self, request: web.Request, target: Target) -> web.StreamResponse:
        _require(target, "update")
        document = await body_object(request)
        options = write_options(request)
        replaced = writes.replace(self._cluster, target, document, options)
        return self._answer(request, target, replaced, _Made(200, options.warnings))

    async def _patch(self, request: web.Request, target: Target) -> web.StreamResponse:
        _require(target, "patch")
        patch = await read_body(request)
        options = write_options(request)
        if request.content_type == APPLY_PATCH:
            return self._apply(request, target, patch, options)
        change = patch_change(target.resource, request.content_type, patch)
        patched = writes.modify(self._cluster, target, change, options)
        return self._answer(request, target, patched, _Made(200, options.warnings))

    def _apply(self, request: web.Request, target: Target, config: Any, options: WriteOptions) -> web.Response:
        if not isinstance(config, dict):
            raise bad_request("error decoding patch: what is applied must be an object")
        if not request.query.get("fieldManager"):
            raise field_manager_required()
        options = replace(options, apply=True)
        applied, is_new = writes.apply(self._cluster, target, config, options)
        return self._answer(request, target, applied, _Made(201 if is_new else 200, options.warnings))

    async def _delete(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await read_body(request)
        options = deletes.parse_delete_options(body if isinstance(body, dict) else {}, dict(request.query))
        if not target.name:
            _require(target, "deletecollection")
            return self._delete_collection(request, target, options)
        _require(target, "delete")
        document, gone = deletes.delete(self._cluster, target, options)
        if not gone or target.resource.storage == "/pods":
            return json_response(document)
        details = {"name": target.name, "kind": target.resource.plural, "uid": metadata(document)["uid"]}
        if target.resource.group:
            details["group"] = target.resource.group
        return json_response(success(details))

    def _delete_collection(
        self, request: web.Request, target: Target, options: deletes.DeleteOptions
    ) -> web.StreamResponse:
        wanted = reads.parse_list_options(self._cluster, target, request.query)
        body = reads.list_bytes(self._cluster, wanted, "", request.query)
        for entry in reads.select(self._cluster, wanted.scope):
            one = Target(target.resource, entry.key.namespace, entry.key.name)
            deletes.delete(self._cluster, one, options)
        return json_response(body)


def _require(target: Target, verb: str) -> None:
    if verb not in target.resource.verbs and not target.subresource:
        raise method_not_allowed()
