"""No field of an endpoint is taken and ignored, and none is promised and never written: each of the CRD is walked.

What a field does in detail is shown elsewhere; here each shows that it does something at all. That each is bounded and
described is `test_crd_conventions`.
"""

from datetime import timedelta

import pytest
from api_specs import changed
from unit.operator.builders import T0
from unit.operator.crd_fields import leaves, written
from unit.operator.endpoint_builders import (
    LATER,
    engines,
    look,
    make_endpoint,
    make_revision,
    make_serve,
    samples,
    served_status,
)

from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_operator.config import Settings
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED, RUNNING, ServeView
from tidemill_operator.manifests.endpoint_cluster import RevisionOrder, revision_cluster, service
from tidemill_operator.manifests.revisions import revision_of
from tidemill_operator.manifests.serve_config import endpoint_config, ingress_settings

PLURAL = "realtimeendpoints"
HOUR = timedelta(hours=1)

# The spec

CLAIM = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
BASE = {
    "model": {"name": "smollm2", "source": "/models/smollm2"},
    "replicas": {"min": 0, "max": 4},
    "scaling": {"targetQueueDepth": 10, "targetQueueAgeMilliseconds": 2000},
    "resources": {"gpu": 1},
    "auth": {"secretRef": {"name": "keys"}},
    "gcsFaultTolerance": {"redisAddress": "redis:6379", "passwordSecretRef": {"name": "redis", "key": "password"}},
    "template": {"volumes": [CLAIM], "volumeMounts": [{"name": "models", "mountPath": "/models"}]},
}
CHANGES = {
    "model.name": "other",
    "model.source": "/models/other",
    "model.adapters": [{"name": "support", "source": "/models/support"}],
    "model.engineArgs.maxModelLen": 512,
    "model.engineArgs.dtype": "float32",
    "model.engineArgs.gpuMemoryUtilizationPercent": 50,
    "model.engineArgs.quantization": "awq",
    "model.engineArgs.toolCallParser": "hermes",
    "replicas.min": 3,
    "replicas.max": 3,
    "scaling.targetQueueDepth": 5,
    "scaling.targetQueueAgeMilliseconds": 60_000,
    "scaling.scaleUp.maxStarting": 1,
    "scaling.scaleDown.stabilizationSeconds": 3600,
    "scaling.scaleDown.maxStep": 1,
    "scaling.scaleToZeroAfterSeconds": 86_400,
    "batching.maxSequences": 7,
    "batching.maxBatchedTokens": 7,
    "batching.scheduling": "FirstComeFirstServed",
    "limits.queueBound": 7,
    "limits.requestTimeoutSeconds": 7,
    "resources.gpu": 2,
    "resources.gpuResourceName": "amd.com/gpu",
    "resources.cpu": "3",
    "resources.memory": "9Gi",
    "head.cpu": "3",
    "head.memory": "9Gi",
    "image": "registry.example/another:1",
    "auth.secretRef.name": "others",
    "gcsFaultTolerance.redisAddress": "other:6379",
    "gcsFaultTolerance.passwordSecretRef.name": "others",
    "gcsFaultTolerance.passwordSecretRef.key": "others",
    "upgrade.progressDeadlineSeconds": 60,
    "template.labels": {"team": "support"},
    "template.nodeSelector": {"gpu": "l4"},
    "template.tolerations": [{"key": "spot", "operator": "Exists"}],
    "template.env": [{"name": "A", "value": "1"}],
    "template.volumes": [CLAIM, {"name": "scratch", "emptyDir": {}}],
    "template.volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    "template.serviceAccountName": "reader",
}
"""By field: another value than it has in `BASE`."""

REFUSED = {
    "model.engineArgs.maxNumSeqs": "an endpoint sets it as batching.maxSequences",
    "model.engineArgs.maxNumBatchedTokens": "an endpoint sets it as batching.maxBatchedTokens",
}
"""Fields of a model that an endpoint refuses to be given, and why."""


