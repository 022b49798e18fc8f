"""The NetworkPolicy of each RayCluster: there before its pods, as long as them, and as the settings say."""

import asyncio
from copy import deepcopy
from itertools import count

import pytest
from golden.render import UID, children

from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import NETWORK_POLICIES, RAY_CLUSTERS, Cluster
from tidemill_operator.config import Settings
from tidemill_operator.errors import ConfigError, ConflictError, ObjectMissingError, RejectedError
from tidemill_operator.network_policies import LEAVING_SECONDS, Kept, NetworkPolicies
from tidemill_operator.ray_clusters import NewRayCluster, RayClusterRefusedError, RayClusters

ON = {
    "TIDEMILL_NETWORK_POLICIES": "true",
    "TIDEMILL_OPERATOR_NAMESPACE": "tidemill",
    "TIDEMILL_OPERATOR_SELECTOR": "app=tidemill,part=operator",
}
SECRET, CLUSTER = children("cpu")
OWNER = Key("team", "tickets")
NAME = CLUSTER["metadata"]["name"]


class Api(Cluster):
    """Stands for the API server: the NetworkPolicies alone, with what a write needs to be guarded by."""

    def __init__(self, refuses=()):
        self.policies, self.versions, self.refuses, self.calls = {}, count(1), refuses, []

    def _stamped(self, body, uid=None):
        metadata = body["metadata"] | {"resourceVersion": str(next(self.versions)), "uid": uid or str(id(body))}
        return deepcopy(body) | {"metadata": metadata}

    def _asked(self, verb, resource):
        self.calls.append((verb, resource.plural))
        if verb in self.refuses:
            raise RejectedError(f"{resource.plural} is forbidden")

    async def create(self, resource, manifest):
        self._asked("create", resource)
        name = manifest["metadata"]["name"]
        if resource is not NETWORK_POLICIES:
            return self._stamped(manifest)
        if name in self.policies:
            raise ConflictError(f"{name} exists")
        self.policies[name] = self._stamped(manifest)
        return self.policies[name]

    async def get(self, resource, namespace, name):
        self._asked("get", resource)
        if name not in self.policies:
            raise ObjectMissingError(name)
        return self.policies[name]

    async def patch(self, resource, namespace, name, operations):
        self._asked("patch", resource)
        test, labels, spec = operations
        standing = self.policies[name]
        if test["value"] != standing["metadata"]["resourceVersion"]:
            raise ConflictError("the test failed")
        body = {**standing, "spec": spec["value"], "metadata": standing["metadata"] | {"labels": labels["value"]}}
        self.policies[name] = self._stamped(body, standing["metadata"]["uid"])
        return self.policies[name]

    async def delete(self, resource, namespace, name, uid=""):
        self._asked("delete", resource)
        assert self.policies.pop(name)["metadata"]["uid"] == uid


def cluster(**metadata):
    return CLUSTER | {"metadata": CLUSTER["metadata"] | {"uid": "c", "resourceVersion": "1"} | metadata}


def world(*, stands=True, refuses=(), **settings):
    api, cache = Api(refuses), WatchCache()
    if stands:
        cache.put(Watched.CLUSTERS, cluster())
    return api, cache, NetworkPolicies(api, cache, Settings.from_environment(ON | settings))


def keep(policies):
    return asyncio.run(policies.keep(OWNER, UID))


def pod(**metadata):
    labels = {"ray.io/cluster": NAME}
    return {"metadata": {"name": "p", "namespace": "team", "uid": "p", "labels": labels} | metadata}


def test_a_cluster_that_runs_without_a_policy_gets_one():
    api, _, policies = world()
    assert keep(policies) == Kept()
    assert api.policies[NAME]["spec"]["podSelector"] == {"matchLabels": {"ray.io/cluster": NAME}}


def test_a_policy_that_is_as_wanted_is_left_alone():
    api, _, policies = world()
    keep(policies)
    keep(policies)
    assert api.calls == [("create", "networkpolicies")]


def test_a_deleted_policy_is_made_again():
    api, cache, policies = world()
    keep(policies)
    api.policies.clear()
    cache.drop(Watched.POLICIES, Key("team", NAME))
    keep(policies)
    assert NAME in api.policies


@pytest.mark.parametrize("edit", [{"spec": {"podSelector": {}}}, {"labels": {}}])
def test_what_somebody_else_changed_is_set_right(edit):
    api, cache, policies = world()
    keep(policies)
    right = deepcopy(api.policies[NAME])
    changed = deepcopy(right)
    changed["spec"] |= edit.get("spec", {})
    changed["metadata"] |= {"labels": edit["labels"]} if "labels" in edit else {}
    api.policies[NAME] = api._stamped(changed, right["metadata"]["uid"])
    cache.put(Watched.POLICIES, api.policies[NAME])
    keep(policies)
    assert api.policies[NAME]["spec"] == right["spec"]
    assert api.policies[NAME]["metadata"]["labels"] == right["metadata"]["labels"]


def test_a_changed_setting_reaches_a_running_cluster():
    api, cache, policies = world()
    keep(policies)
    keep(NetworkPolicies(api, cache, Settings.from_environment(ON | {"TIDEMILL_METRICS_NAMESPACES": "prom"})))
    assert "prom" in str(api.policies[NAME]["spec"])


