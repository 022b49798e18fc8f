"""The verbs over plain HTTP: what is stored, shown and refused, with real `Status` errors."""

import asyncio
import base64

import pytest
from api_server_process import JSON_PATCH, MERGE, STRATEGIC, config_map, pod, until


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


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("10.0.0.1", "the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/12"),
        ("nowhere", "the provided IP (nowhere) is not in the valid range"),
        ("10.97.0.1", "provided IP is already allocated"),
    ],
)
async def test_an_address_that_a_service_cannot_have_is_refused(http, namespace, asked, told):
    path = f"/api/v1/namespaces/{namespace}/services"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    await http("POST", path, {**service, "spec": {"ports": [{"port": 80}], "clusterIP": "10.97.0.1"}}, code=201)
    other = {**service, "metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": asked}}
    refused = await http("POST", path, other, code=422)
    assert told in refused["message"]
    moved = await http("PATCH", f"{path}/a", {"spec": {"clusterIP": "10.97.0.2"}}, code=422, type=MERGE)
    assert "may not change once set" in moved["message"]


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


async def test_every_namespace_has_a_default_account(http, namespace):
    async def made():
        return (await http("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))[0] == 200

    await until(made)


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
