"""No field is taken and ignored, and none is promised and never written: each one of the CRD is walked.

What a field does in detail is shown elsewhere; here each shows that it does something at all.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from api_specs import SPEC, changed
from unit.operator.builders import (
    LOST,
    RUNNING,
    T0,
    active,
    crew,
    ended,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    processing,
    running_status,
)
from unit.operator.crd_fields import leaves, written

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus
from tidemill_operator.config import Settings
from tidemill_operator.core.plan import SubmitDriver
from tidemill_operator.core.snapshot import AttemptState, AttemptView, SourceView
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.ray_cluster import ClusterOrder, ray_cluster

PLURAL = "batchinferencejobs"

# The spec

BASE = SPEC | {"resources": {"gpu": 1}, "completionWindow": "4h", "workers": {"max": 4}}
VOLUMES = SPEC["template"]["volumes"]
CHANGES = {
    "model.name": "other",
    "model.source": "/data/other",
    "model.adapters": [{"name": "support", "source": "/data/support"}],
    "model.engineArgs.maxModelLen": 512,
    "model.engineArgs.dtype": "float32",
    "model.engineArgs.maxNumSeqs": 4,
    "model.engineArgs.maxNumBatchedTokens": 64,
    "model.engineArgs.gpuMemoryUtilizationPercent": 50,
    "model.engineArgs.quantization": "awq",
    "model.engineArgs.toolCallParser": "hermes",
    "input.uri": "/data/input/others.jsonl",
    "input.onInvalid": "Skip",
    "output.uri": "/data/output/others/",
    "completionWindow": "5h",
    "targetCompletion": "20m",
    "schedule": "LatestSafe",
    "cheaperHours": [{"start": "13:30", "end": "15:30", "priceFactor": "0.10"}],
    "onDeadline": "Continue",
    "workers.min": 2,
    "workers.max": 3,
    "resources.gpu": 2,
    "resources.gpuResourceName": "amd.com/gpu",
    "resources.cpu": "3",
    "resources.memory": "9Gi",
    "head.cpu": "3",
    "head.memory": "9Gi",
    "image": "registry.example/another:1",
    "retry.maxAttempts": 7,
    "retry.backoffSeconds": 7,
    "maxFailedRows": 7,
    "suspend": True,
    "cancel": True,
    "resubmitOf": "before",
    "ttlSecondsAfterFinished": 60,
    "template.labels": {"team": "support"},
    "template.nodeSelector": {"gpu": "l4"},
    "template.tolerations": [{"key": "spot", "operator": "Exists"}],
    "template.env": [{"name": "A", "value": "1"}],
    "template.volumes": [*VOLUMES, {"name": "scratch", "emptyDir": {}}],
    "template.volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    "template.serviceAccountName": "reader",
}
"""By field: another value than it has in `BASE`."""


def all_that_is_done(raw):
    """The children, what the driver is told, and the plans of a new, waiting, working, late and finished job."""
    spec = BatchInferenceJobSpec.model_validate(raw)
    job, settings = make_job(spec=spec, generation=2), Settings()
    order = ClusterOrder("team", "tickets", "uid-1", spec, settings.ray_version, settings.image_cpu, settings.image_gpu)
    over = look(status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    idle = processing(rows_completed=9, in_flight={"10.0.1.1": 1})
    uncounted = replace(job, status=running_status())
    counted = look(job=uncounted, **crew(0), **processing(rows_total=900, rows_completed=0)).status
    ledger = counted.driver.model_copy(update={"ended_attempt": 1})
    waiting = counted.model_copy(update={"rows": RowsStatus.counted(900, 0, 0), "driver": ledger})
    plans = [
        look(job=job),
        look(job=replace(job, status=waiting), after=timedelta(hours=2, minutes=30)),
        look(job=replace(job, status=running_status()), **crew(2), **idle),
        look(job=replace(job, status=running_status()), **crew(1), **processing(rows_total=9000)),
        look(job=replace(job, status=running_status()), after=timedelta(hours=4, minutes=30), **crew(2), **idle),
        look(job=replace(job, status=over)),
    ]
    told = [(plan.actions, plan.events, plan.recheck_after) for plan in plans]
    return ray_cluster(order), job_config(job, SubmitDriver("10.0.0.1", 1)), told


def test_the_changes_cover_every_field_of_the_spec():
    assert set(CHANGES) == leaves(PLURAL, "spec")


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_of_the_spec_changes_what_is_done(field):
    base = BASE | {"schedule": "LatestSafe"} if field == "cheaperHours" else BASE
    assert all_that_is_done(changed(base, field, CHANGES[field])) != all_that_is_done(base)


# The status


def statuses():
    """Those of jobs in every situation."""
    working = processing(rows_failed=1, prompt_tokens=70, completion_tokens=30, rows_per_second=1.0)
    at_work = look(after=timedelta(hours=1), status=running_status(), **crew(2), **working).status
    yield at_work
    since = T0 + timedelta(minutes=50)
    team = crew(2) | {"workers": tuple(replace(worker, created=since) for worker in make_workers(2))}
    held = {"10.0.1.1": 1, "10.0.1.2": 1}
    first = look(after=timedelta(hours=1), status=at_work, **team, **processing(in_flight=held)).status
    more = processing(rows_completed=6, in_flight=held)
    yield look(after=timedelta(minutes=61), status=first, **team, **more).status
    waiting = look(status=running_status(), cluster=make_cluster(), **ended(Reason.INPUT_NOT_FOUND)).status
    yield waiting
    died = at_work.model_copy(update={"driver": running_status(rows_at_failure=5, failures=1).driver})
    yield look(status=died, **crew(2), **LOST).status
    yield look(job=make_job(spec=make_spec(suspend=True), status=at_work), **crew(2), **working).status
    yield look(status=at_work, cluster=make_cluster(), **active(phase="finalising")).status
    cancelled = make_job(spec=make_spec(cancel=True), status=waiting)
    yield look(job=cancelled, cluster=make_cluster()).status
    source = SourceView(finished=True, output_uri="/data/before/")
    yield look(job=make_job(spec=make_spec(resubmitOf="before")), source=source).status
    files = OutputURIs(results="/data/out/r.jsonl", errors="/data/out/e.jsonl", validation="/data/out/v.jsonl")
    rows, tokens = RowCounts(total=9, completed=7, failed=2), TokenCounts(prompt=63, completion=27)
    outcome = Outcome(reason=Reason.SOME_ROWS_FAILED, message="So.", rows=rows, tokens=tokens, output=files)
    yield look(status=at_work, attempt=AttemptView(AttemptState.ENDED, outcome=outcome)).status


def test_every_field_of_the_status_is_written_for_some_job():
    said = {path for status in statuses() for path in written(status.model_dump(mode="json", by_alias=True))}
    assert said == leaves(PLURAL, "status")


def test_the_tokens_follow_the_drivers_figures_and_stay_while_it_validates_again():
    working = look(status=running_status(), **crew(1), **processing(prompt_tokens=70, completion_tokens=30)).status
    assert (working.tokens.prompt, working.tokens.completion) == (70, 30)
    again = look(status=working, **crew(1), **processing(phase="validating")).status
    assert (again.tokens, again.rows) == (working.tokens, working.rows)


def test_ready_workers_are_those_that_can_work():
    cluster, (one, two, three) = make_cluster(replicas=3), crew(3)["workers"]
    workers = (one, replace(two, ready=False), replace(three, deleting=True))
    working = look(status=running_status(), cluster=cluster, workers=workers, **processing(rows_total=100_000)).status
    assert (working.workers.desired, working.workers.ready) == (4, 1)


def test_a_job_names_its_cluster_while_there_is_one():
    first = look()
    assert first.status.cluster_name == ""
    working = look(status=first.status, cluster=make_cluster()).status
    assert working.cluster_name == "tickets-abc"
    over = look(status=working, cluster=make_cluster(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    assert over.cluster_name == ""


def test_the_moments_of_a_job_are_its_first_look_and_its_end():
    first = look(after=timedelta(minutes=1)).status
    over = look(after=timedelta(minutes=9), status=running_status(), **ended(Reason.ALL_ROWS_ANSWERED)).status
    assert (over.completion_time - first.start_time) == timedelta(minutes=8)
    later = look(after=timedelta(hours=9), status=over).status
    assert (later.start_time, later.completion_time) == (over.start_time, over.completion_time)


def test_a_driver_that_puts_the_results_in_order_is_finalising_also_while_its_figures_are_missing():
    working = look(status=running_status(), **crew(1), **processing()).status
    joining = look(status=working, cluster=make_cluster(), **processing(phase="finalising", rows_completed=10)).status
    blind = look(status=joining, cluster=make_cluster(), attempt=RUNNING, metrics_problem="slow.").status
    for status in (joining, blind):
        said = next(condition for condition in status.conditions if condition.type == "Progressing")
        assert (said.status, said.reason) == ("True", "Finalising")
