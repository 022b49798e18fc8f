"""A small world in which an endpoint lives with a virtual clock: users, API server, KubeRay, Serve, and requests.

The planner is the real one. Around it stand models of how those parts behave, as far as it can notice: KubeRay deletes
the pods that are named, and pods of its own choice where `replicas` is below what is left; a deleted pod's node drains,
and Serve stops replicas on draining nodes first, starting ones next, and then running ones of its own choice (Ray 2.60,
`migrate_replicas_on_draining_nodes` and `_get_replicas_to_stop`). What must never happen is counted or asserted.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from unit.operator.builders import T0, make_cluster
from unit.operator.endpoint_builders import MINIMAL, SETTINGS, make_endpoint

from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT
from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_operator.core.endpoint import plan as actions
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.endpoint.snapshot import (
    DEPLOY_FAILED,
    DeploymentView,
    EndpointSnapshot,
    ReplicaView,
    RevisionView,
    ServeView,
    ServiceView,
)
from tidemill_operator.core.endpoint.victims import EngineSample
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster
from tidemill_operator.core.snapshot import WorkerPod

TICK = 2
HEAD_START, LOAD, SERVICE, SLOTS = 6, 8, 6, 4
GRACE, NOTICE = 700, 4
"""Seconds until a head is ready, a model loaded, a request answered; requests at once in an engine; seconds of a pod's
grace, and until Serve knows that a node drains."""


@dataclass
class Replica:
    name: str
    pod: str = ""
    ready_at: int = 0
    state: str = "STARTING"
    ends: list = field(default_factory=list)  # when each request in it is answered


@dataclass
class Deployment:
    target: int = 0
    replicas: list = field(default_factory=list)
    failures: int = 0

    def given_up(self):
        """As Serve gives a deployment up: three failed starts for each replica that is to be, and none that works."""
        started = any(replica.state != "STARTING" for replica in self.replicas)
        return not started and self.target > 0 and self.failures >= 3 * self.target


@dataclass
class Ray:
    """One revision's cluster with all that runs on it."""

    revision: str
    born: int
    replicas: int = 0
    most: int = 4
    named: tuple = ()
    pods: dict = field(default_factory=dict)  # name -> second of its deletion, or None
    deployed: bool = False
    engine: Deployment = field(default_factory=Deployment)
    ingress: Deployment = field(default_factory=Deployment)
    attempt: int = 0
    told: int = 0  # when, in seconds
    queue: list = field(default_factory=list)  # arrival seconds
    head_since: int = 0

    def in_flight(self):
        return len(self.queue) + sum(len(replica.ends) for replica in self.engine.replicas)


