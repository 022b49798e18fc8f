"""Hostile specs of endpoints: each is run as it is asked for or explained; none crashes a decision or a builder."""

import json
from datetime import timedelta

from hostile_specs import ENDPOINT_SCHEMA, as_stored, assert_plain_words, hostile_endpoints, names_a_field
from hypothesis import HealthCheck, given, settings
from unit.operator.builders import T0

from tidemill_api.endpoint_conditions import EndpointCondition, EndpointReason
from tidemill_api.endpoint_contract import EndpointConfig
from tidemill_operator.config import Settings
from tidemill_operator.core.endpoint.plan import CreateRevision, Deploy
from tidemill_operator.core.endpoint.planner import plan
from tidemill_operator.core.endpoint.snapshot import EndpointSnapshot
from tidemill_operator.core.endpoint.spec_checks import secrets_of
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.endpoint_views import read_endpoint
from tidemill_operator.manifests.endpoint_cluster import RevisionOrder, revision_cluster, revision_token, service
from tidemill_operator.manifests.revisions import revision_of
from tidemill_operator.manifests.serve_config import endpoint_config, ingress_settings, serve_config

POLICIES = (SpecPolicy(), SpecPolicy(allow_host_path=True, service_accounts=("a",), allow_test_engine=True))


def look(spec, policy, status=None, seconds=1):
    """What is planned for an endpoint that nothing stands of yet."""
    endpoint = read_endpoint(as_stored("chat", spec, status), policy)
    known = endpoint.spec if not endpoint.spec_problem else None
    wanted, told = (revision_of(known), ingress_settings(known)) if known is not None else ("", None)
    seen = EndpointSnapshot(T0 + timedelta(seconds=seconds), endpoint, wanted, told)
    return seen, plan(seen)


def refused_and_explained(spec, policy):
    """A wrong spec is said in one condition and one event, and said no more until it changes."""
    seen, first = look(spec, policy)
    said = seen.endpoint.spec_problem
    assert_plain_words(said)
    unknown = any(map(said.startswith, spec.keys() - ENDPOINT_SCHEMA["spec"]["properties"].keys()))
    assert unknown or names_a_field(said, ENDPOINT_SCHEMA), said
    conditions = {condition.type: condition for condition in first.status.conditions}
    assert conditions[EndpointCondition.READY].status == "False"
    progressing = conditions[EndpointCondition.PROGRESSING]
    assert (progressing.status, progressing.reason) == ("False", EndpointReason.INVALID_SPEC)
    assert said[:100] in progressing.message
    assert [(event.type, event.reason) for event in first.events] == [("Warning", EndpointReason.INVALID_SPEC)]
    assert (first.actions, first.recheck_after) == ((), None)
    _, again = look(spec, policy, first.status.model_dump(mode="json", by_alias=True), seconds=9)
    assert (again.events, again.actions, again.status) == ((), (), first.status)


def runnable(spec, policy):
    """Whatever is taken becomes a plan, a RayCluster, its Secret, a Service, and what Serve is told."""
    seen, first = look(spec, policy)
    endpoint = seen.endpoint
    assert first.actions == (CreateRevision(seen.wanted, max(endpoint.spec.replicas.min, 1)),)
    settings_ = Settings()
    order = RevisionOrder(
        namespace=endpoint.namespace,
        owner=endpoint.name,
        owner_uid=endpoint.uid,
        revision=seen.wanted,
        spec=endpoint.spec,
        ray_version=settings_.ray_version,
        image_cpu=settings_.image_cpu,
        image_gpu=settings_.image_gpu,
    )
    cluster = revision_cluster(order, 1)
    assert len(cluster["metadata"]["name"]) <= 53
    config = endpoint_config(order)
    assert EndpointConfig.model_validate_json(config.model_dump_json()) == config
    told = serve_config(config.model_dump(mode="json"), Deploy(seen.wanted, "10.0.0.1", 1, 2, seen.settings, 1))
    built = [cluster, revision_token(order, "token"), service(order), told]
    assert json.loads(json.dumps(built)) == built
    assert all(secrets_of(endpoint.spec))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile_endpoints())
def test_every_endpoint_is_run_or_explained(spec):
    for policy in POLICIES:
        if read_endpoint(as_stored("chat", spec), policy).spec_problem:
            refused_and_explained(spec, policy)
        else:
            runnable(spec, policy)
