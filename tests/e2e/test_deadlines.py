"""Workers by the deadline on the real Ray: one where the window is loose, more where it is tight, and a true forecast.

The paced engine stands for vLLM: a worker answers `PER_SECOND` rows a second, so what is right is known beforehand.
"""

import re
from dataclasses import dataclass
from datetime import datetime

import pytest
from chaos_jobs import IN_FLIGHT, ROWS, manifest

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(590)]

SECONDS = 2.4
PER_SECOND = IN_FLIGHT / SECONDS
"""Rows a second of one worker: it has so many in flight, each takes this long."""


@dataclass(frozen=True)
class Foreseen:
    """What the status said at one look: rows answered, and the seconds from creation to the last row."""

    completed: int
    finish: float


def seconds_since(begin, end):
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def watched(jobs, name):
    """The forecasts of a job until it has finished, one for each number of rows answered, and its last state."""
    told = {}
    while True:
        job = jobs.get(name)
        status, created = job.get("status", {}), job["metadata"]["creationTimestamp"]
        finish = (status.get("forecast") or {}).get("finishTime")
        if finish:
            completed = status["rows"]["completed"]
            told.setdefault(completed, Foreseen(completed, seconds_since(created, finish)))
        if status.get("completionTime"):
            return list(told.values()), job
        jobs.wait_until(lambda seen=status: jobs.get(name).get("status") != seen, what=f"news of {name}")


def most_workers(jobs, name):
    """The largest size that the job was given, as its events tell."""
    told = [e["message"] for e in jobs.events() if e["involvedObject"]["name"] == name and e["reason"] == "Scaled"]
    return max((int(re.search(r"-> (\d+)", text)[1]) for text in told), default=0)


def run(jobs, name, **spec):
    jobs.write_rows(ROWS)
    made = manifest(jobs, workers=4, least=0, seconds=SECONDS, **spec)
    made["metadata"]["name"] = name
    made["spec"]["output"]["uri"] = f"/data/output/{name}/"
    jobs.apply(made)
    return watched(jobs, name)


def test_a_loose_window_takes_one_worker_a_tight_one_more_and_the_forecast_is_true_from_a_quarter_on(jobs, figure):
    forecasts, loose = run(jobs, "loose", completionWindow="4h")
    created, completed = loose["metadata"]["creationTimestamp"], loose["status"]["completionTime"]
    truth = seconds_since(created, completed)
    off = {seen.completed: seen.finish / truth - 1 for seen in forecasts if seen.completed >= ROWS / 4}
    figure("rows a second measured", float(loose["status"]["measured"]["rowsPerSecondPerWorker"]))
    figure("seconds to start measured", loose["status"]["measured"]["startupSeconds"])
    figure("largest error of the forecast from a quarter on", max(off.values(), key=abs))
    assert most_workers(jobs, "loose") == 1
    assert len(off) >= 5
    assert max(map(abs, off.values())) <= 0.2
    assert float(loose["status"]["measured"]["rowsPerSecondPerWorker"]) == pytest.approx(PER_SECOND, rel=0.25)

    _, tight = run(jobs, "tight", completionWindow="10m", targetCompletion="2m")
    figure("workers of the tight job", most_workers(jobs, "tight"))
    figure("seconds of the tight job", seconds_since(tight["metadata"]["creationTimestamp"], completed_at(tight)))
    assert most_workers(jobs, "tight") >= 2, "by what the first job measured, one worker is too slow"
    assert tight["status"]["rows"]["completed"] == ROWS
    assert seconds_since(tight["metadata"]["creationTimestamp"], completed_at(tight)) < truth


def completed_at(job):
    return job["status"]["completionTime"]
