"""The only module that talks to the API server: typed verbs over plain JSON, and one place where errors are named.

Sits between `reconciler.py` and the Kubernetes client. Refuses to decide: it says what happened, as a value or as an
error of `errors.py`. Every write asks the fence first whether this operator still leads (`leadership.py`), is waited
for no longer than it surely does, and carries what makes a late one harmless, here, in `ray_api.py` and `serve_api.py`:

    what                                        guarded by
    status, boost, Lease                        the resourceVersion that was read
    RayCluster, Secret, Service, NetworkPolicy: made
                                                a name that follows from owner, uid and revision, and owner references
    RayCluster: scaled                          tests of its generation, of the group's name and of the size before
    NetworkPolicy: set right                    the resourceVersion that was compared
    RayCluster, Secret: labels put back         uid and resourceVersion of what was found
    Secret: handed over; Service: led elsewhere the resourceVersion that was read just before
    RayCluster, Secret, NetworkPolicy: deleted  the uid
    job: deleted at the end of its time         uid and resourceVersion, as the decision saw them
    Event                                       a name that follows from its words
    Ray: job submitted or stopped               a submission id that follows from uid and attempt, never used twice
    Serve: configured, scaled, ended            the token of this very head; a size that is late stands until the next
                                                look, a second or two: Serve has no versions
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient

from tidemill_api import GROUP, VERSION
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import PLURAL
from tidemill_operator.errors import (
    ApiUnavailableError,
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    RejectedError,
)
from tidemill_operator.leadership import NO_FENCE, Fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from kubernetes.aio.client import Configuration

    Json = dict[str, Any]

REQUEST_SECONDS = 30.0
PAGE = 500
"""Objects per page of a list: the answer of 10,000 jobs in one piece would be a spike in memory on both sides."""

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Resource:
    """A kind in the API: where it is served and its plural."""

    prefix: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL path of a list (no name), an object or its subresource; all namespaces where None.

        A name stays one part of the path, whatever is in it. Raises ValueError for `.` and `..`, which a client would
        take for another path.
        """
        if {namespace, name} & {".", ".."}:
            raise ValueError(f"no object is named {namespace}/{name}")
        parts = [*(["namespaces", namespace] if namespace else []), self.plural, name, subresource]
        return "/".join([self.prefix, *(quote(part, safe="") for part in parts if part)])


JOBS = Resource(f"/apis/{GROUP}/{VERSION}", PLURAL)
ENDPOINTS = Resource(f"/apis/{GROUP}/{VERSION}", realtime_endpoint.PLURAL)
RAY_CLUSTERS = Resource("/apis/ray.io/v1", "rayclusters")
PODS = Resource("/api/v1", "pods")
SECRETS = Resource("/api/v1", "secrets")
SERVICES = Resource("/api/v1", "services")
EVENTS = Resource("/api/v1", "events")
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies")
RESOURCE_QUOTAS = Resource("/api/v1", "resourcequotas")
DEFINITIONS = Resource("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions")
ACCESS_REVIEWS = Resource("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews")
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases")


