"""Another operator takes over what the one before it made: nothing that runs is made anew, and no pod is restarted.

`tests/golden/earlier` holds the children of jobs and endpoints as the operator made them before it knew of policies,
priority classes and Kueue. Today's runs here with settings that all differ from then.
"""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from golden import render, render_endpoint
from unit.operator.builders import running_status
from unit.operator.endpoint_builders import SETTINGS, make_spec
from unit.operator.test_endpoint_reconciler import Api, Serve

from tidemill_api import labels
from tidemill_api.job_contract import JobConfig
from tidemill_api.v1alpha1.realtime_endpoint import KIND
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.config import Settings
from tidemill_operator.core.snapshot import DriverMetrics
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.manifests import revisions
from tidemill_operator.manifests.revisions import revision_in_force, revision_of
from tidemill_operator.ray_api import RayApi, told
from tidemill_operator.reconciler import Reconciler

EARLIER = render.CASES.parent / "earlier"
UPGRADED = Settings(
    image_cpu="workloads:2-cpu",
    image_gpu="workloads:2",
    ray_version="2.61.0",
    realtime_priority_class="realtime",
    batch_priority_class="batch",
    kueue_elastic_jobs=True,
    network_policies=True,
    operator_namespace="tidemill",
    operator_selector=("app=tidemill",),
    allowed_service_accounts=("reader",),
)
ENDPOINTS = ("small", "everything")


def earlier(name):
    """The children by kind, as the API server has them."""
    children = [child for child in yaml.safe_load_all((EARLIER / f"{name}.yaml").read_text()) if "kind" in child]
    for child in children:
        child["metadata"] |= {"uid": f"uid-of-{child['kind']}", "resourceVersion": "7"}
    return {child["kind"]: child for child in children}


class Upgrade:
    """One owner with its earlier children in the cache and on the API server, and the operator of today."""

    def __init__(self, kind, body, children):
        self.api, self.cache = Api(), WatchCache(kind)
        self.cluster = children["RayCluster"]
        self.key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        self.cache.put(Watched.JOBS, body)
        self.cache.put(Watched.CLUSTERS, self.cluster)
        for plural, of in (("rayclusters", "RayCluster"), ("secrets", "Secret"), ("services", "Service")):
            if of in children:
                self.api.objects[plural, children[of]["metadata"]["name"]] = children[of]
        children["Secret"]["data"] = {"auth_token": base64.b64encode(b"t").decode()}

    def look(self, reconciler, times=3):
        for _ in range(times):
            asyncio.run(reconciler.reconcile(self.key))

    def written(self):
        """What was asked for beside reading, by verb and plural."""
        return [(verb, plural) for verb, plural, _ in self.api.calls if verb != "get"]


class Busy(RayApi):
    """Stands for the Ray of a job whose driver reads its input."""

    async def metrics(self, head, job, attempt):
        return DriverMetrics(phase="validating", rows_validated=5), ""


def job_of(name, **status):
    body = yaml.safe_load((render.CASES / f"{name}.job.yaml").read_text())
    times = {"creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds")}
    body["metadata"] |= {"uid": render.UID, "resourceVersion": "1"} | times
    return body | {
        "status": running_status(pool_size=body["spec"]["workers"]["max"], **status).model_dump(
            mode="json", by_alias=True
        )
    }


@pytest.mark.parametrize("name", ["cpu", "full-template"])
def test_the_cluster_of_a_running_job_stays_as_it_was_made(name):
    children = earlier(f"{name}.children")
    head = {"type": "HeadPodReady", "status": "True", "lastTransitionTime": "2026-01-01T12:00:05Z"}
    children["RayCluster"]["status"] = {"conditions": [head], "head": {"podIP": "10.0.0.1"}}
    upgrade = Upgrade("BatchInferenceJob", job_of(name), children)
    upgrade.look(Reconciler(upgrade.api, Busy(1), upgrade.cache, UPGRADED))
    assert upgrade.written() == [("create", "networkpolicies")], "it is let to run behind a policy, and no more"
    assert upgrade.api.statuses[-1]["conditions"][1]["reason"] == "Validating"


