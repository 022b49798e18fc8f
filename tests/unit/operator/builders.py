"""Small builders of snapshots: each names only what a test is about."""

from datetime import UTC, datetime, timedelta

from tidemill_api.conditions import ConditionType
from tidemill_api.job_contract import Outcome, RowCounts
from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus, DriverStatus
from tidemill_operator.core.plan import Plan
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import (
    AttemptState,
    AttemptView,
    ClusterView,
    DriverMetrics,
    JobView,
    Snapshot,
    WorkerPod,
)

PROGRESSING, VALIDATED, SUSPENDED = ConditionType.PROGRESSING, ConditionType.VALIDATED, ConditionType.SUSPENDED
SUCCEEDED, FINISHED = ConditionType.SUCCEEDED, ConditionType.FINISHED

RUNNING = AttemptView(AttemptState.ACTIVE)
SILENT = AttemptView(AttemptState.UNKNOWN, problem="timed out.")
"""An attempt that Ray says runs, and one of which Ray says nothing."""

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)

MINIMAL = {
    "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    "input": {"uri": "/data/in.jsonl"},
    "output": {"uri": "/data/out/"},
    "completionWindow": "4h",
    "workers": {"min": 0, "max": 4},
    "template": {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    },
}


def make_spec(**fields):
    return BatchInferenceJobSpec.model_validate(MINIMAL | fields)


def make_job(*, spec=None, status=None, generation=1, deleting=False, problem=""):
    return JobView(
        namespace="team",
        name="tickets",
        uid="uid-1",
        generation=generation,
        created=T0,
        deleting=deleting,
        spec=None if problem else spec or make_spec(),
        spec_problem=problem,
        status=status or BatchInferenceJobStatus(),
    )


def make_cluster(**fields):
    given = {
        "name": "tickets-abc",
        "uid": "cluster-1",
        "deleting": False,
        "head_ready": True,
        "head_ip": "10.0.0.1",
        "head_problem": "",
        "replicas": 0,
        "max_replicas": 4,
        "workers_to_delete": (),
        "head_ready_since": T0,
    }
    return ClusterView(**given | fields)


def make_workers(count, *, ready=True, deleting=False):
    return tuple(WorkerPod(f"w{i}", f"10.0.1.{i}", ready, deleting) for i in range(1, count + 1))


def crew(count, **cluster):
    """A cluster with so many workers that are ready."""
    return {"cluster": make_cluster(replicas=count, **cluster), "workers": make_workers(count)}


def active(**figures):
    """An attempt that runs and publishes these figures; one that has counted the rows has counted the answers too."""
    counted = {"rows_completed": 0} if "rows_total" in figures else {}
    return {"attempt": RUNNING, "metrics": DriverMetrics(**counted | figures)}


def processing(**figures):
    """An attempt that has answered 4 of 10 rows, unless other figures are given."""
    return active(**{"phase": "processing", "rows_total": 10, "rows_completed": 4, "rows_per_worker": 10} | figures)


def ended(reason=None, *, message="Said by the driver.", log="", state=AttemptState.ENDED, rows=None):
    """An attempt that ended, with an outcome where a reason is given."""
    outcome = Outcome(reason=reason, message=message, rows=rows or RowCounts()) if reason else None
    return {"attempt": AttemptView(state, outcome=outcome, log_tail=log)}


STOPPED = ended(state=AttemptState.STOPPED)
LOST = ended(state=AttemptState.LOST)


def running_status(attempt=1, **driver):
    """The status of a job whose newest attempt was submitted."""
    first = plan(Snapshot(now=T0, job=make_job())).status
    ledger = DriverStatus(**{"attempt": attempt, "ended_attempt": attempt - 1, "pool_size": 4} | driver)
    return first.model_copy(update={"driver": ledger})


def look(*, after=timedelta(minutes=1), job=None, status=None, **seen) -> Plan:
    """What is planned so long after the job's creation."""
    return plan(Snapshot(now=T0 + after, job=job or make_job(status=status), **seen))


def condition(of_plan: Plan, of: ConditionType):
    """A condition as (status, reason)."""
    found = next(c for c in of_plan.status.conditions if c.type == of)
    return found.status, found.reason


def message(of_plan: Plan, of: ConditionType):
    return next(c.message for c in of_plan.status.conditions if c.type == of)


def reasons(of_plan: Plan):
    return [event.reason for event in of_plan.events]
