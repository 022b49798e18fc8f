"""A small asynchronous client for any Kubernetes API server, shared by the dev cluster's own controllers.

It sits below the kubelet and the KubeRay stand-in and knows no kind: an object is the plain dictionary the
server sent. The kubeconfig is read by `kubernetes.aio` (TLS, tokens, client certificates, exec plugins);
requests are plain aiohttp. What it refuses to do: caching behind one's back, retrying a write, and hiding
a conflict. Watching is in `Client.watch`; `cache.py` keeps what a watch says in a dictionary.
"""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config

logger = logging.getLogger(__name__)

Object = dict[str, Any]
JsonPatch = list[Object]
Key = tuple[str, str]

PAGE = 1000
"""Objects asked for in one page of a list."""
WATCH_SECONDS = 300
"""How long the server may hold one watch before it ends it; the next goes on from the same revision."""
LONGEST_BACKOFF_SECONDS = 5.0
"""A dev cluster's API server comes back within seconds, so waiting longer only slows a developer down."""


@dataclass(frozen=True)
class Resource:
    """One kind as the API server's paths name it; `group` is empty for the core kinds."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path of the collection, the object or its subresource, without a leading server address."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (root + scope, self.plural, name, subresource) if part)


PODS = Resource("", "v1", "pods")
NODES = Resource("", "v1", "nodes", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
SECRETS = Resource("", "v1", "secrets")
CONFIG_MAPS = Resource("", "v1", "configmaps")
SERVICES = Resource("", "v1", "services")
ENDPOINTS = Resource("", "v1", "endpoints")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
EVENTS = Resource("", "v1", "events")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
JOBS = Resource("batch", "v1", "jobs")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims")
PERSISTENT_VOLUMES = Resource("", "v1", "persistentvolumes", namespaced=False)
CUSTOM_RESOURCE_DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
RAY_CLUSTERS = Resource("ray.io", "v1", "rayclusters")


class ApiError(Exception):
    """The API server refused a request: `status` is the HTTP code, `reason` the Status object's reason."""

    def __init__(self, status: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}


class NotFound(ApiError):  # noqa: N818 - named after the reason in the Status object
    """404: the object, or the whole kind, is not there."""


class Conflict(ApiError):  # noqa: N818 - named after the reason in the Status object
    """409: another writer changed the object since its resourceVersion was read."""


class AlreadyExists(ApiError):  # noqa: N818 - named after the reason in the Status object
    """409: an object of that name stands already."""


class Gone(ApiError):  # noqa: N818 - named after HTTP's own word for it
    """410: the asked revision is no longer kept; list again."""


def key_of(obj: Mapping[str, Any]) -> Key:
    """(namespace, name) of an object; the namespace is empty for cluster-wide kinds."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def error_of(status: int, body: bytes) -> ApiError:
    """The exception for an error answer, whether its body is a Status object or a proxy's page."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {"message": body.decode(errors="replace")[:500]}
    if not isinstance(answer, dict):
        answer = {"message": str(answer)}
    reason = answer.get("reason") or f"HTTP{status}"
    kinds: dict[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Gone}
    kind = AlreadyExists if reason == "AlreadyExists" else kinds.get(status, ApiError)
    return kind(status, reason, answer.get("message", ""), answer.get("details"))


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of a stream, however long: aiohttp's own reader refuses those above its buffer."""
    pending = b""
    async for chunk in response.content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line


