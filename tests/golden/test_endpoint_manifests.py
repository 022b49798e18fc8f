"""Golden manifests of endpoints: what stands in the cluster for one, and what Serve is told."""

import json
import shlex
import warnings

import pytest
from golden.render_endpoint import children, expected_file, names, order_of, put_body, render
from golden.test_manifests import ray_cluster_schema, unknown_fields  # noqa: F401 - the first is a fixture
from jsonschema import Draft202012Validator

from tidemill_api.endpoint_contract import EndpointConfig, IngressSettings


@pytest.mark.parametrize("name", names())
def test_the_children_of_an_endpoint_are_as_committed(name):
    assert render(name) == expected_file(name).read_text(), "regenerate with: python -m golden.render_endpoint"


@pytest.mark.parametrize("name", names())
def test_kuberays_own_schema_takes_the_cluster_and_drops_nothing_of_it(name, ray_cluster_schema):  # noqa: F811 - pytest's way to take a fixture
    cluster = children(name)[1]
    Draft202012Validator(ray_cluster_schema).validate(cluster)
    assert list(unknown_fields(cluster["spec"], ray_cluster_schema["properties"]["spec"], "spec")) == []


@pytest.fixture(scope="module")
def serve_schema():
    """Ray's own model of the PUT. Its modules warn of deprecated pydantic fields where they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.serve.schema import ServeDeploySchema
    return ServeDeploySchema


@pytest.mark.parametrize("name", names())
def test_serves_own_schema_takes_what_it_is_told(name, serve_schema):
    body = json.loads(json.dumps(put_body(order_of(name))))
    (application,) = serve_schema.model_validate(body).applications
    assert application.external_scaler_enabled
    assert EndpointConfig.model_validate(application.args).endpoint.startswith("team/")
    told = {deployment.name: deployment for deployment in application.deployments}
    assert IngressSettings.model_validate(told["Ingress"].user_config)
    assert (told["Engine"].num_replicas, told["Ingress"].num_replicas) == (3, 4)


@pytest.mark.parametrize("name", names())
def test_a_pod_outlives_its_drain_and_a_drain_the_longest_request(name):
    order = order_of(name)
    cluster = children(name)[1]["spec"]
    for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]):
        pod = group["template"]["spec"]
        env = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
        drain = int(env["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert pod["terminationGracePeriodSeconds"] >= drain + 30
        assert env["RAY_metrics_report_interval_ms"] == "1000"
    assert drain > order.drain_seconds, "a replacement gets its time before Serve stops the replica"


@pytest.mark.parametrize("name", names())
def test_the_service_leads_to_head_and_workers_of_one_revision(name):
    _, cluster, service, _ = children(name)
    selector = service["spec"]["selector"].items()
    groups = (cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"][0])
    (port,) = service["spec"]["ports"]
    for group in groups:
        template = group["template"]
        assert selector <= template["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
        assert ports[port["targetPort"]] == 8000
        assert all(len(named) <= 15 for named in ports)
    assert service["metadata"]["name"] == service["metadata"]["ownerReferences"][0]["name"]


@pytest.mark.parametrize("name", names())
def test_head_and_workers_offer_what_the_deployments_take(name):
    cluster = children(name)[1]["spec"]
    offered = [
        json.loads(shlex.split(group["rayStartParams"]["resources"])[0])
        for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0])
    ]
    assert offered == [{"tidemill_ingress": 1}, {"tidemill_engine": 1, "tidemill_ingress": 1}]


def test_no_secret_stands_in_anything_but_the_secret():
    secret, *rest = children("everything")
    assert secret["stringData"]["auth_token"] == "the-token"
    assert "the-token" not in json.dumps(rest)


def test_api_keys_are_files_of_the_pods_and_known_to_the_ingress():
    _, cluster, _, body = children("everything")
    pod = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    (keys,) = [volume for volume in pod["volumes"] if volume["name"] == "tidemill-api-keys"]
    assert keys["secret"]["secretName"] == "keys"
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "tidemill-api-keys"]
    assert mount["readOnly"]
    assert body["applications"][0]["args"]["api_keys_folder"] == mount["mountPath"]
    assert children("small")[3]["applications"][0]["args"]["api_keys_folder"] == ""


def test_every_case_is_there():
    assert names() == ["everything", "kueue", "small"]