def test_a_write_over_something_newer_is_tried_again():
    api, cache, policies = world()
    keep(policies)
    standing = api.policies[NAME]
    cache.put(Watched.POLICIES, standing | {"spec": {}, "metadata": standing["metadata"] | {"resourceVersion": "99"}})
    with pytest.raises(ConflictError):
        keep(policies)


def test_a_policy_stays_as_long_as_a_pod_of_its_cluster_and_then_goes():
    api, cache, policies = world()
    keep(policies)
    cache.put(Watched.PODS, pod(deletionTimestamp="2026-01-01T00:00:00Z"))
    cache.drop(Watched.CLUSTERS, Key("team", NAME))
    assert keep(policies) == Kept(LEAVING_SECONDS)
    assert NAME in api.policies
    cache.drop(Watched.PODS, Key("team", "p"))
    assert keep(policies) == Kept()
    assert api.policies == {}
    assert cache.policies_of(OWNER) == ()


def test_what_an_owner_left_that_had_this_name_before_is_left_to_the_garbage_collector():
    api, cache, policies = world()
    assert asyncio.run(policies.keep(OWNER, "another")) == Kept()
    keep(policies)
    cache.drop(Watched.CLUSTERS, Key("team", NAME))
    asyncio.run(policies.keep(OWNER, "another"))
    assert api.calls == [("create", "networkpolicies")]


def test_a_policy_of_a_cluster_that_is_on_its_way_out_is_neither_made_nor_removed():
    api, cache, policies = world(stands=False)
    cache.put(Watched.CLUSTERS, cluster(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert keep(policies) == Kept()
    assert api.calls == []


def test_a_policy_of_somebody_else_is_left_alone_and_that_is_said():
    api, _, policies = world()
    api.policies[NAME] = {"metadata": {"name": NAME, "namespace": "team", "resourceVersion": "1"}, "spec": {}}
    (event,) = keep(policies).events
    assert (event.type, event.reason) == ("Warning", "NetworkPolicyRefused")
    assert "is not this cluster's; delete it" in event.message
    assert api.policies[NAME]["spec"] == {}


def test_a_policy_that_stood_in_the_way_and_is_gone_is_a_conflict_which_is_tried_again():
    api, _, policies = world()
    api.policies[NAME] = deepcopy(CLUSTER)
    create = api.create

    async def create_too_late(resource, manifest):
        try:
            return await create(resource, manifest)
        finally:
            api.policies.clear()

    api.create = create_too_late
    with pytest.raises(ConflictError, match="stood in the way and is gone"):
        keep(policies)


def test_a_missing_right_is_said_and_asked_for_again_later():
    api, _, policies = world(refuses=("create",))
    assert "networkpolicies is forbidden" in keep(policies).problem
    assert keep(policies) == Kept(), "the next try is not due yet"
    assert api.calls == [("create", "networkpolicies")]


def test_without_the_setting_nothing_is_asked_for():
    api, _, policies = world(TIDEMILL_NETWORK_POLICIES="false")
    assert keep(policies) == Kept()
    asyncio.run(policies.before(CLUSTER))
    assert api.calls == []


def test_an_owner_without_clusters_and_policies_costs_no_request():
    api, _, policies = world(stands=False)
    assert keep(policies) == Kept()
    assert api.calls == []


def test_the_policy_stands_before_the_cluster_is_made():
    api, cache, policies = world(stands=False)
    asyncio.run(RayClusters(api, cache, policies).create(NewRayCluster("job", CLUSTER, SECRET)))
    assert api.calls == [("create", "networkpolicies"), ("create", "secrets"), ("create", "rayclusters")]


def test_without_the_right_to_its_policy_no_cluster_is_made():
    api, cache, policies = world(stands=False, refuses=("create",))
    with pytest.raises(RayClusterRefusedError, match="its NetworkPolicy or its Secret: networkpolicies is forbidden"):
        asyncio.run(RayClusters(api, cache, policies).create(NewRayCluster("job", CLUSTER, SECRET)))
    assert ("create", RAY_CLUSTERS.plural) not in api.calls


def test_a_kept_policy_asks_for_the_sooner_of_two_looks():
    assert Kept(5.0).sooner(None) == 5.0
    assert Kept(5.0).sooner(2.0) == 2.0
    assert Kept().sooner(None) is None


@pytest.mark.parametrize("missing", ["TIDEMILL_OPERATOR_NAMESPACE", "TIDEMILL_OPERATOR_SELECTOR"])
def test_policies_that_would_shut_the_operator_out_are_refused_at_start(missing):
    with pytest.raises(ConfigError, match="would shut the operator out"):
        Settings.from_environment({name: value for name, value in ON.items() if name != missing})


def test_the_operators_labels_are_read_from_one_line():
    api, _, policies = world()
    keep(policies)
    operator = api.policies[NAME]["spec"]["ingress"][1]["from"][0]
    assert operator["podSelector"]["matchLabels"] == {"app": "tidemill", "part": "operator"}