class Client:
    """Requests to one API server. An async context manager: the session lives inside the `with`."""

    def __init__(self, configuration: Configuration | None = None, kubeconfig: Path | None = None) -> None:
        self._configuration = configuration
        self._kubeconfig = kubeconfig
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: str | Path) -> Self:
        """A client for the current context of the kubeconfig at `path`, read when the `with` is entered."""
        return cls(kubeconfig=Path(path))

    async def __aenter__(self) -> Self:
        if self._configuration is None:
            self._configuration = Configuration()
            await load_kube_config(  # type: ignore[no-untyped-call]  # the library has no annotation here
                config_file=str(self._kubeconfig), client_configuration=self._configuration, persist_config=False
            )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_ssl_context(self._configuration)),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def _open(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None, **options: Any
    ) -> aiohttp.ClientResponse:
        """Send one request and return the open answer; an error answer is raised as `ApiError`."""
        if self._session is None or self._configuration is None:
            raise RuntimeError("the client is used outside of its `async with`")
        headers = {"Accept": "application/json", **options.pop("headers", {})}
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        data = None if body is None else json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
        url = str(self._configuration.host).rstrip("/") + path
        response = await self._session.request(
            method, url, params=dict(query or {}), data=data, headers=headers, **options
        )
        if response.status >= 400:
            async with response:
                raise error_of(response.status, await response.read())
        return response

    async def _request(self, method: str, path: str, **options: Any) -> Object:
        async with await self._open(method, path, **options) as response:
            answer: Object = json.loads(await response.read())
            return answer

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object. Raises `NotFound`."""
        return await self._request("GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """All objects (of one namespace, or of all) and the revision the list was taken at."""
        items: list[Object] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": label_selector} if label_selector else {})
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            items.extend(page.get("items") or [])
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def create(
        self, resource: Resource, namespace: str | None, body: Object, *, name: str = "", subresource: str = ""
    ) -> Object:
        """Create an object, or post to a subresource of one; raises `AlreadyExists` where one of that name stands."""
        return await self._request("POST", resource.path(namespace, name, subresource), body=body)

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Object, subresource: str = ""
    ) -> Object:
        """Write a whole object; raises `Conflict` if its resourceVersion is not the newest."""
        return await self._request("PUT", resource.path(namespace, name, subresource), body=body)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Object | JsonPatch,
        *,
        content_type: str = "application/merge-patch+json",
        subresource: str = "",
    ) -> Object:
        """Patch an object: a dictionary as a merge patch (or as `content_type` says), a list as a JSON patch."""
        if not isinstance(patch, dict):
            content_type = "application/json-patch+json"
        return await self._request(
            "PATCH",
            resource.path(namespace, name, subresource),
            body=patch,
            headers={"Content-Type": content_type},
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> None:
        """Delete an object, only the one of `uid` where that is given (else `Conflict`). Raises `NotFound`."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self._request("DELETE", resource.path(namespace, name), body=options)

    async def watch(
        self, resource: Resource, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """List, then watch for ever: yields (ADDED, MODIFIED or DELETED, object), and ("SYNCED", {}) after a list.

        A broken connection or a revision that is gone leads to a new list after a short back-off; what
        changed meanwhile is told as if it had been watched, vanished objects as DELETED with their last
        known content. Errors of the server (the kind is not there yet, no permission) are logged and retried.
        """
        known: dict[Key, Object] = {}
        backoff = 0.1
        while True:
            try:
                items, revision = await self.list(resource, namespace, label_selector)
                for event in _differences(known, items):
                    yield event
                known = {key_of(item): item for item in items}
                yield "SYNCED", {}
                async for kind, obj in self._events(resource, namespace, label_selector, revision):
                    backoff = 0.1
                    remember(known, kind, obj)
                    yield kind, obj
            except Gone:
                logger.debug("watch of %s: the revision is gone, listing again", resource.plural)
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                logger.warning("watch of %s: %s; trying again in %.1f s", resource.plural, error, backoff)
            await asyncio.sleep(backoff * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)

    async def _events(
        self, resource: Resource, namespace: str | None, label_selector: str, revision: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Watch from `revision` on, over as many requests as it takes; raises when a new list is needed."""
        while True:
            query = {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": revision,
                "timeoutSeconds": str(WATCH_SECONDS),
            } | ({"labelSelector": label_selector} if label_selector else {})
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SECONDS + 30)
            response = await self._open("GET", resource.path(namespace), query=query, timeout=timeout)
            async with response:
                async for line in _lines(response):
                    event = json.loads(line)
                    obj: Object = event["object"]
                    if event["type"] == "ERROR":
                        raise error_of(int(obj.get("code", 500)), json.dumps(obj).encode())
                    revision = obj["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], obj
            await asyncio.sleep(0.05)  # a server that ends each watch at once must not make us spin


def _ssl_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def remember(known: dict[Key, Object], kind: str, obj: Object) -> None:
    """Carry a watch event over into a dictionary of objects."""
    if kind == "DELETED":
        known.pop(key_of(obj), None)
    else:
        known[key_of(obj)] = obj


def _differences(known: Mapping[Key, Object], items: list[Object]) -> list[tuple[str, Object]]:
    """The events that lead from what was known to what a new list says."""
    events: list[tuple[str, Object]] = []
    listed = {key_of(item): item for item in items}
    for key, old in known.items():
        new = listed.get(key)
        if new is None or new["metadata"].get("uid") != old["metadata"].get("uid"):
            events.append(("DELETED", old))
    for key, new in listed.items():
        before = known.get(key)
        if before is None or before["metadata"].get("uid") != new["metadata"].get("uid"):
            events.append(("ADDED", new))
        elif before["metadata"].get("resourceVersion") != new["metadata"].get("resourceVersion"):
            events.append(("MODIFIED", new))
    return events
