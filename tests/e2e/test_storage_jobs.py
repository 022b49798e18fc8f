"""Jobs whose storage fails them for a while: a disk that is full, an object store that is gone."""

import errno
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from chaos_jobs import ROWS, all_answered, durable_rows, manifest, once_each, only_what_was_lost_ran_again, start
from chaos_notes import FLUSH_SECONDS, SLACK_SECONDS, Loss, Notes
from object_stores import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(480)]

DISK_BYTES = 16 << 20
SLOW_ROWS = 1.6
"""Seconds a row, so that what two workers answer between two flushes is a small part of the job."""
NOTICED_SECONDS = FLUSH_SECONDS + SLACK_SECONDS
"""The first flush to a full disk is the last, and no row is begun after it."""
OUTAGE_SECONDS = 60
BUCKET = "rows"


@contextmanager
def mounted(folder):
    """A file system of its own at `folder`, small enough to be filled."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tidemill-test"]
    subprocess.run(["mount", *options, str(folder)], check=True, timeout=10)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


@pytest.fixture
def small_disk(devcluster, tmp_path):
    """The job's output folder on a disk of its own, there before the pods and until after them."""
    if devcluster.state is None:
        pytest.skip("mounts a file system on this machine, so it needs the dev cluster")
    with mounted(tmp_path / "output") as folder:
        yield folder


def fill(folder):
    """Takes every free block."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"\0" * 65536):
                pass
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise


def test_a_full_disk_is_waited_for_and_costs_no_row(small_disk, jobs):
    """Run again: what no flush made durable before, and what was begun until the next flush failed; nothing else."""
    ids = start(jobs, seconds=SLOW_ROWS)
    notes = Notes(jobs.notes)
    jobs.wait_until(lambda: notes.answered() >= ROWS // 2, what="rows at work")
    full_since = time.time()
    fill(small_disk)
    condition = jobs.wait_until(
        lambda: (c := jobs.condition("Progressing")).get("reason") == "OutputNotWritable" and c,
        what="the reason OutputNotWritable",
    )
    assert condition["status"] == "False"
    assert "space" in condition["message"].lower()
    assert jobs.condition("Finished")["status"] == "False"
    jobs.wait_until(lambda: not [name for name in jobs.children() if "worker" in name], what="no worker that waits")
    kept = durable_rows(jobs.output)
    begun = [run for run in notes.runs() if run.began > full_since]
    (small_disk / "filler").unlink()
    all_answered(jobs, ids)
    assert len(kept) >= ROWS // 4
    assert max(run.began for run in begun) <= full_since + NOTICED_SECONDS
    loss = Loss(full_since, full_since + NOTICED_SECONDS, kept=kept)
    only_what_was_lost_ran_again(notes, [loss], spare=len(begun))
    assert sum(notes.run_again().values()) <= ROWS // 3


@pytest.fixture
def store(faults, tmp_path):
    """An object store on this machine, at the address by which pods reach it, with one bucket."""
    server = S3Server(tmp_path / "store", host=faults.host_address)
    server.start()
    server.make_bucket(BUCKET)
    yield server
    server.kill()


def file_url(store, path):
    """Where the store's filer has an object: for the test's own reading and writing."""
    return f"http://{store.host}:{store.filer_port}/buckets/{BUCKET}/{path}"


def s3_job(jobs, store):
    """A job from the bucket into the bucket, its credentials from a Secret; the custom_ids of its rows."""
    ids = jobs.write_rows(ROWS)
    rows = (jobs.folder / "input" / "rows.jsonl").read_bytes()
    urllib.request.urlopen(urllib.request.Request(file_url(store, "in/rows.jsonl"), rows, method="PUT"), timeout=30)
    words = [f"--from-literal={name}={value}" for name, value in store.environment.items()]
    jobs.kubectl("create", "secret", "generic", "store", "-n", jobs.namespace, *words)
    uris = {"input": {"uri": f"s3://{BUCKET}/in/rows.jsonl"}, "output": {"uri": f"s3://{BUCKET}/out/"}}
    made = manifest(jobs, **uris)
    made["spec"]["template"]["env"] += [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "store", "key": name}}} for name in store.environment
    ]
    jobs.apply(made)
    return ids


def test_an_object_store_that_is_gone_for_a_minute_costs_nothing_but_time(jobs, store):
    ids = s3_job(jobs, store)
    notes = Notes(jobs.notes)
    jobs.wait_until(lambda: notes.answered() >= ROWS // 4, what="rows at work")
    store.kill()
    back_at = time.monotonic() + OUTAGE_SECONDS
    jobs.wait_until(lambda: time.monotonic() >= back_at, what="the end of the outage")
    assert jobs.condition("Finished")["status"] == "False"
    store.start()
    succeeded = jobs.wait_finished(seconds=300)
    assert succeeded["reason"] == "AllRowsAnswered", succeeded
    for name in ("results.jsonl", "errors.jsonl", "manifest.json"):
        with urllib.request.urlopen(file_url(store, f"out/{name}"), timeout=30) as response:
            (jobs.output / name).write_bytes(response.read())
    once_each(jobs, ids)
    assert jobs.answered_ids() == ids
    assert jobs.get()["status"]["driver"]["attempt"] == 1
    assert notes.run_again() == {}
