"""The thin shell: watches, asks the pure modules what to do about one object at a time, and does it.

A change of a Pod wakes the workloads of its namespace that may care. A round that the API server refused because
another write came first is made again when the watch tells of that; any other refusal is tried again with a back-off
and said in an event.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from devcluster.client import (
    DEPLOYMENTS,
    JOBS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    Key,
    NotFound,
    Resource,
)
from devcluster.kubelet.events import Event, EventRecorder
from devcluster.kuberay.work_queue import KeyedQueue
from devcluster.workloads import budgets, deployments, jobs, replica_sets
from devcluster.workloads.objects import Object, controller_of, selects
from devcluster.workloads.steps import Create, Executor, Plan, Status, Step
from devcluster.workloads.view import View

logger = logging.getLogger(__name__)

WORKERS = 4
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0


@dataclass(frozen=True)
class Kind:
    """One kind of workload, what decides about one object of it, and the `kind` that owner references name."""

    kind: str
    resource: Resource
    plan: Callable[["Workloads", Object, float], Plan]


class Workloads:
    """Runs against one API server until cancelled."""

    def __init__(self, client: Client) -> None:
        self._queue = KeyedQueue()
        self._failures: dict[Key, int] = {}
        resources = (*(kind.resource for kind in KINDS.values()), PODS)
        self.view = View(client, resources, self._on_change)
        self._recorders = {name: EventRecorder(client, f"{name}-controller") for name in KINDS}
        self._executors = {name: Executor(client, self.view, one) for name, one in self._recorders.items()}

    async def run(self) -> None:
        """Work until cancelled. Nothing is decided before every watch has its first list."""
        async with contextlib.AsyncExitStack() as stack:
            for recorder in self._recorders.values():
                await stack.enter_async_context(recorder)
            for cache in self.view.caches.values():
                await stack.enter_async_context(cache)
            for cache in self.view.caches.values():
                await cache.synced.wait()
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(self._work())

    def _on_change(self, resource: Resource, obj: Object) -> None:
        for key in self._woken(resource, obj):
            self._queue.add(key)

    def _woken(self, resource: Resource, obj: Object) -> Iterable[Key]:
        """The keys of what may have to be decided anew: the object itself, its owner, who selects it."""
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        for name, kind in KINDS.items():
            if kind.resource == resource:
                yield namespace, f"{name}/{metadata['name']}"
        owner = controller_of(obj)
        if owner is not None:
            for name, kind in KINDS.items():
                if kind.kind == owner["kind"]:
                    yield namespace, f"{name}/{owner['name']}"
        if resource == REPLICA_SETS:
            yield from self._all("disruption", namespace)
        if resource in (PODS, REPLICA_SETS):
            yield from self._selecting(resource, obj, namespace)

    def _all(self, name: str, namespace: str) -> Iterable[Key]:
        for key in self.view.caches[KINDS[name].resource].objects:
            if key[0] == namespace:
                yield namespace, f"{name}/{key[1]}"

    def _selecting(self, resource: Resource, obj: Object, namespace: str) -> Iterable[Key]:
        """Who may adopt the object, or counts it; a Pod's end also lets a recreation of its Deployment go on."""
        interested = ("disruption", "replicaset", "deployment") if resource == PODS else ("deployment",)
        for name in interested:
            for key, one in self.view.caches[KINDS[name].resource].objects.items():
                if key[0] == namespace and selects(one["spec"].get("selector"), obj["metadata"].get("labels")):
                    yield namespace, f"{name}/{key[1]}"

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            delay: float | None = LONGEST_RETRY_SECONDS
            try:
                delay = await self._round(key)
            except Exception:  # the boundary of one round: a bug met with one object must not stop the others
                logger.exception("%s/%s: the round failed on a bug", *key)
            self._queue.done(key)
            if delay == 0:
                self._queue.add(key)
            elif delay is not None:
                self._queue.add_later(key, delay)

    async def _round(self, key: Key) -> float | None:
        """One round for one object. Seconds until the next at the latest; None: only when something changes."""
        name, _, of_object = key[1].partition("/")
        kind = KINDS[name]
        obj = self.view.get(kind.resource, (key[0], of_object))
        if obj is None:
            self._failures.pop(key, None)
            return None
        plan = kind.plan(self, obj, time.time())
        failure = await self._carry_out(name, obj, plan)
        if failure is None:
            self._failures.pop(key, None)
            busy = any(not isinstance(step, Status) for step in plan.steps)
            return 0 if busy else plan.again
        self._failures[key] = self._failures.get(key, 0) + 1
        logger.info("%s/%s: %s", *key, failure)
        return float(min(FIRST_RETRY_SECONDS * 2 ** min(self._failures[key] - 1, 10), LONGEST_RETRY_SECONDS))

    async def _carry_out(self, name: str, obj: Object, plan: Plan) -> Exception | None:
        """Do what was decided; the error that ends it early, after which the status is written nevertheless."""
        failure: Exception | None = None
        for step in plan.steps:
            if failure is not None and not isinstance(step, Status):
                continue
            try:
                await self._executors[name].carry_out(obj, _with_failure(step, failure))
            except (Conflict, NotFound, AlreadyExists) as error:
                logger.debug("%s: %s", obj["metadata"]["name"], error)  # the watch is about to tell of what came first
                return error
            except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                failure = error
                if isinstance(step, Create):
                    self._recorders[name].record(obj, Event("Warning", "FailedCreate", f"Error creating: {error}"))
        return failure

    def plan_of_deployment(self, obj: Object, now: float) -> Plan:
        """About a Deployment."""
        namespace = obj["metadata"]["namespace"]
        return deployments.plan(obj, self.view.all(REPLICA_SETS, namespace), self.view.all(PODS, namespace), now)

    def plan_of_replica_set(self, obj: Object, now: float) -> Plan:
        """About a ReplicaSet."""
        return replica_sets.plan(obj, self.view.all(PODS, obj["metadata"]["namespace"]), now)

    def plan_of_job(self, obj: Object, now: float) -> Plan:
        """About a Job."""
        problem = jobs.unsupported(obj)
        if problem:
            self._recorders["job"].record(obj, Event("Warning", "NotOffered", problem))
            return Plan()
        return jobs.plan(obj, self.view.all(PODS, obj["metadata"]["namespace"]), now)

    def plan_of_budget(self, obj: Object, now: float) -> Plan:
        """About a PodDisruptionBudget."""
        namespace = obj["metadata"]["namespace"]
        scales = budgets.scales_of(self.view.all(DEPLOYMENTS, namespace), self.view.all(REPLICA_SETS, namespace))
        return budgets.plan(obj, self.view.all(PODS, namespace), scales, now)


KINDS = {
    "deployment": Kind("Deployment", DEPLOYMENTS, Workloads.plan_of_deployment),
    "replicaset": Kind("ReplicaSet", REPLICA_SETS, Workloads.plan_of_replica_set),
    "job": Kind("Job", JOBS, Workloads.plan_of_job),
    "disruption": Kind("PodDisruptionBudget", POD_DISRUPTION_BUDGETS, Workloads.plan_of_budget),
}


def _with_failure(step: Step, failure: Exception | None) -> Step:
    """A ReplicaSet says in its status why it has fewer Pods than it should."""
    if failure is None or not isinstance(step, Status) or step.resource != REPLICA_SETS:
        return step
    return Status(step.resource, step.read, replica_sets.with_failure(step.status, str(failure), time.time()))
