"""The jobs of `control_plane.py`: such as a team applies, and such as the operator left behind when they ended."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devcluster.apiserver.store import Key, Store
from devcluster.client import Client, Resource
from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import AttemptState, AttemptView, Snapshot
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.views import read_job

if TYPE_CHECKING:
    from pathlib import Path

    Json = dict[str, Any]

JOBS = Resource("tidemill.dev", "v1alpha1", "batchinferencejobs")
NAMESPACE = "bench"
FINISHED, RUNNING = "finished", "running"
ROWS = 1_000_000
WORKERS = 2


def job(kind: str, name: str) -> Json:
    """A job as a team would apply it."""
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "BatchInferenceJob",
        "metadata": {"name": name, "labels": {"bench": kind}},
        "spec": {
            "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
            "input": {"uri": f"/data/{name}.jsonl"},
            "output": {"uri": f"/data/{name}/"},
            "completionWindow": "4h",
            "workers": {"min": WORKERS, "max": WORKERS},
            "ttlSecondsAfterFinished": 604800,
            "template": {
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            },
        },
    }


def finished_status(body: Json) -> Json:
    """The status that the operator itself writes when this job's driver says that every row was answered."""
    seen = Snapshot(now=datetime.now(UTC).replace(microsecond=0), job=read_job(body, SpecPolicy()))
    begun = plan(seen).status
    ledger = begun.driver.model_copy(update={"attempt": 1})
    outcome = Outcome(
        reason=Reason.ALL_ROWS_ANSWERED,
        message=f"All {ROWS} rows have a result.",
        rows=RowCounts(total=ROWS, completed=ROWS),
        tokens=TokenCounts(prompt=ROWS * 70, completion=ROWS * 30),
        output=OutputURIs(results=f"{body['spec']['output']['uri']}results.jsonl"),
    )
    ended = Snapshot(
        now=seen.now,
        job=read_job({**body, "status": _wire(begun.model_copy(update={"driver": ledger}))}, SpecPolicy()),
        attempt=AttemptView(AttemptState.ENDED, outcome=outcome),
    )
    return _wire(plan(ended).status)


def _wire(status: Any) -> Json:
    dumped: Json = status.model_dump(mode="json", by_alias=True)
    return dumped


async def create_running(client: Client, count: int) -> None:
    """Creates so many jobs that nobody has looked at yet."""
    for number in range(count):
        await client.create(JOBS, NAMESPACE, job(RUNNING, f"{RUNNING}-{number:05d}"))


async def create_finished(client: Client) -> str:
    """Creates one finished job through the API server and returns its name."""
    made = await client.create(JOBS, NAMESPACE, job(FINISHED, f"{FINISHED}-00000"))
    name: str = made["metadata"]["name"]
    await client.patch(JOBS, NAMESPACE, name, {"status": finished_status(made)}, subresource="status")
    return name


def copy_finished(data: Path, name: str, count: int) -> None:
    """Writes copies of a finished job into the files of a stopped API server, `count` jobs with the first.

    Ten thousand jobs over HTTP would take minutes of validation that this benchmark is not about.
    """
    store = Store(data / "objects.sqlite3")
    kind = f"{JOBS.group}/{JOBS.plural}"
    first = store.get(Key(kind, NAMESPACE, name))
    if first is None:
        raise LookupError(f"there is no {name} in {data}")
    for number in range(1, count):
        copy = f"{FINISHED}-{number:05d}"
        metadata = {**first.document["metadata"], "name": copy, "uid": str(uuid.uuid4())}
        store.create(Key(kind, NAMESPACE, copy), {**first.document, "metadata": metadata})
    store.close()
