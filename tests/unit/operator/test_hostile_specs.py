"""Hostile specs: each is run as it is asked for or explained once; none crashes a decision or a builder."""

import json
from dataclasses import replace
from datetime import timedelta

from hostile_specs import as_stored, assert_plain_words, hostile_specs
from hypothesis import HealthCheck, given, settings
from unit.operator.builders import T0

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.job_contract import JobConfig
from tidemill_operator.core.plan import SubmitDriver
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import Snapshot
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.ray_cluster import ClusterOrder, ray_cluster, token_secret
from tidemill_operator.views import read_job

PERMISSIVE = SpecPolicy(allow_host_path=True, service_accounts=("a",))


def conditions_of(status):
    return {condition.type: condition for condition in status.conditions}


def refused_and_explained(job):
    """A wrong spec ends the job at once, with one message and one event, and nothing is ever tried again."""
    said = job.spec_problem
    assert_plain_words(said)
    first = plan(Snapshot(now=T0 + timedelta(seconds=1), job=job))
    conditions = conditions_of(first.status)
    assert conditions[ConditionType.FINISHED].status == "True"
    assert conditions[ConditionType.SUCCEEDED].reason == Reason.INVALID_SPEC
    assert said[:100] in conditions[ConditionType.SUCCEEDED].message
    assert [event.reason for event in first.events] == [Reason.INVALID_SPEC]
    assert first.actions == ()
    again = plan(Snapshot(now=T0 + timedelta(seconds=9), job=replace(job, status=first.status)))
    assert (again.events, again.actions, again.status) == ((), (), first.status)


def runnable(job):
    """Whatever is taken can be turned into a plan, a RayCluster, a Secret and the driver's configuration."""
    decided = plan(Snapshot(now=T0 + timedelta(seconds=1), job=job))
    assert conditions_of(decided.status)
    order = ClusterOrder(job.namespace, job.name, job.uid, job.spec, "2.60.0", "image:cpu", "image:gpu")
    built = ray_cluster(order)
    assert len(built["metadata"]["name"]) <= 53
    assert json.loads(json.dumps(built)) == built
    token_secret(order, "token")
    config = job_config(job, SubmitDriver("10.0.0.1", 1))
    assert JobConfig.model_validate_json(config.model_dump_json()) == config


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile_specs())
def test_every_spec_is_run_or_explained(spec):
    for policy in (SpecPolicy(), PERMISSIVE):
        job = read_job(as_stored("rows", spec), policy)
        if job.spec is None:
            refused_and_explained(job)
        else:
            runnable(job)
