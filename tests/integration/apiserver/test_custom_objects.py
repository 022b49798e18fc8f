"""Custom resources over plain HTTP: their definitions, schemas, subresources, lists and discovery."""

from api_server_process import MERGE, STRATEGIC, THING, gone, thing, thing_definition

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


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


async def test_a_warning_that_no_header_can_carry_is_left_out(http, mine):
    async with http.session.post(http.url + mine, json=thing(**{"lost": 1, "lo\0st\n": 1})) as response:
        assert response.status == 201
        assert response.headers.getall("Warning", []) == ['299 - "unknown field \\"spec.lost\\""']


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


async def test_an_object_from_before_a_default_is_written_as_if_it_had_it(http, namespace):
    group = f"{namespace}.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    things = f"/apis/{group}/v1/namespaces/{namespace}/things"
    definition = thing_definition(group)
    await http("POST", definitions, definition, code=201)
    await http("POST", things, {**thing(), "apiVersion": f"{group}/v1"}, code=201)
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    late = {"type": "string", "default": "a", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    changed = {**spec, "properties": {**spec["properties"], "late": late}}
    changed["x-kubernetes-validations"] = [
        {"rule": "has(self.late) == has(oldSelf.late)", "message": "late is immutable"}
    ]
    root = {"type": "object", "properties": {"spec": changed, "status": THING["properties"]["status"]}}
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": root}]
    await http("PATCH", f"{definitions}/things.{group}", patch, code=200, type="application/json-patch+json")
    told = await http("PATCH", f"{things}/t/status", {"status": {"replicas": 3}}, code=200, type=MERGE)
    assert told["spec"]["late"] == "a"
    assert told["metadata"]["generation"] == 1
    await http("DELETE", f"{definitions}/things.{group}", code=200)
    await gone(http, f"{definitions}/things.{group}")


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