class World:
    def __init__(self):
        self.second = 0
        self.endpoint = make_endpoint()
        self.rays: dict[str, Ray] = {}
        self.service = ""
        self.broken: set[str] = set()  # models that cannot load
        self.doors_broken = False  # no ingress starts
        self.heads_stuck = False  # those of revisions that do not serve
        self.unready = False  # the readiness of pods
        self.silent = False
        self.asleep = False  # the operator is down
        self.forgetful = False  # its status writes are lost
        self.rate = 0
        self.number = 0
        self.answered = 0
        self.failed = 0
        self.events: list[str] = []
        self.chosen_by_others = 0
        self.served: list[str] = []

    @property
    def now(self):
        return T0 + timedelta(seconds=self.second)

    @property
    def wanted(self):
        return self.endpoint.spec.model.name

    # What users and fate do

    def edit(self, **fields):
        dumped = self.endpoint.spec.model_dump(by_alias=True, exclude_none=True) | fields
        spec = RealtimeEndpointSpec.model_validate(dumped)
        self.endpoint = replace(self.endpoint, spec=spec, generation=self.endpoint.generation + 1)

    def user_wants(self, model):
        self.edit(model=MINIMAL["model"] | {"name": model})

    def user_bounds(self, least, most):
        self.edit(replicas={"min": least, "max": most})

    def pod_dies(self):
        """The pod that is busiest, without a word."""
        ray = self.rays.get(self.service)
        alive = [name for name, gone in ray.pods.items() if gone is None] if ray else []
        if alive:
            self._lose(ray, alive[-1])

    def _lose(self, ray, pod):
        lost = [replica for replica in ray.engine.replicas if replica.pod == pod]
        ray.engine.replicas = [replica for replica in ray.engine.replicas if replica.pod != pod]
        ray.ingress.replicas = [replica for replica in ray.ingress.replicas if replica.pod != pod]
        del ray.pods[pod]
        return sum(len(replica.ends) for replica in lost)

    def head_dies(self):
        """Without fault tolerance everything of that cluster is lost, but for its pods."""
        ray = self.rays.get(self.service)
        if ray is not None:
            self.rays[self.service] = Ray(
                ray.revision, ray.born, ray.replicas, ray.most, ray.named, dict(ray.pods), head_since=self.second
            )

    # The others' second

    def tick(self):
        self.second += TICK
        for ray in self.rays.values():
            self._kuberay(ray)
            if ray.deployed and self._head_ready(ray):
                self._serve(ray, ray.ingress, slow=0)
                self._serve(ray, ray.engine, slow=LOAD)
            self._answer(ray)
        self._clients()
        if not self.asleep:
            self._operate()

    def _head_ready(self, ray):
        stuck = self.heads_stuck and ray.revision != self.service
        return self.second >= ray.head_since + HEAD_START and not stuck

    def _kuberay(self, ray):
        for name in ray.named:
            if name in ray.pods and ray.pods[name] is None:
                ray.pods[name] = self.second
        alive = [name for name, gone in ray.pods.items() if gone is None]
        for name in alive[ray.replicas :]:
            self.chosen_by_others += bool(ray.in_flight())
            ray.pods[name] = self.second
        for _ in range(ray.replicas - len(alive)):
            self.number += 1
            ray.pods[f"p{self.number}"] = None
        for name, gone in list(ray.pods.items()):
            busy = any(r.pod == name for r in [*ray.engine.replicas, *ray.ingress.replicas])
            if gone is not None and (not busy or self.second - gone > GRACE):
                self.failed += self._lose(ray, name)

    def _serve(self, ray, deployment, slow):
        for replica in deployment.replicas:
            told_to_go = ray.pods.get(replica.pod)
            if told_to_go is not None and self.second - told_to_go >= NOTICE and replica.state == "RUNNING":
                replica.state = "PENDING_MIGRATION"
        self._stop_surplus(ray, deployment)
        for _ in range(deployment.target - sum(r.state in ("STARTING", "RUNNING") for r in deployment.replicas)):
            if not deployment.given_up():
                self.number += 1
                deployment.replicas.append(Replica(f"r{self.number}"))
        self._place(ray, deployment, slow)
        deployment.replicas = [r for r in deployment.replicas if r.state != "STOPPING" or r.ends]

    def _stop_surplus(self, ray, deployment):
        draining = [r for r in deployment.replicas if r.state == "PENDING_MIGRATION"]
        running = sorted((r for r in deployment.replicas if r.state == "RUNNING"), key=lambda r: r.pod == "head")
        starting = [r for r in deployment.replicas if r.state == "STARTING"]
        for replica in draining[: max(len(running) + len(draining) - deployment.target, 0)]:
            replica.state = "STOPPING"
        surplus = len(running) + len(starting) - deployment.target
        for replica in (starting + running)[: max(surplus, 0)]:
            self.chosen_by_others += bool(replica.ends) and deployment.target > 0
            replica.state = "STOPPING"

    def _place(self, ray, deployment, slow):
        taken = {replica.pod for replica in deployment.replicas}
        free = [name for name, gone in ray.pods.items() if gone is None and name not in taken]
        if deployment is ray.ingress and "head" not in taken:
            free.insert(0, "head")
        for replica in deployment.replicas:
            if replica.state == "STARTING" and not replica.pod and free:
                replica.pod, replica.ready_at = free.pop(0), self.second + slow
            elif replica.state == "STARTING" and replica.pod and self.second >= replica.ready_at:
                if ray.revision in self.broken if deployment is ray.engine else self.doors_broken:
                    deployment.failures += 1
                    replica.state = "STOPPING"
                else:
                    replica.state = "RUNNING"

    def _answer(self, ray):
        for replica in ray.engine.replicas:
            before = len(replica.ends)
            replica.ends = [end for end in replica.ends if end > self.second]
            self.answered += before - len(replica.ends)
            while ray.queue and replica.state == "RUNNING" and len(replica.ends) < SLOTS:
                ray.queue.pop(0)
                replica.ends.append(self.second + SERVICE)

    def _clients(self):
        ray = self.rays.get(self.service)
        if ray is not None and any(replica.state == "RUNNING" for replica in ray.ingress.replicas):
            ray.queue += [self.second] * (self.rate * TICK)

    # The operator

    def _operate(self):
        decided = plan(self.snapshot())
        for action in decided.actions:
            self._carry_out(action)
        if not self.forgetful:
            self.endpoint = replace(self.endpoint, status=decided.status)
        self.events += [str(event.reason) for event in decided.events]

    def snapshot(self):
        service = ServiceView(self.service) if self.service else None
        views = tuple(self._view(ray) for ray in self.rays.values())
        return EndpointSnapshot(
            self.now, self.endpoint, self.wanted, settings=SETTINGS, revisions=views, service=service
        )

    def _view(self, ray):
        ready = self._head_ready(ray)
        cluster = make_cluster(
            name=ray.revision,
            uid=f"uid-{ray.revision}",
            head_ready=ready,
            head_ip="10.0.0.1" if ready else "",
            replicas=ray.replicas,
            max_replicas=ray.most,
            workers_to_delete=ray.named,
            head_ready_since=T0 + timedelta(seconds=ray.head_since + HEAD_START),
        )
        pods = tuple(
            WorkerPod(name, f"ip-{name}", not self.unready, gone is not None) for name, gone in ray.pods.items()
        )
        if self.silent or not ready:
            return RevisionView(ray.revision, cluster, pods, None, "no answer.")
        serve = ServeView(
            ray.deployed,
            ingress=self._deployment(ray.ingress),
            engine=self._deployment(ray.engine),
            settings=SETTINGS,
            attempt=ray.attempt,
            told_time=T0 + timedelta(seconds=ray.told),
        )
        running = sum(len(replica.ends) for replica in ray.engine.replicas)
        oldest = float(self.second - ray.queue[0]) if ray.queue else 0.0
        up = [replica.name for replica in ray.ingress.replicas if replica.state == "RUNNING"]
        figures = [IngressSample(name, self.now, 0, 0, 0.0) for name in up]
        figures[:1] = [IngressSample(name, self.now, len(ray.queue), running, oldest) for name in up[:1]]
        engines = [EngineSample(f"ip-{r.pod}", self.now, 0, len(r.ends)) for r in ray.engine.replicas if r.pod]
        return RevisionView(ray.revision, cluster, pods, serve, "", tuple(figures), tuple(engines))

    @staticmethod
    def _ip(pod):
        return "10.0.0.1" if pod == "head" else f"ip-{pod}" if pod else ""

    def _deployment(self, deployment):
        shown = tuple(ReplicaView(r.name, r.state, self._ip(r.pod)) for r in deployment.replicas)
        status = DEPLOY_FAILED if deployment.given_up() else "HEALTHY"
        return DeploymentView(deployment.target, shown, status, "RuntimeError: broken")

    def _carry_out(self, action):
        match action:
            case actions.CreateRevision(revision, workers):
                self.rays[revision] = Ray(revision, self.second, head_since=self.second, replicas=workers)
            case DeleteCluster(name):
                self.failed += self.rays.pop(name).in_flight()
            case ScaleCluster(name, replicas, most, named):
                ray = self.rays[name]
                ray.replicas, ray.most, ray.named = replicas, most, named
            case actions.Deploy(revision, _, engine, ingress, _, attempt):
                ray = self.rays[revision]
                ray.deployed, ray.engine.target, ray.ingress.target = True, engine, ingress
                if attempt != ray.attempt:
                    ray.engine.failures = ray.ingress.failures = 0
                ray.attempt, ray.told = attempt, self.second
            case actions.ScaleServe(revision, _, deployment, replicas):
                ray = self.rays[revision]
                (ray.engine if deployment == ENGINE_DEPLOYMENT else ray.ingress).target = replicas
            case actions.PointService(revision):
                ray = self.rays[revision]
                assert any(replica.state == "RUNNING" for replica in ray.engine.replicas)
                assert sum(replica.state == "RUNNING" for replica in ray.ingress.replicas) > 1
                assert not self.unready
                self.service = revision
                self.served.append(revision)
