"""A user changes their mind: suspend, resume, another window, cancel, resubmit, expiry. Final files are complete."""

import json
import time
from collections import Counter

import pytest
from chaos_jobs import ROWS, all_answered, manifest, once_each, only_what_was_lost_ran_again, start
from chaos_notes import Loss, Notes

from tidemill_workloads.parts import decode

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]


STOP_SECONDS = 50
"""A driver that is told to stop flushes and goes in seconds; Ray kills one that does not after 60 s."""


def begun(jobs):
    """Rows that some engine was given, by custom_id."""
    return {run.custom_id for run in Notes(jobs.notes).runs()}


def answered(jobs):
    """Rows that some engine has answered, by custom_id."""
    return {run.custom_id for run in Notes(jobs.notes).runs() if run.answered is not None}


def wait_answered(jobs, count):
    jobs.wait_until(lambda: len(answered(jobs)) >= count, seconds=180, what=f"{count} answered rows")


def wait_suspended(jobs):
    """Said, and nothing left that costs anything."""
    wanted = ("wait", "--for=condition=Suspended", "bij/rows", "-n", jobs.namespace, "--timeout=150s")
    waited = jobs.kubectl.run(*wanted, timeout=160)
    assert waited.returncode == 0, f"{waited.stderr}\n{jobs.describe()}"
    jobs.wait_until(lambda: not jobs.children(), what="nothing left to pay for")


def durable(jobs):
    """custom_ids that have a line in parts, and how many lines each."""
    lines = [line for part in jobs.output.glob("parts/*/*.jsonl") for line in decode(part.read_bytes())]
    return Counter(json.loads(line.payload)["custom_id"] for line in lines)


def every_row_has_its_line(jobs, ids, code):
    """Files of a job that was ended early: results of what was answered, error lines of this code for the rest."""
    once_each(jobs, ids)
    results = {line["custom_id"] for line in jobs.lines("results.jsonl")}
    errors = jobs.lines("errors.jsonl")
    assert {line["error"]["code"] for line in errors} == {code}
    assert {line["response"] for line in errors} == {None}
    assert all(line["error"]["message"] for line in errors)
    assert json.loads((jobs.output / "manifest.json").read_text())
    rows = jobs.get()["status"]["rows"]
    assert rows == {"total": len(ids), "completed": len(results), "failed": len(errors), "remaining": 0}
    return results


def suspend(jobs):
    """A pause in the middle of the work: what is answered has its line, once, and nothing claims to be the result."""
    before = time.time()
    jobs.patch(suspend=True)
    wait_suspended(jobs)
    stopped = Loss(before, time.time())
    assert stopped.until - stopped.since < STOP_SECONDS, "the driver was killed, or something waited for it"
    assert jobs.condition("Progressing")["status"] == "False"
    assert jobs.condition("Finished")["status"] == "False"
    lines = durable(jobs)
    assert set(lines) >= answered(jobs), "answered rows are without a line"
    assert set(lines.values()) == {1}
    assert not [name for name in ("results.jsonl", "errors.jsonl", "manifest.json") if (jobs.output / name).exists()]
    return stopped


def resume_after(jobs, seconds):
    """The end of a pause in which nothing ran."""
    kept = answered(jobs)
    resume_at = time.monotonic() + seconds
    jobs.wait_until(lambda: time.monotonic() >= resume_at, what="the end of the pause")
    assert answered(jobs) == kept, "a suspended job went on"
    assert jobs.condition("Suspended")["status"] == "True"
    jobs.patch(suspend=False)
    return kept


def edit_window(jobs, window):
    """Another completion window for a job at work: it is taken, and no work is interrupted for it."""
    attempt = jobs.get()["status"]["driver"]["attempt"]
    jobs.patch(completionWindow=window)
    generation = jobs.get()["metadata"]["generation"]
    jobs.wait_until(lambda: jobs.get()["status"]["observedGeneration"] >= generation, what="a look at the edit")
    assert jobs.get()["status"]["driver"]["attempt"] == attempt


def only_the_pause_cost_anything(jobs, stopped, kept):
    only_what_was_lost_ran_again(Notes(jobs.notes), [stopped])
    twice = [run for run in Notes(jobs.notes).runs() if run.began > stopped.until and run.custom_id in kept]
    assert twice == [], "rows that were answered before the pause ran again"
    reasons = [event["reason"] for event in jobs.events()]
    assert {"Suspended", "Resumed"} <= set(reasons), reasons


@pytest.mark.all
def test_a_suspended_job_keeps_its_answers_and_goes_on_when_resumed(jobs):
    ids = start(jobs, workers=1, seconds=0.4, rows=800)
    wait_answered(jobs, 200)
    stopped = suspend(jobs)
    kept = resume_after(jobs, 1)
    all_answered(jobs, ids)
    assert jobs.condition("Suspended")["status"] == "False"
    only_the_pause_cost_anything(jobs, stopped, kept)


@pytest.mark.all
def test_a_job_born_suspended_costs_nothing_until_it_is_resumed(jobs):
    ids = start(jobs, workers=1, seconds=0.1, rows=20, suspend=True)
    wait_suspended(jobs)
    assert begun(jobs) == set()
    jobs.patch(suspend=False)
    all_answered(jobs, ids)