def endpoint_of(name, **annotations):
    body = yaml.safe_load((render_endpoint.CASES / f"{name}.endpoint.yaml").read_text())
    times = {"creationTimestamp": (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")}
    body["metadata"] |= {"uid": render_endpoint.UID, "resourceVersion": "1"} | times | {"annotations": annotations}
    return body | {"status": {}}


def upgraded_endpoint(name, **annotations):
    children = earlier(f"{name}.endpoint-children")
    upgrade = Upgrade(KIND, endpoint_of(name, **annotations), children)
    upgrade.cache.put(Watched.SERVICES, children["Service"])
    for role, ip in (("head", "10.0.0.1"), ("worker", "10.0.1.1")):
        upgrade.cache.put(Watched.PODS, pod(children["RayCluster"]["metadata"], role, ip))
    for secret in ("keys", "redis", "hub"):
        upgrade.api.objects["secrets", secret] = {"metadata": {"name": secret}}
    return upgrade


def pod(cluster, role, ip):
    running = [{"name": f"ray-{role}", "state": {"running": {"startedAt": "2026-01-01T12:00:05Z"}}}]
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": ip, "conditions": ready, "containerStatuses": running}
    ours = cluster["labels"] | {"ray.io/cluster": cluster["name"], "ray.io/node-type": role, labels.ROLE: role}
    metadata = {"namespace": cluster["namespace"], "name": f"{cluster['name']}-{role}", "uid": ip, "labels": ours}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": status}


def revision(cluster):
    return cluster["metadata"]["labels"][labels.REVISION]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_revision_of_an_endpoint_stays_as_it_was_made(name):
    upgrade = upgraded_endpoint(name)
    serve = Serve()
    upgrade.look(EndpointReconciler(upgrade.api, serve, upgrade.cache, UPGRADED))
    assert [call for call in upgrade.written() if call[1] != "networkpolicies"] == []
    status = upgrade.api.statuses[-1]["revision"]
    assert status["serving"] == status["wanted"] == revision(upgrade.cluster)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_head_that_lost_its_memory_is_told_what_its_image_was_made_for_word_for_word(name):
    upgrade, serve = upgraded_endpoint(name), Serve()
    serve.known = False
    upgrade.look(EndpointReconciler(upgrade.api, serve, upgrade.cache, UPGRADED), times=1)
    (application,) = serve.told[-1]["applications"]
    written = upgrade.cluster["metadata"]["annotations"][labels.SERVE_ARGUMENTS]
    assert application["args"] == yaml.safe_load(written)


def test_an_annotation_has_a_new_revision_made_with_the_settings_of_today():
    upgrade = upgraded_endpoint("small", **{labels.RESTARTED_AT: "2026-11-22T20:00:00Z"})
    upgrade.look(EndpointReconciler(upgrade.api, Serve(), upgrade.cache, UPGRADED), times=1)
    (made,) = [
        body
        for (plural, name), body in upgrade.api.objects.items()
        if plural == "rayclusters" and name != upgrade.cluster["metadata"]["name"]
    ]
    head = made["spec"]["headGroupSpec"]["template"]["spec"]
    assert (made["spec"]["rayVersion"], head["containers"][0]["image"]) == ("2.61.0", "workloads:2-cpu")
    assert head["priorityClassName"] == "realtime"
    assert made["metadata"]["annotations"][labels.MADE_BY]
    assert upgrade.api.statuses[-1]["revision"]["serving"] == revision(upgrade.cluster), "the old one serves meanwhile"


def test_a_job_that_begins_anew_gets_a_cluster_by_the_settings_of_today():
    upgrade = Upgrade("BatchInferenceJob", job_of("cpu", ended_attempt=1), earlier("cpu.children"))
    upgrade.cache.drop(Watched.CLUSTERS, Key("team", upgrade.cluster["metadata"]["name"]))
    upgrade.api.objects.clear()
    upgrade.look(Reconciler(upgrade.api, Busy(1), upgrade.cache, UPGRADED), times=1)
    made = upgrade.api.objects["rayclusters", upgrade.cluster["metadata"]["name"]]
    worker = made["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    assert (worker["priorityClassName"], worker["containers"][0]["image"]) == ("batch", "workloads:2-cpu")


# How a revision is found again


@pytest.mark.parametrize("name", ENDPOINTS)
def test_the_revisions_of_earlier_releases_are_counted_as_then(name):
    assert revision_of(render_endpoint.order_of(name).spec) == revision(
        earlier(f"{name}.endpoint-children")["RayCluster"]
    )


def test_an_operator_that_counts_in_a_new_way_finds_what_stands_and_names_what_is_new(monkeypatch):
    spec = make_spec()
    old = revision_of(spec)
    monkeypatch.setattr(revisions, "HASH_VERSIONS", (2, 1))
    assert revision_in_force(spec, "", {old, "other"}) == old
    new = revision_in_force(spec, "", {"other"})
    assert new == revision_of(spec, version=2) != old


def test_another_restart_is_another_revision_and_none_is_what_it_always_was():
    spec = make_spec()
    found = [revision_in_force(spec, restarted, ()) for restarted in ("", "a", "b")]
    assert len(set(found)) == 3
    assert found[0] == revision_of(spec)


def test_a_driver_of_an_earlier_image_is_told_no_field_that_is_at_its_default():
    config = JobConfig(
        namespace="team",
        name="tickets",
        attempt=1,
        model={"name": "m", "source": "/m"},
        input_uri="/in",
        output_uri="/out/",
        workers_max=1,
        gpus_per_worker=0,
    )
    written = told(config)
    assert JobConfig.model_validate_json(written) == config
    assert not {"max_failed_rows", "resubmit_of_uri", "ending"} & yaml.safe_load(written).keys()


def test_the_stand_in_for_serve_says_what_the_endpoints_ask_for():
    """Else the tests above would not see that nothing is told to Serve."""
    assert SETTINGS.queue_bound == make_spec().limits.queue_bound
