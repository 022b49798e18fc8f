"""What a controller has decided to do, as values, and the one place that does it.

Writes carry the uid or the revision of what was read, so that a decision made on what has changed since is refused by
the API server and made again.
"""

from dataclasses import dataclass

from devcluster.client import Client, Resource
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.workloads.objects import Object
from devcluster.workloads.view import View


@dataclass(frozen=True)
class Create:
    """Make an object that belongs to the owner. `done` is the event that tells of it; {name} is its name."""

    resource: Resource
    body: Object
    done: str = "SuccessfulCreate"
    told: str = "Created pod: {name}"


@dataclass(frozen=True)
class Patch:
    """Change an object as it was read: a merge patch of everything but its status."""

    resource: Resource
    read: Object
    change: Object
    event: Event | None = None


@dataclass(frozen=True)
class Delete:
    """Delete the very object that was read."""

    resource: Resource
    read: Object
    event: Event | None = None


@dataclass(frozen=True)
class Status:
    """Write the owner's status, where it differs from what was read."""

    resource: Resource
    read: Object
    status: Object


Step = Create | Patch | Delete | Status


@dataclass(frozen=True)
class Plan:
    """Steps in order, and in how many seconds to look again even if nothing changes (None: no need)."""

    steps: tuple[Step, ...] = ()
    again: float | None = None


@dataclass
class Executor:
    """Carries out steps about one owner at a time, and keeps the view in step with what it wrote."""

    client: Client
    view: View
    recorder: EventRecorder

    async def carry_out(self, owner: Object, step: Step) -> None:
        """Do one thing. Raises `ApiError` where the API server refuses it."""
        if isinstance(step, Create):
            await self._create(owner, step)
        elif isinstance(step, Patch):
            await self._patch(owner, step)
        elif isinstance(step, Delete):
            await self._delete(owner, step)
        elif (step.read.get("status") or {}) != step.status:
            body = {**step.read, "status": step.status}
            metadata = step.read["metadata"]
            namespace, name = metadata["namespace"], metadata["name"]
            self.view.wrote(step.resource, await self.client.replace(step.resource, namespace, name, body, "status"))

    async def _create(self, owner: Object, step: Create) -> None:
        made = await self.client.create(step.resource, owner["metadata"]["namespace"], step.body)
        self.view.wrote(step.resource, made)
        self.recorder.record(owner, Event("Normal", step.done, step.told.format(name=made["metadata"]["name"])))

    async def _patch(self, owner: Object, step: Patch) -> None:
        metadata = step.read["metadata"]
        revision = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        change = {**step.change, "metadata": {**step.change.get("metadata", {}), **revision}}
        written = await self.client.patch(step.resource, metadata["namespace"], metadata["name"], change)
        self.view.wrote(step.resource, written)
        if step.event:
            self.recorder.record(owner, step.event)

    async def _delete(self, owner: Object, step: Delete) -> None:
        metadata = step.read["metadata"]
        await self.client.delete(step.resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        self.view.deleted(step.read)
        if step.event:
            self.recorder.record(owner, step.event)