class Cluster:
    """The API server, whose writes ask this fence first. Close it when done."""

    def __init__(self, configuration: Configuration, fence: Fence = NO_FENCE) -> None:
        self._client = ApiClient(configuration)
        self._fence = fence

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the client is untyped

    async def version(self) -> str:
        """The API server's version, such as v1.35.0."""
        return str((await self._call("GET", "/version")).get("gitVersion", "of unknown version"))

    async def list_all(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[Json]:
        """Every object of the kind, page by page. Raises KindMissingError where the kind is not installed."""
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", resource.path(namespace), query=query)
            for item in page.get("items") or ():
                yield item
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            query["continue"] = more

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object. Raises ObjectMissingError where it is gone."""
        return await self._call("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, manifest: Json) -> Json:
        """Creates it. Raises ConflictError where it exists, RejectedError where the API server refuses it."""
        return await self._call("POST", resource.path(manifest["metadata"].get("namespace")), body=manifest)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str = "", version: str = "") -> None:
        """Deletes it in the background: only this very object where a uid is given, and as a resourceVersion saw it.

        Raises ConflictError where it is another one, or was written since. Gone already is fine, and so is a kind that
        is no longer installed: its objects went with it.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if given := {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}:
            body["preconditions"] = given
        try:
            await self._call("DELETE", resource.path(namespace, name), body=body)
        except (ObjectMissingError, KindMissingError):
            return

    async def patch_status(self, job: Json, status: Json, resource: Resource = JOBS) -> Json:
        """Writes the whole status of an object as it was read: ConflictError where anybody wrote it since."""
        metadata = job["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        path = resource.path(metadata["namespace"], metadata["name"], "status")
        return await self._call("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def merge(self, resource: Resource, namespace: str, name: str, body: Json) -> Json:
        """Merges these fields into an object."""
        return await self._call("PATCH", resource.path(namespace, name), body=body, content_type=MERGE_PATCH)

    async def patch(self, resource: Resource, namespace: str, name: str, operations: list[Json]) -> Json:
        """Applies a JSON patch. Raises ConflictError where one of its tests fails, RejectedError for other refusals."""
        return await self._call("PATCH", resource.path(namespace, name), body=operations, content_type=JSON_PATCH)

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Writes the whole object as it was read and changed: ConflictError where anybody wrote it since."""
        metadata = body["metadata"]
        return await self._call("PUT", resource.path(metadata["namespace"], metadata["name"]), body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | list[Json] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        left = self._fence.check() if method != "GET" else math.inf
        try:
            response = await self._client.call_api(*request, _request_timeout=min(REQUEST_SECONDS, left))
            data = await response.read()  # type: ignore[no-untyped-call]  # the client is untyped
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiUnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        return read_answer(method, path, response.status, data)


def version_of(body: Json) -> Json:
    """What a merge has to carry in its metadata to be one on this very version of the object, else ConflictError."""
    return {key: body["metadata"][key] for key in ("uid", "resourceVersion") if key in body["metadata"]}


def _names_nothing(refusal: Json) -> bool:
    """Whether a 422 is that of a patch which did not fit, a failed `test` say, and not that of a broken rule.

    A broken rule's names the object and each cause. The other comes from applyJSPatch in apiserver's
    endpoints/handlers/patch.go: without details, its message "the server rejected our request due to an error in our
    request". An admission webhook may leave the details out as well, and says in its message that it was one.
    """
    details = refusal.get("details") or {}
    webhook = str(refusal.get("message", "")).startswith("admission webhook")
    return not (details.get("name") or details.get("causes") or webhook)


def read_answer(method: str, path: str, status: int, data: bytes) -> Json:
    """The body of a good answer; the error that a bad one stands for."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ApiUnavailableError(f"{method} {path}: HTTP {status}")
    try:
        body: Json = json.loads(data or b"{}")
    except ValueError as error:
        if status == HTTPStatus.NOT_FOUND:  # a real API server answers an unknown kind with plain text
            raise KindMissingError(f"{method} {path}: the API server does not know this kind") from error
        raise ApiUnavailableError(f"{method} {path}: HTTP {status} with a body that is not JSON") from error
    if status < HTTPStatus.BAD_REQUEST:
        return body
    message = body.get("message") or f"HTTP {status}"
    if status == HTTPStatus.UNAUTHORIZED:
        raise ApiUnavailableError(f"{method} {path}: {message}")
    if status == HTTPStatus.NOT_FOUND:
        # An object that is missing is named in `details`; an unknown kind is not.
        named = (body.get("details") or {}).get("name")
        raise (ObjectMissingError if named else KindMissingError)(f"{method} {path}: {message}")
    if status == HTTPStatus.CONFLICT or (
        method == "PATCH" and status == HTTPStatus.UNPROCESSABLE_ENTITY and _names_nothing(body)
    ):
        raise ConflictError(message)
    raise RejectedError(message)
