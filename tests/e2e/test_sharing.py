"""Workers that come late and workers that go: whoever has room takes the rows, and what was lost does not come last."""

import time

import pytest
from chaos_faults import pod_of
from chaos_jobs import ROWS, all_answered, chunks_of, only_what_was_lost_ran_again, start
from chaos_notes import Loss

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(560)]

LATE_SECONDS = 20
TAKEN_OVER_SECONDS = 60


@pytest.fixture
def full_cluster(jobs):
    """Pods that leave room for a head and one worker; call it to free the room of one more."""
    nodes = jobs.kubectl.json("get", "nodes")["items"]
    cpus = {node["metadata"]["name"]: int(node["status"]["allocatable"]["cpu"]) for node in nodes}
    room = {name: cpus[name] - (2 if name == min(cpus) else 0) for name in cpus}
    for node, cpu in room.items():
        jobs.kubectl("apply", "-f", "-", given=blocker(jobs.namespace, node, cpu))
        jobs.kubectl("wait", "--for=condition=Ready", f"pod/blocker-{node}", "-n", jobs.namespace, "--timeout=30s")
    last = max(cpus)
    return lambda: jobs.kubectl("delete", "pod", f"blocker-{last}", "-n", jobs.namespace, "--wait=false")


def blocker(namespace, node, cpu):
    resources = {"requests": {"cpu": str(cpu), "memory": "64Mi"}}
    container = {"name": "main", "image": "any", "command": ["sleep", "1000"], "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"blocker-{node}", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [container],
        },
    }


def test_a_worker_that_comes_late_gets_its_share(jobs, faults, full_cluster):
    ids = start(jobs, seconds=1.6)
    jobs.wait_until(lambda: faults.notes.answered() > 0, what="the first answer")
    free_at = time.monotonic() + LATE_SECONDS
    jobs.wait_until(lambda: time.monotonic() > free_at, what="a late worker")
    full_cluster()
    all_answered(jobs, ids)
    first, late = faults.notes.starts()
    runs = faults.notes.runs()
    joined = min(run.began for run in runs if run.engine == late)
    assert joined - min(run.began for run in runs) >= LATE_SECONDS
    left = ROWS - len({run.custom_id for run in runs if run.answered is not None and run.answered < joined})
    share = len({run.custom_id for run in runs if run.engine == late and run.answered is not None})
    assert share > left / 3, f"the late worker answered {share} of the {left} rows left, {first} the others"
    assert faults.notes.run_again() == {}


def taken_over_in_time(notes, chunks, pod, gone_at):
    """All rows of what the pod held when it went are answered within a minute, while chunks after them still wait.

    Returns those rows that another engine answered in its place.
    """
    runs = notes.runs()
    loss = Loss(gone_at, gone_at, pod)
    lost = {run.engine for run in runs if pod_of(run.engine) == pod and run.began <= gone_at}
    held = {chunks[run.custom_id] for run in runs if run.lost_by(loss)}
    last_try = {run.custom_id: run for run in runs}  # in the order in which they began
    its_rows = [custom_id for custom_id, chunk in chunks.items() if chunk in held]
    assert its_rows
    done = max(last_try[custom_id].answered for custom_id in its_rows)
    assert done - gone_at <= TAKEN_OVER_SECONDS, f"{len(its_rows)} rows took {done - gone_at:.0f} s"
    waiting = set(chunks.values()) - {chunks[run.custom_id] for run in runs if run.began <= done}
    assert waiting, f"the {len(its_rows)} rows came last"
    assert min(waiting) > max(held)
    tries = [last_try[custom_id] for custom_id in its_rows]
    return [run for run in tries if run.answered > gone_at and run.engine not in lost]


def two_busy_workers(jobs, faults):
    jobs.wait_until(lambda: len(faults.engine_pids()) == 2, what="two workers")
    jobs.wait_until(lambda: faults.notes.answered() >= ROWS // 5, what="both at work")
    return jobs.wait_until(faults.busy_pod, what="a busy worker")


def test_the_rows_of_a_killed_worker_do_not_come_last(jobs, faults):
    ids = start(jobs, seconds=1.6)
    pod = two_busy_workers(jobs, faults)
    chunks = chunks_of(jobs, ids)
    gone_at = time.time()
    assert faults.kill_pod(pod)
    faults.losses.append(Loss(gone_at, time.time() + 2, pod))
    all_answered(jobs, ids)
    in_flight = {run.custom_id for run in faults.notes.in_flight(gone_at, pod)}
    taken_over = {run.custom_id for run in taken_over_in_time(faults.notes, chunks, pod, gone_at)}
    assert in_flight
    assert in_flight <= taken_over, "what it had in flight was answered by others"
    only_what_was_lost_ran_again(faults.notes, faults.losses)


def test_a_lowered_maximum_costs_no_answer_and_the_rows_do_not_come_last(jobs, faults):
    """The worker that goes is told so: what it has answered is kept, the rest goes to the other one.

    A row in forty takes longer than a worker that goes waits for its rows, so it always leaves some to the other.
    """
    ids = start(jobs, slow_every=40)
    two_busy_workers(jobs, faults)
    chunks = chunks_of(jobs, ids)
    gone_at = time.time()
    jobs.patch(workers={"min": 1, "max": 1})
    (pod,) = jobs.wait_until(lambda: leaving(jobs), what="a worker that leaves")
    all_answered(jobs, ids)
    taken_over = taken_over_in_time(faults.notes, chunks, pod, gone_at)
    assert any(run.custom_id.startswith("slow-") for run in taken_over), "it went without leaving a row behind"
    for first, second in pairs_of_tries(faults.notes):
        assert first.answered is None, f"{first} was answered before the pod went, and again in {second}"
        assert pod_of(first.engine) == pod


def leaving(jobs):
    """Names of worker pods that were told to go."""
    pods = jobs.kubectl.json("get", "pods", "-n", jobs.namespace, "-l", "ray.io/node-type=worker")["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


def pairs_of_tries(notes):
    """Each row that was begun twice: the two tries."""
    tries = {}
    for run in notes.runs():
        tries.setdefault(run.custom_id, []).append(run)
    return [(first, second) for first, second, *_ in (t for t in tries.values() if len(t) > 1)]
