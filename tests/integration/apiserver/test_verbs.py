"""The verbs over plain HTTP: what is stored, shown, refused and deleted, with real `Status` errors."""

import asyncio
import base64

import pytest
import pytest_asyncio
from api_server_process import thing, thing_definition

MERGE, JSON_PATCH, STRATEGIC = (
    f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch")
)
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name="p", **spec):
    containers = [{"name": "c", "image": "i"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


@pytest.fixture
def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def pods(namespace):
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def mine(things, namespace):
    """The things of this test's namespace."""
    return f"{things}/namespaces/{namespace}/things"


async def until(check, seconds=10.0):
    """Wait until an asynchronous check holds, and return what it returned."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await check()):
        assert asyncio.get_running_loop().time() < deadline, f"not so within {seconds} s"
        await asyncio.sleep(0.02)
    return found


async def gone(http, path):
    async def missing():
        return (await http("GET", path))[0] == 404

    await until(missing)


async def test_a_created_object_has_its_metadata_and_is_found_again(http, maps):
    made = await http("POST", maps, config_map(a="1"), code=201)
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0
    assert await http("GET", f"{maps}/c", code=200) == made


async def test_a_name_is_generated_from_its_prefix(http, maps):
    body = {**config_map(), "metadata": {"generateName": "prefix-"}}
    names = {(await http("POST", maps, body, code=201))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("prefix-") and len(name) == len("prefix-") + 5 for name in names)


async def test_a_dry_run_stores_nothing(http, maps):
    await http("POST", maps, config_map(), code=201, dryRun="All")
    await http("GET", f"{maps}/c", code=404)
    await http("POST", maps, config_map(a="1"), code=201)
    await http("PATCH", f"{maps}/c", {"data": {"a": "2"}}, code=200, type=MERGE, dryRun="All")
    await http("DELETE", f"{maps}/c", code=200, dryRun="All")
    assert (await http("GET", f"{maps}/c", code=200))["data"] == {"a": "1"}


@pytest.mark.parametrize(
    ("request_made", "answer", "message"),
    [
        (("GET", "/c", None), (404, "NotFound"), 'configmaps "c" not found'),
        (("DELETE", "/c", None), (404, "NotFound"), 'configmaps "c" not found'),
        (("POST", "", {**config_map(), "kind": "Secret"}), (400, "BadRequest"), "must be of type ConfigMap"),
        (("POST", "", config_map("BAD")), (422, "Invalid"), "a lowercase RFC 1123 subdomain"),
        (("POST", "", {**config_map(), "metadata": {}}), (422, "Invalid"), "name or generateName is required"),
        (
            ("POST", "", {**config_map(), "metadata": {"name": "c", "namespace": "else"}}),
            (400, "BadRequest"),
            "namespace",
        ),
        (("POST", "", {**config_map(), "data": {"a": 1}}), (400, "BadRequest"), "cannot be handled as a ConfigMap"),
        (("POST", "", b"{"), (400, "BadRequest"), "json parse error"),
        (("PUT", "/c", config_map("other")), (404, "NotFound"), 'configmaps "c" not found'),
        (("GET", "/c/nonsense", None), (404, "NotFound"), "could not find the requested resource"),
        (("POST", "/c", config_map()), (405, "MethodNotAllowed"), "does not allow this method"),
    ],
)
async def test_a_wrong_request_is_answered_with_a_status(http, maps, request_made, answer, message):
    (method, path, body), (code, reason) = request_made, answer
    status = await http(method, maps + path, body, code=code)
    assert (status["kind"], status["status"], status["code"], status["reason"]) == ("Status", "Failure", code, reason)
    assert message in status["message"]


async def test_a_second_create_is_refused(http, maps):
    await http("POST", maps, config_map(), code=201)
    status = await http("POST", maps, config_map(), code=409)
    assert (status["reason"], status["details"]) == ("AlreadyExists", {"name": "c", "kind": "configmaps"})


async def test_a_create_in_a_missing_namespace_is_refused(http):
    status = await http("POST", "/api/v1/namespaces/nowhere/configmaps", config_map(), code=404)
    assert status["message"] == 'namespaces "nowhere" not found'


async def test_a_stale_update_is_a_conflict(http, maps):
    old = await http("POST", maps, config_map(a="1"), code=201)
    await http("PUT", f"{maps}/c", {**old, "data": {"a": "2"}}, code=200)
    status = await http("PUT", f"{maps}/c", {**old, "data": {"a": "3"}}, code=409)
    assert status["reason"] == "Conflict"
    assert "the object has been modified" in status["message"]
    wrong = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "4"}}
    await http("PATCH", f"{maps}/c", wrong, code=409, type=MERGE)


async def test_a_write_that_changes_nothing_makes_no_revision(http, maps):
    first = await http("POST", maps, config_map(a="1"), code=201)
    again = await http("PATCH", f"{maps}/c", {"data": {"a": "1"}}, code=200, type=MERGE)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_the_patches_are_told_apart_by_their_type(http, pods):
    await http("POST", pods, pod(), code=201)
    changed = [{"op": "test", "path": "/spec/containers/0/image", "value": "i"}]
    changed += [{"op": "replace", "path": "/spec/containers/0/image", "value": "j"}]
    await http("PATCH", f"{pods}/p", changed, code=200, type=JSON_PATCH)
    await http("PATCH", f"{pods}/p", changed, code=422, type=JSON_PATCH)
    strategic = {"spec": {"containers": [{"name": "c", "image": "k"}]}}
    merged = await http("PATCH", f"{pods}/p", strategic, code=200, type=STRATEGIC)
    assert merged["spec"]["containers"][0]["image"] == "k"
    assert merged["spec"]["containers"][0]["terminationMessagePath"]
    status = await http("PATCH", f"{pods}/p", strategic, code=415, type="text/plain")
    assert status["reason"] == "UnsupportedMediaType"


async def test_a_custom_resource_takes_no_strategic_merge_patch(http, mine):
    await http("POST", mine, thing(), code=201)
    await http("PATCH", f"{mine}/t", {"spec": {"max": 1}}, code=415, type=STRATEGIC)


async def test_a_custom_object_is_defaulted_pruned_and_judged(http, mine):
    made = await http("POST", mine, thing(lost=1, free={"kept": [1]}), code=201)
    assert made["spec"] == {"text": "x", "min": 1, "replicas": 1, "free": {"kept": [1]}}
    refused = await http("POST", mine, thing("u", min=-1, max="three"), code=422)
    assert refused["message"].startswith('Thing.example.com "u" is invalid: [')
    fields = {cause["field"]: cause["reason"] for cause in refused["details"]["causes"]}
    assert fields == {"spec.min": "FieldValueInvalid", "spec.max": "FieldValueTypeInvalid"}
    refused = await http("POST", mine, thing("u", max=0), code=422)
    assert refused["message"].endswith('spec: Invalid value: "object": min must not be above max')
    refused = await http("PATCH", f"{mine}/t", {"spec": {"text": "y"}}, code=422, type=MERGE)
    assert refused["message"].endswith('spec.text: Invalid value: "string": text is immutable')


async def test_unknown_fields_are_an_error_a_warning_or_nothing(http, mine):
    refused = await http("POST", mine, thing(lost=1), code=400, fieldValidation="Strict")
    assert refused["message"].endswith('strict decoding error: unknown field "spec.lost"')
    for validation, warnings in (("Warn", ['299 - "unknown field \\"spec.lost\\""']), ("Ignore", [])):
        async with http.session.post(
            http.url + mine, json=thing(validation.lower(), lost=1), params={"fieldValidation": validation}
        ) as response:
            assert response.status == 201
            assert response.headers.getall("Warning", []) == warnings


async def test_status_and_spec_are_written_apart_and_only_spec_counts(http, mine):
    made = await http("POST", mine, {**thing(), "status": {"replicas": 9}}, code=201)
    assert "status" not in made
    assert made["metadata"]["generation"] == 1
    both = {"spec": {"max": 5}, "status": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    reported = await http("PATCH", f"{mine}/t/status", both, code=200, type=MERGE)
    assert reported["status"] == {"replicas": 3}
    assert "max" not in reported["spec"]
    assert "labels" not in reported["metadata"]
    assert reported["metadata"]["generation"] == 1
    changed = await http("PATCH", f"{mine}/t", {**both, "status": {"replicas": 7}}, code=200, type=MERGE)
    assert (changed["status"], changed["spec"]["max"]) == ({"replicas": 3}, 5)
    assert changed["metadata"]["generation"] == 2
    labelled = await http("PATCH", f"{mine}/t", {"metadata": {"labels": {"a": "c"}}}, code=200, type=MERGE)
    assert labelled["metadata"]["generation"] == 2


async def test_a_custom_object_is_replaced_only_with_its_revision(http, mine):
    await http("POST", mine, thing(), code=201)
    refused = await http("PUT", f"{mine}/t", thing(max=3), code=422)
    assert "must be specified for an update" in refused["message"]


async def test_the_scale_subresource_reads_and_writes_replicas(http, mine):
    await http("POST", mine, thing(), code=201)
    await http("PATCH", f"{mine}/t/status", {"status": {"replicas": 2, "selector": "a=b"}}, code=200, type=MERGE)
    scale = await http("GET", f"{mine}/t/scale", code=200)
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 2, "selector": "a=b"},
    )
    await http("PUT", f"{mine}/t/scale", {**scale, "spec": {"replicas": 4}}, code=200)
    await http("PUT", f"{mine}/t/scale", {**scale, "spec": {"replicas": 5}}, code=409)
    await http("PATCH", f"{mine}/t/scale", {"spec": {"replicas": -1}}, code=422, type=MERGE)
    changed = await http("GET", f"{mine}/t", code=200)
    assert (changed["spec"]["replicas"], changed["metadata"]["generation"]) == (4, 2)


async def test_a_list_is_selected_and_cut_into_chunks(http, mine):
    for number in range(7):
        body = thing(f"t{number}", text=f"text-{number % 2}")
        body["metadata"]["labels"] = {"n": str(number), "odd": str(number % 2)}
        await http("POST", mine, body, code=201)

    async def names(**query):
        return [item["metadata"]["name"] for item in (await http("GET", mine, code=200, **query))["items"]]

    assert await names(labelSelector="odd=1") == ["t1", "t3", "t5"]
    assert await names(labelSelector="n in (1,2),odd!=1") == ["t2"]
    assert await names(fieldSelector="metadata.name=t4") == ["t4"]
    assert await names(fieldSelector="spec.text=text-1") == ["t1", "t3", "t5"]
    await http("GET", mine, code=400, fieldSelector="spec.max=1")
    seen, token = [], ""
    while True:
        chunk = await http("GET", mine, code=200, limit="3", **({"continue": token} if token else {}))
        seen.append([item["metadata"]["name"] for item in chunk["items"]])
        token = chunk["metadata"].get("continue", "")
        if not token:
            break
    assert seen == [["t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    await http("GET", mine, code=400, limit="3", **{"continue": "nonsense"})


async def test_a_list_of_the_future_is_refused(http, mine):
    status = await http("GET", mine, code=504, resourceVersion="999999999")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_objects_are_shown_as_tables_and_as_metadata(http, mine):
    await http("POST", mine, thing(), code=201)
    condition = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await http("PATCH", f"{mine}/t/status", condition, code=200, type=MERGE)
    shown = await http("GET", mine, code=200, headers=TABLE)
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Ready", "Age"]
    assert shown["rows"][0]["cells"][:2] == ["t", "True"]
    only = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    listed = await http("GET", mine, code=200, headers=only)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "spec" not in listed["items"][0]


async def test_a_secrets_plain_text_becomes_data(http, namespace):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "hush"}}
    made = await http("POST", f"/api/v1/namespaces/{namespace}/secrets", secret, code=201)
    assert made["data"] == {"token": base64.b64encode(b"hush").decode()}
    assert "stringData" not in made
    assert made["type"] == "Opaque"


async def test_an_event_is_the_same_object_in_both_groups(http, namespace):
    about = {"kind": "Pod", "name": "p", "namespace": namespace}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": about,
        "message": "m",
        "type": "Normal",
    }
    await http("POST", f"/api/v1/namespaces/{namespace}/events", event, code=201)
    other = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    shown = await http("GET", f"{other}/e", code=200)
    assert (shown["apiVersion"], shown["regarding"], shown["note"]) == ("events.k8s.io/v1", about, "m")
    listed = await http("GET", other, code=200, fieldSelector="regarding.name=p")
    assert [item["note"] for item in listed["items"]] == ["m"]
    await http("PATCH", f"{other}/e", {"note": "n"}, code=200, type=MERGE)
    assert (await http("GET", f"/api/v1/namespaces/{namespace}/events/e", code=200))["message"] == "n"


async def test_a_services_address_is_its_own_and_stays(http, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
    first = await http("POST", path, service, code=201)
    second = await http("POST", path, {**service, "metadata": {"name": "b"}}, code=201)
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]
    replaced = await http("PUT", f"{path}/a", {**service, "spec": {"ports": [{"port": 81}]}}, code=200)
    assert replaced["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    headless = {**service, "metadata": {"name": "h"}, "spec": {**service["spec"], "clusterIP": "None"}}
    assert (await http("POST", path, headless, code=201))["spec"]["clusterIP"] == "None"


async def test_a_pod_is_bound_once_and_its_spec_is_fixed(http, pods):
    await http("POST", pods, pod(), code=201)
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "node-a"},
    }
    await http("POST", f"{pods}/p/binding", binding, code=201)
    await http("POST", f"{pods}/p/binding", binding, code=409)
    bound = await http("GET", f"{pods}/p", code=200)
    assert bound["spec"]["nodeName"] == "node-a"
    assert [c["type"] for c in bound["status"]["conditions"]] == ["PodScheduled"]
    listed = await http("GET", pods, code=200, fieldSelector="spec.nodeName=node-a")
    assert len(listed["items"]) == 1
    refused = await http("PATCH", f"{pods}/p", {"spec": {"hostNetwork": True}}, code=422, type=MERGE)
    assert "pod updates may not change fields other than" in refused["message"]


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
    assert refused["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await http("DELETE", f"{budgets}/b", code=200)
    await http("POST", f"{pods}/p/eviction", eviction, code=201)
    await http("GET", f"{pods}/p", code=404)


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
    assert [item["metadata"]["name"] for item in left["items"]] == ["b"]


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


async def test_every_namespace_has_a_default_account(http, namespace):
    async def made():
        return (await http("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))[0] == 200

    await until(made)


async def test_a_definition_brings_its_resources_and_takes_them_away(http, namespace):
    group = "brief.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await http("GET", f"/apis/{group}/v1", code=404)
    made = await http("POST", definitions, thing_definition(group), code=201)
    assert {c["type"]: c["status"] for c in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    discovered = await http("GET", f"/apis/{group}/v1", code=200)
    assert [r["name"] for r in discovered["resources"]] == ["things", "things/scale", "things/status"]
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"
    await http("POST", path, {**thing(), "apiVersion": f"{group}/v1"}, code=201)
    await http("DELETE", f"{definitions}/things.{group}", code=200)
    await gone(http, f"{definitions}/things.{group}")
    await http("GET", path, code=404)
    await http("POST", definitions, thing_definition(group), code=201)
    assert (await http("GET", path, code=200))["items"] == []
    await http("DELETE", f"{definitions}/things.{group}", code=200)
    await gone(http, f"{definitions}/things.{group}")


async def test_a_definitions_schema_can_be_changed(http, namespace):
    group = "changing.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    made = await http("POST", definitions, thing_definition(group), code=201)
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["extra"] = {"type": "string", "enum": ["A"]}
    await http("PUT", f"{definitions}/things.{group}", made, code=200)
    path = f"/apis/{group}/v1/namespaces/{namespace}/things"
    refused = await http("POST", path, {**thing(extra="B"), "apiVersion": f"{group}/v1"}, code=422)
    assert 'supported values: "A"' in refused["message"]
    document = await http("GET", f"/openapi/v3/apis/{group}/v1", code=200)
    published = document["components"]["schemas"]["com.example.changing.v1.Thing"]
    assert "extra" in published["properties"]["spec"]["properties"]


async def test_everything_is_discovered_in_both_forms(http, things):
    groups = {group["name"] for group in (await http("GET", "/apis", code=200))["groups"]}
    assert {"apps", "batch", "example.com", "apiextensions.k8s.io"} <= groups
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
    async with http.session.get(f"{http.url}/apis", headers=accept) as response:
        assert response.headers["Content-Type"].endswith("as=APIGroupDiscoveryList")
        aggregated = await response.json(content_type=None)
    assert {item["metadata"]["name"] for item in aggregated["items"]} == groups
    for path in ("/healthz", "/readyz", "/livez"):
        assert await http("GET", path, code=200) == "ok"
    assert (await http("GET", "/version", code=200))["major"] == "1"
    index = await http("GET", "/openapi/v3", code=200)
    assert "apis/example.com/v1" in index["paths"]
    swagger = await http("GET", "/openapi/v2", code=200)
    assert "io.k8s.api.core.v1.Pod" in swagger["definitions"]


async def test_a_log_is_read_from_its_file(http, pods, tmp_path):
    log = tmp_path / "log"
    log.write_text("one\ntwo\nthree\n")
    await http("POST", pods, pod(), code=201)
    refused = await http("GET", f"{pods}/p/log", code=400)
    assert 'container "c" in pod "p" is waiting to start' in refused["message"]
    where = {"metadata": {"annotations": {"devcluster.tidemill.dev/log-c": str(log)}}}
    await http("PATCH", f"{pods}/p", where, code=200, type=MERGE)
    assert await http("GET", f"{pods}/p/log", code=200) == "one\ntwo\nthree\n"
    assert await http("GET", f"{pods}/p/log", code=200, tailLines="2") == "two\nthree\n"
    assert await http("GET", f"{pods}/p/log", code=200, tailLines="0") == ""
    assert await http("GET", f"{pods}/p/log", code=200, limitBytes="5") == "one\nt"
    await http("GET", f"{pods}/p/log", code=400, container="nobody")
    following = asyncio.create_task(http("GET", f"{pods}/p/log", code=200, follow="true", tailLines="1"))
    await asyncio.sleep(0.3)
    with log.open("a") as file:
        file.write("four\n")
    await http("PATCH", f"{pods}/p/status", {"status": {"phase": "Succeeded"}}, code=200, type=MERGE)
    assert await asyncio.wait_for(following, 5) == "three\nfour\n"
