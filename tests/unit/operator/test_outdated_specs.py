"""Rules that come with a release keep new work from beginning, and end none that an earlier release let in."""

import asyncio
from datetime import UTC, datetime

import pytest
from unit.operator import test_reconciler
from unit.operator.builders import MINIMAL, T0, running_status
from unit.operator.endpoint_builders import MINIMAL as ENDPOINT
from unit.operator.test_endpoint_reconciler import Api, Serve

from tidemill_api import labels
from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.v1alpha1.realtime_endpoint import KIND, RealtimeEndpointSpec
from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus, RevisionStatus
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.config import Settings
from tidemill_operator.core.planner import plan
from tidemill_operator.core.rules_end import FIX_HINT
from tidemill_operator.core.snapshot import Snapshot
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.endpoint_views import read_endpoint
from tidemill_operator.manifests.revisions import revision_cluster_name, revision_of
from tidemill_operator.views import read_job

CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
AT_DATA = {"name": "data", "mountPath": "/data"}
METADATA = {"namespace": "team", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}

OUTDATED = (
    {"env": [{"name": "LD_LIBRARY_PATH", "value": "/data/lib"}]},
    {"volumeMounts": [AT_DATA, {"name": "data", "mountPath": "/tmp"}]},
    {"env": [{"name": f"X{n}", "value": "ü" * 4096} for n in range(33)]},
)


def template(**fields):
    return {"volumes": [CLAIM], "volumeMounts": [AT_DATA], **fields}


def job(fields, status=None):
    said = status.model_dump(mode="json", by_alias=True) if status is not None else {}
    spec = MINIMAL | {"template": template(**fields)}
    return {"metadata": METADATA | {"name": "tickets"}, "spec": spec, "status": said}


def endpoint(fields, status=None, **spec):
    said = status.model_dump(mode="json", by_alias=True) if status is not None else {}
    return {
        "metadata": METADATA | {"name": "chat"},
        "spec": ENDPOINT | {"template": template(**fields)} | spec,
        "status": said,
    }


def let_in(fields):
    """The status of an endpoint whose revision an earlier release made, and the revision."""
    revision = revision_of(RealtimeEndpointSpec.model_validate(endpoint(fields)["spec"]))
    return RealtimeEndpointStatus(revision=RevisionStatus(serving=revision, wanted=revision)), revision


@pytest.mark.parametrize("fields", OUTDATED)
def test_a_job_that_has_begun_goes_on_and_a_new_one_does_not_begin(fields):
    for status in (running_status(), running_status(0, ended_attempt=0).model_copy(update={"cluster_name": "c"})):
        begun = read_job(job(fields, status), SpecPolicy())
        assert begun.spec is not None
        assert (begun.spec_problem, bool(begun.outdated)) == ("", True)
    new = read_job(job(fields), SpecPolicy())
    assert (new.spec, new.spec_problem, new.outdated) == (None, begun.outdated, "")
    ended = plan(Snapshot(now=T0, job=new)).status
    again = read_job(job(fields, ended), SpecPolicy())
    assert again.spec is None, "that it was seen is no beginning"


def test_what_was_never_let_in_ends_also_what_has_begun():
    hostile = {"volumes": [{"name": "data", "hostPath": {"path": "/"}}]}
    assert read_job(job(hostile, running_status()), SpecPolicy()).spec is None
    status, _ = let_in(hostile)
    assert read_endpoint(endpoint(hostile, status), SpecPolicy()).spec_problem


def test_a_job_that_such_a_rule_has_ended_is_opened_again():
    wrong = read_job(job(OUTDATED[0]), SpecPolicy())
    ended = plan(Snapshot(now=T0, job=wrong)).status
    assert ended.conditions[-2].message.endswith(FIX_HINT)
    ran = ended.model_copy(update={"driver": running_status().driver})
    healed = plan(Snapshot(now=T0, job=read_job(job(OUTDATED[0], ran), SpecPolicy()))).status
    finished = next(c for c in healed.conditions if c.type == ConditionType.FINISHED)
    assert (finished.status, finished.reason) == ("False", Reason.RUNNING)


def test_a_job_that_goes_on_all_the_same_says_so_in_an_event():
    cluster, cache = test_reconciler.MayNotScale(), WatchCache()
    body = job(OUTDATED[0], running_status())
    body["metadata"] |= {"creationTimestamp": datetime.now(UTC).isoformat(), "resourceVersion": "7"}
    cache.put(Watched.JOBS, body)
    test_reconciler.reconcile(cluster, cache)
    notes = [event for event in cluster.created if event.get("reason") == "OutdatedSpec"]
    assert [note["type"] for note in notes] == ["Warning"]
    assert "LD_LIBRARY_PATH" in notes[0]["message"]


@pytest.mark.parametrize("fields", OUTDATED)
def test_a_revision_that_was_let_in_is_kept_and_another_one_is_refused(fields):
    status, _ = let_in(fields)
    kept = read_endpoint(endpoint(fields, status), SpecPolicy())
    assert (kept.spec_problem, bool(kept.outdated)) == ("", True)
    larger = read_endpoint(endpoint(fields, status, replicas={"min": 2, "max": 9}), SpecPolicy())
    assert larger.spec_problem == "", "another size is no other revision"
    for other in (
        endpoint(fields),
        endpoint(fields, status, model={"name": "m", "source": "org/other"}),
        {
            **endpoint(fields, status),
            "metadata": METADATA | {"name": "chat", "annotations": {labels.RESTARTED_AT: "1"}},
        },
    ):
        refused = read_endpoint(other, SpecPolicy())
        assert (refused.spec_problem, refused.outdated) == (kept.outdated, "")


def test_a_revision_that_was_let_in_is_made_anew_where_its_cluster_is_gone():
    status, revision = let_in(OUTDATED[0])
    api, cache = Api(), WatchCache(KIND)
    cache.put(Watched.JOBS, endpoint(OUTDATED[0], status))
    asyncio.run(EndpointReconciler(api, Serve(), cache, Settings()).reconcile(Key("team", "chat")))
    assert ("rayclusters", revision_cluster_name("chat", "u", revision)) in api.objects
    notes = [event for event in api.events if event["reason"] == "OutdatedSpec"]
    assert ["LD_LIBRARY_PATH" in note["message"] for note in notes] == [True]
