"""What the parts of one Pod's worker share: the Pod as last seen, its sandbox, and the ways to tell and to look up."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from devcluster.cache import Cache
from devcluster.client import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiError,
    Client,
    NotFound,
    Resource,
)
from devcluster.kubelet.environment import ConfigError, PodFacts, Reference
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kubelet.images import Image
from devcluster.kubelet.sandbox import Sandbox
from devcluster.kubelet.states import BackOff, seconds_of
from devcluster.kubelet.tokens import TokenKey
from devcluster.kubelet.volumes import data_of

Object = dict[str, Any]

RESOURCES = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}


@dataclass(frozen=True)
class Settings:
    """How this kubelet runs containers."""

    state: Path
    search_path: str
    back_off: BackOff = field(default_factory=BackOff)
    log_bytes: int = 10 << 20
    host_address: str = ""
    images: Mapping[str, Image] = field(default_factory=dict)


class Lookup:
    """Secrets, ConfigMaps, claims and Services by name: from a watch, or asked for where that lags; and tokens."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._listeners: set[asyncio.Event] = set()
        kinds = (SECRETS, CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS)
        self.caches = {kind: Cache(client, kind, on_change=self._tell) for kind in kinds}
        self.caches[SERVICES] = Cache(client, SERVICES)

    def _tell(self, _kind: str, _obj: Object) -> None:
        for listener in self._listeners:
            listener.set()

    def listen(self, resource: Resource, on_change: Callable[[str, Object], None]) -> None:
        """Have one more function called at each change of one kind, before those who wait for it."""

        def both(kind: str, obj: Object) -> None:
            on_change(kind, obj)
            self._tell(kind, obj)

        self.caches[resource].on_change = both

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None if the API server has none of that name."""
        present = self.caches[resource].get(namespace, name)
        if present is not None:
            return present
        with contextlib.suppress(NotFound):
            return await self._client.get(resource, namespace, name)
        return None

    async def data(self, namespace: str, references: set[Reference]) -> dict[Reference, Mapping[str, bytes]]:
        """The decoded contents of those Secrets and ConfigMaps that exist.

        Raises `ConfigError` where the API server does not say.
        """
        found: dict[Reference, Mapping[str, bytes]] = {}
        for kind, name in references:
            try:
                obj = await self.find(RESOURCES[kind], namespace, name)
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                raise ConfigError(f"{kind.lower()} {name!r} cannot be read: {error}") from error
            if obj is not None:
                found[kind, name] = data_of({"kind": kind, **obj})
        return found

    async def token(self, pod: Object, request: Object) -> Object:
        """Make a TokenRequest for a Pod's account. Raises `ApiError`."""
        account = pod["spec"].get("serviceAccountName") or "default"
        namespace = pod["metadata"]["namespace"]
        return await self._client.create(SERVICE_ACCOUNTS, namespace, request, name=account, subresource="token")

    async def api_server(self) -> Object | None:
        """The Service that leads to the API server, if the cluster has it. Raises `ConfigError`."""
        try:
            return await self.find(SERVICES, "default", "kubernetes")
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            raise ConfigError(f"the address of the API server cannot be read: {error}") from error

    @contextlib.contextmanager
    def changes(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change of any of these objects, while inside."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


@dataclass
class PodContext:
    """One Pod being run. `changed` is called whenever its status may have changed."""

    pod: Object
    settings: Settings
    lookup: Lookup
    recorder: EventRecorder
    allocatable: Mapping[str, str]
    changed: Callable[[], None]
    _sandbox: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox; only asked for once it stands."""
        if self._sandbox is None:
            raise RuntimeError("the sandbox is not made yet")
        return self._sandbox

    @sandbox.setter
    def sandbox(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def tell(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about the Pod."""
        self.recorder.record(self.pod, Event(kind, reason, message, container))

    def facts(self, data: Mapping[Reference, Mapping[str, bytes]], tokens: Mapping[TokenKey, bytes]) -> PodFacts:
        """What the environment and the volumes are resolved with."""
        return PodFacts(self.sandbox.address, self.settings.host_address, self.allocatable, data, tokens)

    def grace_seconds(self) -> float:
        """How long this Pod may take to end, by its spec."""
        seconds = self.pod["spec"].get("terminationGracePeriodSeconds")
        return 30.0 if seconds is None else float(seconds)

    def deadline(self) -> float:
        """When a Pod being deleted has to be gone, in seconds since 1970; it may be moved forward meanwhile.

        The API cuts fractions of a second off, and no Pod is to get less than its grace: hence one second more.
        """
        stamp = self.pod["metadata"].get("deletionTimestamp")
        return seconds_of(stamp) + 1 if stamp else 0.0
