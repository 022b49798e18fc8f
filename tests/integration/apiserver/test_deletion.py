"""Deletion over plain HTTP: grace, finalizers, preconditions, owners, namespaces."""

import pytest
import pytest_asyncio
from api_server_process import MERGE, config_map, gone, pod, thing, until


@pytest_asyncio.fixture
async def node(http):
    """A node that exists, so that its kubelet is waited for."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
    await http("POST", "/api/v1/nodes", body, code=201)
    yield "node-a"
    await http("DELETE", "/api/v1/nodes/node-a", code=200)


async def test_a_pod_of_a_node_that_is_gone_is_not_waited_for(http, pods):
    await http("POST", pods, pod(nodeName="never-was"), code=201)
    await http("DELETE", f"{pods}/p", code=200)
    await gone(http, f"{pods}/p")


async def test_a_running_pod_has_its_grace_period_to_end(http, pods, node):
    await http("POST", pods, pod(nodeName=node, terminationGracePeriodSeconds=20), code=201)
    going = await http("DELETE", f"{pods}/p", code=200)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 20
    again = await http("DELETE", f"{pods}/p", code=200, gracePeriodSeconds="5")
    assert again["metadata"]["deletionGracePeriodSeconds"] == 5
    await http("GET", f"{pods}/p", code=200)
    await http("DELETE", f"{pods}/p", code=200, gracePeriodSeconds="0")
    await http("GET", f"{pods}/p", code=404)


async def test_a_pod_that_never_ran_goes_at_once(http, pods):
    await http("POST", pods, pod(), code=201)
    await http("DELETE", f"{pods}/p", code=200)
    await http("GET", f"{pods}/p", code=404)


async def test_a_disruption_budget_holds_an_eviction_back(http, pods, namespace):
    await http("POST", pods, {**pod(), "metadata": {"name": "p", "labels": {"app": "a"}}}, code=201)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await http("PATCH", f"{pods}/p/status", ready, code=200, type=MERGE)
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    await http("POST", budgets, budget, code=201)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    refused = await http("POST", f"{pods}/p/eviction", eviction, code=429)
    (cause,) = refused["details"]["causes"]
    told = "The disruption budget b needs 1 healthy pods and has 1 currently"
    assert (cause["reason"], cause["message"]) == ("DisruptionBudget", told)
    assert "retryAfterSeconds" not in refused["details"]  # kubectl would retry inside of one request
    await http("DELETE", f"{budgets}/b", code=200)
    await http("POST", f"{pods}/p/eviction", eviction, code=201)
    await http("GET", f"{pods}/p", code=404)


async def budgeted(http, pods, namespace, minimum, **statuses):
    """Pods by name with their phase and readiness, and a budget over all of them."""
    for name, (phase, ready) in statuses.items():
        await http("POST", pods, {**pod(), "metadata": {"name": name, "labels": {"app": "a"}}}, code=201)
        status = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
        await http("PATCH", f"{pods}/{name}/status", {"status": status}, code=200, type=MERGE)
    spec = {"minAvailable": minimum, "selector": {"matchLabels": {"app": "a"}}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    await http("POST", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", budget, code=201)


EVICTION_CASES = {
    "one that waits for a node": ({"p": ("Pending", False), "q": ("Running", False)}, 201),
    "one that has ended": ({"p": ("Succeeded", False), "q": ("Running", False)}, 201),
    "one that is not ready, while the others suffice": ({"p": ("Running", False), "q": ("Running", True)}, 201),
    "not one that is not ready, while too few are": ({"p": ("Running", False), "q": ("Running", False)}, 429),
    "not the last that is ready": ({"p": ("Running", True), "q": ("Running", False)}, 429),
}


@pytest.mark.parametrize(("statuses", "code"), EVICTION_CASES.values(), ids=EVICTION_CASES.keys())
async def test_a_budget_of_one_lets_go(http, pods, namespace, statuses, code):
    await budgeted(http, pods, namespace, 1, **statuses)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    await http("POST", f"{pods}/p/eviction", eviction, code=code)


async def test_an_eviction_tried_for_show_evicts_nobody(http, pods, namespace):
    await http("POST", pods, pod(), code=201)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    await http("POST", f"{pods}/p/eviction", {**eviction, "deleteOptions": {"dryRun": ["All"]}}, code=201)
    await http("GET", f"{pods}/p", code=200)


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(http, mine):
    body = thing()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await http("POST", mine, body, code=201)
    await http("DELETE", f"{mine}/t", code=200)
    going = await http("GET", f"{mine}/t", code=200)
    assert going["metadata"]["deletionTimestamp"]
    refused = await http(
        "PATCH", f"{mine}/t", {"metadata": {"finalizers": ["example.com/hold", "new"]}}, code=422, type=MERGE
    )
    assert "no new finalizers can be added" in refused["message"]
    await http("PATCH", f"{mine}/t", {"metadata": {"finalizers": None}}, code=200, type=MERGE)
    await http("GET", f"{mine}/t", code=404)


async def test_a_delete_keeps_to_its_preconditions(http, maps):
    made = await http("POST", maps, config_map(), code=201)
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        refused = await http("DELETE", f"{maps}/c", {"preconditions": wrong}, code=409)
        assert "Precondition failed" in refused["message"]
    await http("DELETE", f"{maps}/c", {"preconditions": {"uid": made["metadata"]["uid"]}}, code=200)


async def test_a_collection_is_deleted_by_selector(http, maps):
    for name in "abc":
        body = config_map(name)
        body["metadata"]["labels"] = {"keep": str(name == "b").lower()}
        await http("POST", maps, body, code=201)
    await http("DELETE", maps, code=200, labelSelector="keep=false")
    left = await http("GET", maps, code=200)
    assert [item["metadata"]["name"] for item in left["items"]] == ["b", "kube-root-ca.crt"]


def owned(name, owner, **reference):
    body = config_map(name)
    meta = owner["metadata"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"], **reference}
    body["metadata"]["ownerReferences"] = [owner]
    return body


async def test_what_an_object_owns_goes_with_it_through_generations(http, maps):
    grandparent = await http("POST", maps, config_map("grandparent"), code=201)
    parent = await http("POST", maps, owned("parent", grandparent), code=201)
    await http("POST", maps, owned("child", parent), code=201)
    await http("DELETE", f"{maps}/grandparent", code=200)
    await gone(http, f"{maps}/parent")
    await gone(http, f"{maps}/child")


async def test_foreground_deletion_waits_for_what_blocks_it(http, maps):
    owner = await http("POST", maps, config_map("owner"), code=201)
    child = owned("child", owner, blockOwnerDeletion=True)
    child["metadata"]["finalizers"] = ["example.com/hold"]
    await http("POST", maps, child, code=201)
    await http("DELETE", f"{maps}/owner", {"propagationPolicy": "Foreground"}, code=200)

    async def child_is_going():
        return (await http("GET", f"{maps}/child", code=200))["metadata"].get("deletionTimestamp")

    await until(child_is_going)
    going = await http("GET", f"{maps}/owner", code=200)
    assert going["metadata"]["finalizers"] == ["foregroundDeletion"]
    await http("PATCH", f"{maps}/child", {"metadata": {"finalizers": None}}, code=200, type=MERGE)
    await gone(http, f"{maps}/owner")


async def test_orphaned_objects_stay_without_their_owner(http, maps):
    owner = await http("POST", maps, config_map("owner"), code=201)
    await http("POST", maps, owned("child", owner), code=201)
    await http("DELETE", f"{maps}/owner", {"propagationPolicy": "Orphan"}, code=200)
    await gone(http, f"{maps}/owner")
    left = await http("GET", f"{maps}/child", code=200)
    assert "ownerReferences" not in left["metadata"]


async def test_an_object_made_for_an_owner_that_is_gone_goes_too(http, maps):
    owner = await http("POST", maps, config_map("owner"), code=201)
    await http("DELETE", f"{maps}/owner", code=200)
    await http("POST", maps, owned("late", owner), code=201)
    await gone(http, f"{maps}/late")


async def test_a_namespace_is_emptied_before_it_goes(http):
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "to-empty"}}
    await http("POST", "/api/v1/namespaces", body, code=201)
    inside = "/api/v1/namespaces/to-empty/configmaps"
    held = config_map()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await http("POST", inside, held, code=201)
    going = await http("DELETE", "/api/v1/namespaces/to-empty", code=200)
    assert going["status"]["phase"] == "Terminating"
    refused = await http("POST", inside, config_map("late"), code=403)
    assert "because it is being terminated" in refused["message"]

    async def map_is_going():
        return (await http("GET", f"{inside}/c", code=200))["metadata"].get("deletionTimestamp")

    await until(map_is_going)
    await http("PATCH", f"{inside}/c", {"metadata": {"finalizers": []}}, code=200, type=MERGE)
    await gone(http, "/api/v1/namespaces/to-empty")
    refused = await http("DELETE", "/api/v1/namespaces/default", code=403)
    assert refused["reason"] == "Forbidden"