def plans_of(spec):
    """What is planned for an endpoint that is new, crowded, kept waiting, calm, idle, and for a late revision."""
    hour_ago = {"lower_since": LATER - HOUR / 2, "lower_peak": 1}
    endpoint = make_endpoint(spec=spec, status=served_status(last_scale_time=LATER - HOUR, last_start_time=T0))
    calm = make_endpoint(spec=spec, status=served_status(**hour_ago))
    idle = make_endpoint(spec=spec, status=served_status(idle_since=LATER - HOUR, **hour_ago))
    late = make_revision("r2", running=0, serve=make_serve(0, engine=engines(["STARTING"])))
    yield look(endpoint=make_endpoint(spec=spec))
    yield look(make_revision(ingress_samples=samples(1, waiting=26)), serving="r1", endpoint=endpoint)
    yield look(make_revision(ingress_samples=samples(1, waiting=6, oldest=9)), serving="r1", endpoint=endpoint)
    yield look(make_revision(replicas=4, ingress_samples=samples(4, running=6)), serving="r1", endpoint=calm)
    yield look(make_revision(ingress_samples=samples(1)), serving="r1", endpoint=idle)
    for minutes in (2, 40):
        wanted = served_status().revision.model_copy(
            update={"wanted": "r2", "wanted_time": LATER - timedelta(minutes=minutes)}
        )
        status = served_status().model_copy(update={"revision": wanted})
        yield look(make_revision(), late, wanted="r2", serving="r1", endpoint=make_endpoint(spec=spec, status=status))


def all_that_is_done(raw):
    """The children, what Serve is told, the revision, and the plans."""
    spec, settings = RealtimeEndpointSpec.model_validate(raw), Settings()
    order = RevisionOrder(
        namespace="team",
        owner="chat",
        owner_uid="uid-1",
        revision=revision_of(spec),
        spec=spec,
        ray_version=settings.ray_version,
        image_cpu=settings.image_cpu,
        image_gpu=settings.image_gpu,
    )
    told = [(plan.actions, plan.events, plan.recheck_after) for plan in plans_of(spec)]
    return revision_cluster(order, 1), service(order), endpoint_config(order), ingress_settings(spec), told


def test_the_changes_cover_every_field_of_the_spec():
    assert set(CHANGES) | set(REFUSED) == leaves(PLURAL, "spec")


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_of_the_spec_changes_what_is_done(field):
    assert all_that_is_done(changed(BASE, field, CHANGES[field])) != all_that_is_done(BASE)


AT_ONCE = ("replicas", "scaling", "limits.queueBound", "upgrade")
"""What counts without a restart of anything."""


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_makes_a_new_revision_unless_it_counts_at_once(field):
    before, after = (
        revision_of(RealtimeEndpointSpec.model_validate(raw)) for raw in (BASE, changed(BASE, field, CHANGES[field]))
    )
    assert (before == after) == field.startswith(AT_ONCE)


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_that_an_endpoint_does_not_take_is_refused(field):
    with pytest.raises(ValueError, match="an endpoint sets"):
        RealtimeEndpointSpec.model_validate(changed(BASE, field, 4))


# The status


def statuses():
    """Those of endpoints in every situation."""
    served = served_status()
    yield served
    spec = RealtimeEndpointSpec.model_validate(BASE)
    endpoint = make_endpoint(spec=spec, status=served)
    crowded = make_revision(ingress_samples=samples(1, waiting=60, oldest=9, answered=40, unanswered=2))
    yield look(crowded, serving="r1", endpoint=endpoint).status
    calm = make_revision(replicas=4, ingress_samples=samples(4, running=6))
    yield look(calm, serving="r1", endpoint=endpoint, now=LATER).status
    yield look(make_revision(ingress_samples=samples(1)), serving="r1", endpoint=endpoint).status
    starting = look(make_revision(running=0, serve=make_serve(0, engine=engines(["STARTING"])))).status
    yield look(make_revision(serve=make_serve(1, engine=engines([RUNNING]))), serving="r1", status=starting).status
    failed = make_serve(0, engine=engines([], target=1, status=DEPLOY_FAILED, message="OSError: the hub is away"))
    broken = look(make_revision(running=0, serve=failed)).status
    yield broken
    yield look(make_revision(running=0, serve=ServeView(deployed=False)), status=broken, now=LATER + HOUR).status


def test_every_field_of_the_status_is_written_for_some_endpoint():
    said = {path for status in statuses() for path in written(status.model_dump(mode="json", by_alias=True))}
    assert said == leaves(PLURAL, "status")


def test_the_figures_of_a_status_are_those_that_were_seen():
    ended = {"answered": 40, "unanswered": 2}
    crowded = make_revision(replicas=2, ingress_samples=samples(2, waiting=3, running=4, oldest=5.0, **ended))
    status = look(crowded, serving="r1", status=served_status()).status
    assert (status.queue.depth, status.queue.oldest_age_seconds, status.queue.age_ratio) == (7, 5, "2.50")
    assert (status.queue.answered, status.queue.unanswered) == (40, 2)
    assert (status.ready_replicas, status.url) == (2, "http://chat.team.svc/v1")
    assert status.queue.observed_time == LATER
