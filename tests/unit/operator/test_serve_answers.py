"""What Serve and the replicas of an endpoint answer, read; and what they are asked, over real HTTP."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from unit.operator.builders import T0
from unit.operator.endpoint_builders import SETTINGS

from tidemill_api import endpoint_contract as contract
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.plan import Deploy
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED, RUNNING, ServeView
from tidemill_operator.core.endpoint.victims import EngineSample
from tidemill_operator.endpoint_figures import read_engine, read_ingress
from tidemill_operator.errors import RayRefusedError, RayUnavailableError
from tidemill_operator.manifests.serve_config import serve_config
from tidemill_operator.ray_api import HeadAddress
from tidemill_operator.serve_api import Asked, ServeApi
from tidemill_operator.serve_reading import arguments_of, read_serve

LABELS = {"endpoint": "team/chat", "revision": "r1", "replica": "abc"}


def text(values, **labels):
    """Prometheus text as a replica writes it, counters and histograms beside the gauges."""
    registry = CollectorRegistry()
    tags = LABELS | labels
    for name, value in values.items():
        Gauge(name, "text", list(tags), registry=registry).labels(**tags).set(value)
    Counter(contract.METRIC_REQUESTS, "text", [*tags, "code"], registry=registry).labels(**tags, code="200").inc(7)
    Histogram(contract.METRIC_FIRST_TOKEN_SECONDS, "text", list(tags), registry=registry).labels(**tags).observe(0.1)
    return generate_latest(registry).decode()


INGRESS = {
    contract.METRIC_WAITING: 3,
    contract.METRIC_HELD: 2,
    contract.METRIC_RUNNING: 5,
    contract.METRIC_OLDEST_WAITING: 1.25,
    contract.METRIC_QUEUE_BOUND: 1000,
}
ENGINE = {contract.METRIC_ENGINE_READY: 1, contract.METRIC_ENGINE_WAITING: 2, contract.METRIC_ENGINE_RUNNING: 4}


def test_the_gauges_of_an_ingress_are_a_sample():
    assert read_ingress(text(INGRESS), "team/chat", "r1", T0) == IngressSample("abc", T0, 3, 5, 1.25, answered=7)


def test_the_gauges_of_an_engine_are_a_sample():
    assert read_engine(text(ENGINE), "team/chat", "r1", T0, "10.0.1.1") == EngineSample("10.0.1.1", T0, 2, 4)
    without = {name: value for name, value in ENGINE.items() if name != contract.METRIC_ENGINE_READY}
    assert read_engine(text(without), "team/chat", "r1", T0, "10.0.1.1") is None, "something else answers there"


@pytest.mark.parametrize("other", [{"endpoint": "team/other"}, {"revision": "r2"}])
def test_figures_of_another_endpoint_or_revision_are_none(other):
    assert read_ingress(text(INGRESS, **other), "team/chat", "r1", T0) is None
    assert read_engine(text(ENGINE, **other), "team/chat", "r1", T0, "10.0.1.1") is None


@pytest.mark.parametrize("missing", [contract.METRIC_WAITING, contract.METRIC_RUNNING, contract.METRIC_OLDEST_WAITING])
def test_a_missing_figure_is_no_zero(missing):
    left = {name: value for name, value in INGRESS.items() if name != missing}
    assert read_ingress(text(left), "team/chat", "r1", T0) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1])
def test_what_is_no_count_is_no_figure(value):
    assert read_ingress(text(INGRESS | {contract.METRIC_WAITING: value}), "team/chat", "r1", T0) is None


def test_what_is_not_asked_for_is_not_even_parsed():
    longer = text(INGRESS) + "no prometheus text {{{\n" * 1000
    assert read_ingress(longer, "team/chat", "r1", T0) == IngressSample("abc", T0, 3, 5, 1.25, answered=7)


@given(st.text(max_size=200))
def test_noise_is_no_sample(noise):
    assert read_ingress(noise, "team/chat", "r1", T0) is None


def details(status="RUNNING", *, deployments=True, message="", config=True):
    """As Ray 2.60 answers, cut to what is read."""
    replica = {"replica_id": "abc", "state": "RUNNING", "node_id": "n", "node_ip": "10.0.0.1", "start_time_s": 1.0}
    starting = {"replica_id": "def", "state": "STARTING", "start_time_s": 0}
    application = {
        "status": status,
        "message": message,
        "last_deployed_time_s": T0.timestamp(),
        "deployments": {
            "Ingress": {"status": "HEALTHY", "message": "", "target_num_replicas": 2, "replicas": [replica, starting]},
            "Engine": {"status": "UPDATING", "message": "loading", "target_num_replicas": 0, "replicas": []},
        }
        if deployments
        else {},
    }
    if config:
        application["deployed_app_config"] = {
            "args": {"namespace": "team"},
            "deployments": [
                {"name": "Engine", "num_replicas": 1, "user_config": {"attempt": 3}},
                {"name": "Ingress", "num_replicas": 2, "user_config": SETTINGS.model_dump()},
            ],
        }
    return {"applications": {"endpoint": application, "other": {"status": "RUNNING"}}}


def test_the_application_is_read_with_its_replicas_settings_and_attempt():
    serve = read_serve(details())
    assert (serve.deployed, serve.built, serve.settings, serve.attempt, serve.failed) == (True, True, SETTINGS, 3, "")
    assert serve.told_time == T0
    assert [(r.name, r.state, r.node_ip) for r in serve.ingress.replicas] == [
        ("abc", RUNNING, "10.0.0.1"),
        ("def", "STARTING", ""),
    ]
    assert (serve.ingress.target, serve.engine.target, serve.engine.message) == (2, 0, "loading")
    assert arguments_of(details()) == {"namespace": "team"}


@pytest.mark.parametrize("answer", [{}, {"applications": {}}, details("NOT_STARTED"), details("DELETING")])
def test_a_serve_that_knows_nothing_of_us_says_so(answer):
    assert read_serve(answer) == ServeView(deployed=False)


def test_an_application_without_deployments_is_not_built_yet():
    building = read_serve(details("DEPLOYING", deployments=False))
    assert (building.deployed, building.built, building.failed) == (True, False, "")


def test_an_application_that_could_not_be_made_says_why():
    assert read_serve(details(DEPLOY_FAILED, deployments=False, message="ImportError")).failed == "ImportError"


def test_an_engine_that_fails_is_not_a_failed_application():
    answer = details(DEPLOY_FAILED, message="see the deployment")
    answer["applications"]["endpoint"]["deployments"]["Engine"]["status"] = DEPLOY_FAILED
    serve = read_serve(answer)
    assert (serve.failed, serve.engine.status) == ("", DEPLOY_FAILED)


def test_a_failure_of_the_configuration_before_is_none_of_this_one():
    """Seen with Ray 2.60: for 0.3 s after the PUT of a new attempt the deployment still says DEPLOY_FAILED."""
    answer = details("DEPLOYING")
    for deployment in answer["applications"]["endpoint"]["deployments"].values():
        deployment |= {"status": DEPLOY_FAILED, "message": "no"}
    serve = read_serve(answer)
    assert (serve.engine.status, serve.engine.message, serve.given_up) == ("", "", False)
    assert (serve.ingress.status, serve.ingress.message) == ("", "")


def test_a_new_attempt_is_told_to_both_deployments_and_read_as_the_same_settings():
    """Serve tries again what it has given up only where its configuration is another."""
    told = serve_config({"namespace": "team"}, Deploy("r1", "10.0.0.1", 3, 4, SETTINGS, attempt=2))
    engine, ingress = (d["user_config"] for d in told["applications"][0]["deployments"])
    assert (engine, ingress["attempt"]) == ({"attempt": 2}, 2)
    answer = details()
    answer["applications"]["endpoint"]["deployed_app_config"] = told["applications"][0]
    assert (read_serve(answer).settings, read_serve(answer).attempt) == (SETTINGS, 2)
    first = serve_config({"namespace": "team"}, Deploy("r1", "10.0.0.1", 3, 4, SETTINGS, attempt=1))
    assert "attempt" not in first["applications"][0]["deployments"][1]["user_config"], "an older image reads it too"


def test_what_another_version_told_counts_as_not_told():
    answer = details()
    answer["applications"]["endpoint"]["deployed_app_config"]["deployments"][1]["user_config"] = {"queue": 1}
    assert read_serve(answer).settings is None
    assert read_serve(details(config=False)).attempt == 0
    assert arguments_of(details(config=False)) is None


class Ray:
    """Stands for a head and its pods on one address: answers as told, and remembers what it was asked."""

    def __init__(self, status=200, body="{}", figures=""):
        self.asked, self.status, self.body, self.figures = [], status, body, figures

    async def answer(self, request):
        self.asked.append((request.method, request.path, request.headers.get("Authorization"), await request.text()))
        if request.path == "/metrics":
            return web.Response(text=self.figures)
        return web.Response(text=self.body, status=self.status)


def asking(ray, question):
    """What `question(api, head, port)` gives against this Ray."""

    async def ask():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", ray.answer)
        async with TestServer(app) as server, ServeApi(2.0, lambda: T0) as api:
            return await question(api, HeadAddress("127.0.0.1", "secret", dashboard_port=server.port), server.port)

    return asyncio.run(ask())


def test_serve_is_asked_with_the_token_of_its_head():
    ray = Ray(body=json.dumps(details()))
    assert asking(ray, lambda api, head, port: api.details(head)) == details()
    assert ray.asked == [("GET", "/api/serve/applications/", "Bearer secret", "")]


def test_serve_is_told_over_the_paths_that_it_has():
    ray = Ray()

    async def tell(api, head, port):
        await api.deploy(head, {"applications": []})
        await api.scale(head, "Engine", 0)
        await api.end(head)

    asking(ray, tell)
    assert [(method, path, json.loads(body or "null")) for method, path, _, body in ray.asked] == [
        ("PUT", "/api/serve/applications/", {"applications": []}),
        ("POST", "/api/v1/applications/endpoint/deployments/Engine/scale", {"target_num_replicas": 0}),
        ("DELETE", "/api/serve/applications/", None),
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RayRefusedError),
        (404, RayRefusedError),
        (401, RayUnavailableError),
        (412, RayUnavailableError),
        (500, RayUnavailableError),
        (503, RayUnavailableError),
    ],
)
def test_an_answer_that_is_none_says_who_tries_again(status, error):
    with pytest.raises(error) as refused:
        asking(Ray(status=status, body="no"), lambda api, head, port: api.scale(head, "Engine", 1))
    assert "secret" not in str(refused.value)


def test_a_head_that_is_away_is_a_passing_fault():
    async def ask():
        async with ServeApi(1.0, lambda: T0) as api:
            await api.details(HeadAddress("127.0.0.1", "secret", dashboard_port=1))

    with pytest.raises(RayUnavailableError):
        asyncio.run(ask())


def test_the_figures_of_all_replicas_are_asked_without_a_token_and_silent_ones_left_out():
    ray = Ray(figures=text(INGRESS | ENGINE))

    async def ask(api, head, port):
        ips = ("127.0.0.1", "127.0.0.1", "", "127.0.0.2")
        asked = Asked("team/chat", "r1", ips, ("127.0.0.1",), ingress_port=port, engine_port=port)
        return await api.figures(asked)

    found = asking(ray, ask)
    assert found.ingress == (IngressSample("abc", T0, 3, 5, 1.25, answered=7),)
    assert found.engines == (EngineSample("127.0.0.1", T0, 2, 4),)
    assert {authorization for _, _, authorization, _ in ray.asked} == {None}
