"""A job of 2,000 rows loses a part of itself, several times, at random moments: each row stands once in the end.

`TIDEMILL_CHAOS_SEED` chooses the moments; the engines write down what they do, so that what was run twice is counted.
"""

import json
import os
import random
import time
import urllib.request
from base64 import b64decode

import pytest
from chaos_faults import LINGER_SECONDS
from chaos_jobs import (
    IN_FLIGHT,
    ROWS,
    all_answered,
    durable_rows,
    manifest,
    only_what_was_lost_ran_again,
    start,
)
from chaos_notes import Loss, Notes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(560)]

SEED = os.environ.get("TIDEMILL_CHAOS_SEED", "1")
CUT_SECONDS = 25
"""Longer than Ray takes to call a node dead, shorter than the job."""

KILLS = {"driver": 3, "worker": 3, "head": 2, "engine": 3, "operator": 3}


def moments(victim, kills, rows=ROWS):
    """Counts of answered rows at which something is lost: random, in order, none so late that it comes too late."""
    chance = random.Random(f"{SEED}-{victim}")
    return sorted(chance.randint(rows // 50, rows * 7 // 10) for _ in range(kills))


@pytest.mark.all
@pytest.mark.parametrize("victim", list(KILLS))
def test_a_job_survives_kills_at_random_moments(jobs, faults, victim):
    ids = start(jobs)
    for number, moment in enumerate(moments(victim, KILLS[victim]), start=1):
        jobs.wait_until(lambda moment=moment: faults.notes.answered() >= moment, what=f"{moment} answered rows")
        if number == KILLS[victim]:
            jobs.wait_until(lambda: durable_rows(jobs.output), what="a row that must not run again")
        faults.lose(victim)
    all_answered(jobs, ids)
    leaves_zombies = victim in ("driver", "head")
    only_what_was_lost_ran_again(faults.notes, faults.losses, spare=2 * IN_FLIGHT * leaves_zombies)
    if victim == "operator":
        assert faults.notes.run_again() == {}
        assert jobs.get()["status"]["driver"]["attempt"] == 1
    else:
        assert faults.losses[-1].kept


def test_whatever_is_killed_before_the_first_row_the_job_begins_anew(jobs, faults):
    ids = start(jobs, seconds=0.2)
    faults.lose("operator")
    faults.lose("head")
    faults.lose("driver")
    assert faults.notes.runs() == [], "it was killed too late"
    faults.lose("operator")
    all_answered(jobs, ids)
    assert faults.notes.run_again() == {}


@pytest.mark.all
def test_a_worker_that_was_cut_off_and_comes_back_does_no_harm(jobs, faults):
    """It goes on with what it holds, and writes it: the disk is not cut off. Meanwhile others may run the same rows."""
    ids = start(jobs, seconds=1.6)
    jobs.wait_until(lambda: faults.notes.answered() >= ROWS // 8 and len(faults.engine_pids()) == 2, what="two workers")
    pod = jobs.wait_until(faults.busy_pod, what="a worker with rows")
    cable = faults.link(pod)
    kept = durable_rows(jobs.output)
    cut_at = time.time()
    cable.down()
    back_at = time.monotonic() + CUT_SECONDS
    try:
        jobs.wait_until(lambda: time.monotonic() >= back_at, what="the end of the cut")
    finally:
        cable.up()
    assert jobs.condition("Finished")["status"] == "False", "the job was over before its worker came back"
    faults.losses.append(Loss(cut_at, time.time() + LINGER_SECONDS["driver"], pod, kept=kept))
    all_answered(jobs, ids)
    only_what_was_lost_ran_again(faults.notes, faults.losses, spare=2 * IN_FLIGHT)


@pytest.mark.all
def test_of_two_drivers_at_once_one_gives_way_and_each_row_stands_once(jobs, faults):
    ids = start(jobs)
    jobs.wait_until(lambda: faults.notes.answered() >= ROWS // 8, what="rows at work")
    submit_again(jobs)
    faults.losses += takeovers(jobs)
    all_answered(jobs, ids)
    assert faults.losses, "the second one never owned the folder"
    assert faults.losses[-1].kept, "nothing was durable when it came"
    only_what_was_lost_ran_again(faults.notes, faults.losses, spare=2 * IN_FLIGHT * len(faults.losses))


def takeovers(jobs):
    """Each time that an attempt took the folder from the one before, which then has a moment to see it and to end.

    Watches until the job is over, so that what was durable at each of them is known.
    """
    seen = []

    def over():
        seen.append((time.time(), durable_rows(jobs.output)))
        claimed[:] = sorted(path.stat().st_mtime for path in (jobs.output / "attempts").iterdir())
        return (jobs.output / "manifest.json").exists()

    claimed = []
    jobs.wait_until(over, seconds=300, what="the manifest")
    lingers = LINGER_SECONDS["driver"]
    kept = [[rows for at, rows in seen if at < moment] for moment in claimed]
    return [
        Loss(moment, moment + lingers, struck=moment + lingers, kept=rows[-1])
        for moment, rows in zip(claimed[1:], kept[1:], strict=True)
    ]


def submit_again(jobs):
    """A second submission of the running job's own entry point and configuration, as by a hand that should not."""
    head = jobs.kubectl.json("get", "pods", "-n", jobs.namespace, "-l", "ray.io/node-type=head")["items"][0]
    secrets = jobs.kubectl.json("get", "secrets", "-n", jobs.namespace)["items"]
    secret = next(secret for secret in secrets if "auth_token" in secret["data"])
    url = f"http://{head['status']['podIP']}:8265/api/jobs/"
    headers = {"Authorization": f"Bearer {b64decode(secret['data']['auth_token']).decode()}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
        running = next(job for job in json.load(response) if job["status"] == "RUNNING" and job["submission_id"])
    environment = {"env_vars": running["runtime_env"]["env_vars"]}
    body = {"entrypoint": running["entrypoint"], "submission_id": "by-hand", "runtime_env": environment}
    headers |= {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["submission_id"] == "by-hand"


@pytest.mark.all
def test_a_second_run_over_a_finished_folder_runs_nothing(jobs):
    ids = jobs.write_rows(ROWS)
    wanted = manifest(jobs, seconds=0.1)
    jobs.apply(wanted)
    all_answered(jobs, ids)
    before = {path.name: path.stat().st_mtime_ns for path in jobs.output.iterdir() if path.is_file()}
    tries = len(Notes(jobs.notes).runs())
    jobs.kubectl("delete", "bij", "rows", "-n", jobs.namespace)
    jobs.apply(wanted)
    all_answered(jobs, ids)
    assert {path.name: path.stat().st_mtime_ns for path in jobs.output.iterdir() if path.is_file()} == before
    assert len(Notes(jobs.notes).runs()) == tries == ROWS
    assert jobs.get()["status"]["rows"]["completed"] == ROWS


@pytest.mark.all  # the quick suite has it without a cluster: workloads/test_engines_lost.py
@pytest.mark.parametrize("way", ["kill", "dead"])
def test_one_row_that_kills_its_engine_costs_only_itself(jobs, way):
    """All 64 rows are in flight when it strikes, so all of them are suspects."""
    ids = jobs.write_rows(64)
    source = jobs.folder / "input" / "rows.jsonl"
    source.write_text(source.read_text().replace('"row-40"', f'"{way}-40"'))
    jobs.apply(manifest(jobs, workers=1, seconds=1.2, in_flight=64, engine="chaos_engines:poisoned"))
    succeeded = jobs.wait_finished(seconds=240)
    assert succeeded["reason"] == "SomeRowsFailed", succeeded
    assert [line["custom_id"] for line in jobs.lines("results.jsonl")] == [one for one in ids if one != "row-40"]
    (failed,) = jobs.lines("errors.jsonl")
    assert failed["custom_id"] == f"{way}-40"
    assert failed["response"] is None
    assert failed["error"]["code"]
    assert failed["error"]["message"]
    first, *_ = Notes(jobs.notes).starts()
    in_flight = [run.custom_id for run in Notes(jobs.notes).runs() if run.engine == first and run.answered is None]
    assert len(in_flight) == 64
    restarts = len(Notes(jobs.notes).starts()) - 1
    assert 1 <= restarts <= 3, f"{restarts} restarts for one bad row"
