"""A cluster of values for the workload controllers' tests: it carries out their steps and plays kubelet and clock.

Stands for the API server (objects, versions, generations), the kubelet (pods that become ready or end when told so)
and the time.
"""

import itertools
from copy import deepcopy
from dataclasses import dataclass, field

from devcluster.client import DEPLOYMENTS, JOBS, PODS, REPLICA_SETS
from devcluster.workloads import deployments, jobs, replica_sets
from devcluster.workloads.objects import controlled_by, rfc3339
from devcluster.workloads.pods import is_active, is_ready
from devcluster.workloads.steps import Create, Delete, Patch

KINDS = {DEPLOYMENTS: "Deployment", REPLICA_SETS: "ReplicaSet", JOBS: "Job", PODS: "Pod"}


def template(mark="one", **spec):
    labels = {"app": "web"}
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": mark}], **spec}}


def deployment(replicas=3, mark="one", **spec):
    selector = {"matchLabels": {"app": "web"}}
    wanted = {"replicas": replicas, "selector": selector, "template": template(mark), "progressDeadlineSeconds": 600}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {**wanted, **spec}}


def job(**spec):
    wanted = {"template": template(restartPolicy="Never"), "parallelism": 1, "completions": 1, "backoffLimit": 6}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {**wanted, **spec}}


@dataclass
class World:
    """Objects by kind and name, and the `now` of their controllers."""

    now: float = 1_000_000.0
    objects: dict = field(default_factory=lambda: {kind: {} for kind in KINDS})
    events: list = field(default_factory=list)
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def add(self, resource, body):
        number = next(self._numbers)
        metadata = {"namespace": "team", "uid": f"uid-{number}", "resourceVersion": str(number), "generation": 1,
                    "creationTimestamp": rfc3339(self.now)}  # fmt: skip
        body = deepcopy({"kind": KINDS[resource], **body})
        name = body["metadata"].get("name") or f"{body['metadata']['generateName']}{number}"
        body["metadata"] = {**body["metadata"], **metadata, "name": name}
        self.objects[resource][name] = body
        return body

    def all(self, resource):
        return list(self.objects[resource].values())

    def edit(self, resource, name, **spec):
        found = self.objects[resource][name]
        found["spec"] = {**found["spec"], **deepcopy(spec)}
        found["metadata"]["generation"] += 1
        self.now += 1

    def do(self, resource, plan):
        """Carry out one plan; whether it changed anything but a status."""
        busy = False
        for step in plan.steps:
            busy = self._do(resource, step) or busy
        return busy

    def _do(self, resource, step):
        if isinstance(step, Create):
            self.add(step.resource, step.body)
        elif isinstance(step, Delete):
            self._delete(step.resource, step.read)
        elif isinstance(step, Patch):
            found = self.objects[step.resource][step.read["metadata"]["name"]]
            found["metadata"] |= deepcopy(step.change.get("metadata", {}))
            if step.change.get("spec"):
                found["spec"] |= step.change["spec"]
                found["metadata"]["generation"] += 1
            if step.event:
                self.events.append(step.event.message)
        else:
            self.objects[resource][step.read["metadata"]["name"]]["status"] = deepcopy(step.status)
            return False
        return True

    def _delete(self, resource, obj):
        name = obj["metadata"]["name"]
        if resource == PODS and self.objects[PODS][name].get("status"):
            self.objects[PODS][name]["metadata"]["deletionTimestamp"] = rfc3339(self.now)
        else:
            del self.objects[resource][name]

    def round(self):
        """Every controller once; whether any of them changed something."""
        busy = False
        for one in self.all(DEPLOYMENTS):
            plan = deployments.plan(deepcopy(one), deepcopy(self.all(REPLICA_SETS)), self.all(PODS), self.now)
            busy = self.do(DEPLOYMENTS, plan) or busy
        for one in self.all(REPLICA_SETS):
            plan = replica_sets.plan(deepcopy(one), deepcopy(self.all(PODS)), self.now)
            busy = self.do(REPLICA_SETS, plan) or busy
        for one in self.all(JOBS):
            busy = self.do(JOBS, jobs.plan(deepcopy(one), deepcopy(self.all(PODS)), self.now)) or busy
        return busy

    def settle(self):
        """Rounds until nothing changes: what is left then waits for pods or for the time."""
        for _ in range(200):
            before = deepcopy(self.objects)
            if not self.round() and before == self.objects:
                return
        raise AssertionError("the controllers never rest")

    def pods(self, wanted=is_active):
        return [pod for pod in self.all(PODS) if wanted(pod)]

    def tell(self, pod, phase="Running", *, ready=True, seconds_ago=0.0):
        """Play the kubelet: a pod runs or has ended."""
        since = rfc3339(self.now - seconds_ago)
        states = [{"state": {"terminated": {"finishedAt": since}}}] if phase in {"Succeeded", "Failed"} else []
        ready = ready and phase == "Running"
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
        status = {"phase": phase, "conditions": [condition], "containerStatuses": states}
        self.objects[PODS][pod["metadata"]["name"]]["status"] = status

    def end(self, pod):
        """Play the kubelet: a pod that was told to end has gone."""
        del self.objects[PODS][pod["metadata"]["name"]]

    def run(self, *, pods_end=True):
        """Let every pod get ready, and those that are told to end go, until the controllers rest."""
        for _ in range(100):
            self.settle()
            ending = [pod for pod in self.all(PODS) if pod["metadata"].get("deletionTimestamp")] if pods_end else []
            fresh = [pod for pod in self.pods() if not is_ready(pod)]
            if not ending and not fresh:
                return
            for pod in ending:
                self.end(pod)
            for pod in fresh:
                self.tell(pod)
        raise AssertionError("the pods never rest")

    def images(self):
        """The images of the pods that run."""
        return [pod["spec"]["containers"][0]["image"] for pod in self.pods()]

    def sets(self):
        return controlled_by(self.objects[DEPLOYMENTS]["web"], self.all(REPLICA_SETS))

    def condition(self, kind, name="web", resource=DEPLOYMENTS):
        """Status and reason of a condition; None without it."""
        conditions = self.objects[resource][name].get("status", {}).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == kind), None)