@pytest.mark.all
@pytest.mark.timeout(900)
def test_a_job_suspended_for_a_minute_resumed_edited_cancelled_half_way_and_resubmitted_is_complete_at_each_step(jobs):
    ids = start(jobs)
    wait_answered(jobs, ROWS // 5)
    stopped = suspend(jobs)
    kept = resume_after(jobs, 60)
    wait_answered(jobs, len(kept) + 1)
    edit_window(jobs, "2h")
    wait_answered(jobs, ROWS // 2)
    results = cancelled(jobs, ids)
    only_the_pause_cost_anything(jobs, stopped, kept)
    resubmitted(jobs, ids, results)


def cancelled(jobs, ids):
    """A cancel at this moment: no answer that came before is lost; the custom_ids that have a result."""
    asked_at = time.time()
    jobs.patch(cancel=True)
    succeeded = jobs.wait_finished(seconds=200)
    assert (succeeded["status"], succeeded["reason"]) == ("False", "Cancelled"), succeeded
    results = every_row_has_its_line(jobs, ids, "batch_cancelled")
    runs = Notes(jobs.notes).runs()
    early = {run.custom_id for run in runs if run.answered is not None and run.answered < asked_at}
    assert early <= results, "rows that were answered before the end was asked for are lost"
    assert len(ids) // 2 <= len(results) < len(ids)
    jobs.wait_until(lambda: not jobs.children(), what="nothing left to pay for")
    return results


def resubmitted(jobs, ids, results):
    """The rest in a job of its own: a complete result, and only rows without a 2xx line are run."""
    first = (jobs.output / "results.jsonl").read_bytes().splitlines()
    tries = len(Notes(jobs.notes).runs())
    jobs.apply(manifest(jobs, seconds=0.2, name="rest", resubmitOf="rows", output={"uri": "/data/output/rest/"}))
    succeeded = jobs.wait_finished("rest", seconds=200)
    assert succeeded["reason"] == "AllRowsAnswered", succeeded
    output = jobs.output / "rest"
    assert jobs.answered_ids(output) == ids
    assert set(first) <= set((output / "results.jsonl").read_bytes().splitlines())
    run_now = {run.custom_id for run in Notes(jobs.notes).runs()[tries:]}
    assert run_now == set(ids) - results
    rows = jobs.get("rest")["status"]["rows"]
    assert rows == {"total": len(ids), "completed": len(ids), "failed": 0, "remaining": 0}


@pytest.mark.all
def test_a_suspended_job_that_is_cancelled_ends(jobs):
    ids = start(jobs, workers=1, seconds=0.4, rows=400)
    wait_answered(jobs, 50)
    jobs.patch(suspend=True)
    wait_suspended(jobs)
    jobs.patch(cancel=True)
    assert jobs.wait_finished(seconds=200)["reason"] == "Cancelled"
    assert answered(jobs) <= every_row_has_its_line(jobs, ids, "batch_cancelled")


def test_a_job_that_waits_for_its_input_can_be_cancelled(jobs):
    jobs.apply(manifest(jobs))
    jobs.wait_until(lambda: jobs.condition("Progressing").get("reason") == "InputNotFound", what="InputNotFound")
    jobs.patch(cancel=True)
    succeeded = jobs.wait_finished()
    assert succeeded["reason"] == "Cancelled"
    assert "It was waiting: InputNotFound: " in succeeded["message"]
    jobs.wait_until(lambda: not jobs.children(), what="nothing left to pay for")


@pytest.mark.all
def test_a_cancelled_job_stays_cancelled(jobs):
    start(jobs, workers=1, rows=20, cancel=True)
    assert jobs.wait_finished()["reason"] == "Cancelled"
    patch = json.dumps({"spec": {"cancel": False}})
    refused = jobs.kubectl.run("patch", "bij", "rows", "-n", jobs.namespace, "--type=merge", "-p", patch)
    assert refused.returncode == 1
    assert "cancel" in refused.stderr


@pytest.mark.all
def test_at_the_end_of_its_window_a_job_ends_with_what_it_has(jobs):
    """The shortest window is five minutes: the job takes longer than that, whatever the machine."""
    ids = start(jobs, workers=1, seconds=20, in_flight=16, rows=400, completionWindow="5m")
    succeeded = jobs.wait_finished(seconds=420)
    assert (succeeded["status"], succeeded["reason"]) == ("False", "Expired"), succeeded
    results = every_row_has_its_line(jobs, ids, "batch_expired")
    assert results
    assert len(results) < len(ids)
    jobs.wait_until(lambda: not jobs.children(), what="nothing left to pay for")


@pytest.mark.all
def test_a_hopeless_job_is_stopped_early_and_is_complete(jobs):
    bad = jobs.write_rows(600, prefix="bad-")
    jobs.apply(manifest(jobs, workers=1, seconds=0.2, maxFailedRows=20))
    succeeded = jobs.wait_finished(seconds=200)
    assert (succeeded["status"], succeeded["reason"]) == ("False", "TooManyRowsFailed"), succeeded
    once_each(jobs, bad)
    assert len(begun(jobs)) < len(bad), "every row was run"
