"""What a reconcile of an endpoint does when the API server or Ray says no, or nothing: the rest goes on.

`Api` stands for an API server that keeps what it is given, `Serve` for the Ray of every revision.
"""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
from unit.operator.endpoint_builders import MINIMAL, SETTINGS

from tidemill_api import labels
from tidemill_api.endpoint_contract import APPLICATION, ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT
from tidemill_api.v1alpha1.realtime_endpoint import KIND, RealtimeEndpointSpec
from tidemill_operator import revision_writes
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import Cluster
from tidemill_operator.config import Settings
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.errors import ConflictError, ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.manifests.endpoint_cluster import RevisionOrder, revision_cluster, service
from tidemill_operator.manifests.revisions import revision_of
from tidemill_operator.ray_clusters import RayClusters
from tidemill_operator.serve_api import Figures, ServeApi

KEY = Key("team", "chat")
OTHER_MODEL = {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-360M-Instruct"}


class Api(Cluster):
    """Keeps objects by plural and name; refuses the verbs it is told to, as (verb, plural)."""

    def __init__(self, *refused):
        self.refused = set(refused)
        self.objects, self.calls, self.statuses, self.events = {}, [], [], []

    def _say(self, verb, resource, name):
        self.calls.append((verb, resource.plural, name))
        if (verb, resource.plural) in self.refused:
            raise RejectedError(f"{resource.plural} is forbidden")

    async def get(self, resource, namespace, name):
        self._say("get", resource, name)
        if (resource.plural, name) not in self.objects:
            raise ObjectMissingError(name)
        return self.objects[resource.plural, name]

    async def create(self, resource, manifest):
        name = manifest["metadata"]["name"]
        if resource.plural == "events":
            self.events.append(manifest)
            return manifest
        self._say("create", resource, name)
        if (resource.plural, name) in self.objects:
            raise ConflictError(name)
        made = {**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-of-{name}"}}
        if "stringData" in made:
            made["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in made["stringData"].items()}
        self.objects[resource.plural, name] = made
        return made

    async def merge(self, resource, namespace, name, body):
        self._say("merge", resource, name)
        standing = await self.get(resource, namespace, name)
        self.objects[resource.plural, name] = merged = {
            **standing,
            "metadata": {**standing["metadata"], **body.get("metadata", {})},
            "spec": standing.get("spec", {}) | body.get("spec", {}),
        }
        return merged

    async def patch(self, resource, namespace, name, operations):
        self._say("patch", resource, name)
        return await self.get(resource, namespace, name)

    async def delete(self, resource, namespace, name, uid=""):
        self._say("delete", resource, name)
        self.objects.pop((resource.plural, name), None)

    async def list_all(self, resource, namespace, selector=""):
        for _ in ():
            yield _

    async def patch_status(self, body, status, resource=None):
        self.statuses.append(status)
        return {**body, "status": status}


class Serve(ServeApi):
    """Every head knows the application that `config` says, and one ingress on it which holds `waiting` requests."""

    def __init__(self, running=1, waiting=0):
        self.running, self.waiting = running, waiting
        self.told, self.scaled, self.known, self.hangs, self.silent = [], [], True, False, False

    async def details(self, head):
        if self.silent:
            raise RayUnavailableError(f"{head.ip}: Serve does not answer")
        if not self.known:
            return {"applications": {}}
        states = [("RUNNING", f"10.0.1.{n}") for n in range(1, self.running + 1)]
        deployments = {
            ENGINE_DEPLOYMENT: self._deployment(states),
            INGRESS_DEPLOYMENT: self._deployment([("RUNNING", "10.0.0.1"), *states]),
        }
        settings = SETTINGS.model_dump()
        told = [{"name": INGRESS_DEPLOYMENT, "user_config": settings}, {"name": ENGINE_DEPLOYMENT, "user_config": {}}]
        application = {"status": "RUNNING", "deployments": deployments, "deployed_app_config": {"deployments": told}}
        return {"applications": {APPLICATION: application}}

    def _deployment(self, states):
        replicas = [{"replica_id": f"r-{ip}", "state": state, "node_ip": ip} for state, ip in states]
        return {"status": "HEALTHY", "target_num_replicas": len(replicas), "replicas": replicas}

    async def figures(self, asked):
        now = datetime.now(UTC)
        held = {"10.0.0.1": self.waiting}
        return Figures(tuple(IngressSample(f"r-{ip}", now, held.get(ip, 0), 0, 0.0) for ip in asked.ingress_ips))

    async def deploy(self, head, config):
        self.told.append(config)
        if self.hangs:
            await asyncio.Event().wait()

    async def scale(self, head, deployment, replicas):
        self.scaled.append((deployment, replicas))


def order(spec):
    read = RealtimeEndpointSpec.model_validate(MINIMAL | spec)
    return RevisionOrder("team", "chat", "u", revision_of(read), read, "2.60.0", "cpu", "gpu")


class World:
    """One endpoint; `stands` puts a revision of it into the cache and the API server, with its pods."""

    def __init__(self, api=None, serve=None, **spec):
        self.api, self.serve, self.cache = api or Api(), serve or Serve(), WatchCache(KIND)
        metadata = {"namespace": "team", "name": "chat", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
        self.cache.put(Watched.JOBS, {"metadata": metadata, "spec": MINIMAL | spec, "status": {}})
        self.reconciler = EndpointReconciler(self.api, self.serve, self.cache, Settings())

    def stands(self, *, serving=True, workers=1, pods="Running", **spec):
        made = revision_cluster(order(spec), workers)
        name = made["metadata"]["name"]
        made["metadata"]["uid"] = f"uid-of-{name}"
        self.cache.put(Watched.CLUSTERS, made)
        self.api.objects["rayclusters", name] = made
        secret = {"metadata": {"name": f"{name}-token"}, "data": {"auth_token": base64.b64encode(b"t").decode()}}
        self.api.objects["secrets", f"{name}-token"] = secret
        self.pod(name, "head", "10.0.0.1", "Running")
        for n in range(1, workers + 1):
            self.pod(name, "worker", f"10.0.1.{n}", pods)
        if serving:
            self.cache.put(Watched.SERVICES, service(order(spec)))
        return made

    def pod(self, cluster, role, ip, phase, **metadata):
        running = {"running": {"startedAt": "2026-01-01T12:00:05Z"}} if phase == "Running" else {}
        status = {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
            "containerStatuses": [{"name": f"ray-{role}", "state": running}],
        }
        ours = {
            "ray.io/cluster": cluster,
            "ray.io/node-type": role,
            labels.ROLE: role,
            labels.ENDPOINT_NAME: "chat",
        }
        named = {"namespace": "team", "name": f"{cluster}-{ip}", "uid": ip, "labels": ours, **metadata}
        self.cache.put(Watched.PODS, {"metadata": named, "spec": {"nodeName": "n"}, "status": status})

    async def look(self):
        return await self.reconciler.reconcile(KEY)

    def condition(self, of="Progressing"):
        found = next(c for c in self.api.statuses[-1]["conditions"] if c["type"] == of)
        return found["status"], found["reason"], found["message"]

    def asked(self, verb, plural):
        return [name for said, of, name in self.api.calls if (said, of) == (verb, plural)]


async def test_a_refused_scaling_is_said_holds_nothing_else_up_and_is_not_taken_for_one_that_was_made():
    world = World(Api(("patch", "rayclusters")), Serve(waiting=30))
    world.stands()
    for _ in range(3):
        await world.look()
    status, reason, message = world.condition()
    assert (status, reason) == ("False", "ChangeRefused")
    assert "rayclusters is forbidden" in message
    assert len(world.asked("patch", "rayclusters")) == 1, "again only with back-off"
    assert world.serve.scaled == [], "Serve's sizes follow those of the groups"
    written = world.api.statuses[-1]
    assert (written["replicas"], written["scaling"]["lastScaleTime"], written["queue"]["depth"]) == (1, None, 30)
    assert "ScaledUp" not in {event["reason"] for event in world.api.events}


async def test_a_refused_service_is_said_and_no_revision_is_taken_for_serving():
    world = World(Api(("create", "services")))
    world.stands(serving=False)
    await world.look()
    await world.look()
    assert world.condition()[1] == "ChangeRefused"
    assert "services is forbidden" in world.condition()[2]
    assert world.api.statuses[-1]["revision"]["serving"] == ""
    assert len(world.asked("create", "services")) == 1
    assert "RevisionServes" not in {event["reason"] for event in world.api.events}


async def test_a_cluster_whose_end_no_watch_told_is_found_out_when_its_ray_is_silent():
    world = World()
    name = world.stands()["metadata"]["name"]
    del world.api.objects["rayclusters", name]
    world.serve.silent = True
    with pytest.raises(ConflictError):
        await world.look()
    assert world.cache.cluster("team", name) is None


async def test_a_head_that_lost_its_memory_is_told_what_its_cluster_was_made_for_whatever_the_spec_says_now():
    world = World(model=OTHER_MODEL)
    world.stands()
    world.serve.known = False
    await world.look()
    (put,) = world.serve.told
    assert put["applications"][0]["args"]["model"]["source"] == MINIMAL["model"]["source"]


async def test_a_cluster_that_nobody_knows_the_arguments_of_is_told_nothing():
    world = World(model=OTHER_MODEL)
    del world.stands()["metadata"]["annotations"]
    world.serve.known = False
    await world.look()
    assert world.serve.told == []
    (event,) = [event for event in world.api.events if event["reason"] == "ServeRefused"]
    assert labels.SERVE_ARGUMENTS in event["message"]


async def test_a_put_that_hangs_keeps_no_look_waiting_and_is_not_made_twice(monkeypatch):
    monkeypatch.setattr(revision_writes, "PUT_PATIENCE_SECONDS", 0.01)
    world = World()
    world.stands(serving=False)
    world.serve.known, world.serve.hangs = False, True
    async with asyncio.timeout(10):
        for _ in range(3):
            await world.look()
    assert len(world.serve.told) == 1


async def test_the_token_of_a_revision_is_its_clusters_and_goes_with_it():
    world = World()
    await world.look()
    (name,) = world.asked("create", "rayclusters")
    (owner,) = world.api.objects["secrets", f"{name}-token"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("RayCluster", name, f"uid-of-{name}")
    world.api.objects.pop(("rayclusters", name))
    world.cache.drop(Watched.CLUSTERS, Key("team", name))
    with pytest.raises(ConflictError, match="token"):
        await world.look()
    await world.look()
    assert len(world.asked("create", "rayclusters")) == 2, "with a token of its own, not one that goes with the old"


async def test_a_cluster_that_may_not_be_made_is_said_and_not_told_as_made():
    world = World(Api(("get", "secrets")))
    await world.look()
    assert world.condition()[1] == "ClusterRejected"
    assert "RevisionCreated" not in {event["reason"] for event in world.api.events}


@pytest.mark.parametrize("may", [True, False])
async def test_a_token_that_could_not_be_handed_over_goes_with_the_order_to_delete_its_cluster(may):
    api = Api(*([] if may else [("merge", "secrets")]))
    api.objects |= {("rayclusters", "c"): {"metadata": {}}, ("secrets", "c-token"): {"metadata": {}}}
    await RayClusters(api, WatchCache(KIND)).delete("team", "c", "uid", owns_token=True)
    assert (("secrets", "c-token") in api.objects) == may, "its own cluster takes it along"


async def test_a_cluster_is_made_again_once_the_pods_of_the_one_before_have_left():
    world = World()
    name = order({}).name
    going = datetime.now(UTC) + timedelta(minutes=10)
    world.pod(name, "worker", "10.0.1.1", "Running", deletionTimestamp=going.isoformat())
    await world.look()
    assert world.asked("create", "rayclusters") == []
    assert "are leaving" in world.condition()[2]
    world.cache.drop(Watched.PODS, Key("team", f"{name}-10.0.1.1"))
    await world.look()
    assert world.asked("create", "rayclusters") == [name]


@pytest.mark.parametrize(
    ("owner", "gone"), [("chat-other", timedelta(minutes=10)), ("", -timedelta(minutes=1))], ids=["others", "lost node"]
)
async def test_pods_of_another_cluster_and_on_lost_nodes_are_not_waited_for(owner, gone):
    world = World()
    until = (datetime.now(UTC) + gone).isoformat()
    world.pod(owner or order({}).name, "worker", "10.0.1.1", "Running", deletionTimestamp=until)
    await world.look()
    assert len(world.asked("create", "rayclusters")) == 1


@pytest.mark.parametrize("pods", ["Pending", "Running"])
async def test_secrets_are_looked_for_while_pods_do_not_start(pods):
    keys = {"auth": {"secretRef": {"name": "keys"}}}
    world = World(serve=Serve(running=0), **keys)
    world.stands(pods=pods, **keys)
    await world.look()
    said = world.condition()[1] == "SecretNotFound" and "Secret keys is not" in world.condition()[2]
    assert (said, "keys" in world.asked("get", "secrets")) == (pods == "Pending", pods == "Pending")
