"""Restarts and their back-off."""

import pytest

from devcluster.kubelet.states import BackOff, Terminated, policy_of, rfc3339, seconds_of, starts_again


def ended(code=1, lasted=1.0):
    return Terminated(code, 100.0, 100.0 + lasted)


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_policy_decides_who_starts_again(policy, code, again):
    assert starts_again(policy, ended(code)) is again


@pytest.mark.parametrize(
    ("spec", "of_pod", "init", "policy"),
    [
        ({}, {}, False, "Always"),
        ({}, {"restartPolicy": "Never"}, False, "Never"),
        ({}, {}, True, "OnFailure"),
        ({}, {"restartPolicy": "Never"}, True, "Never"),
        ({"restartPolicy": "Always"}, {"restartPolicy": "Never"}, True, "Always"),
    ],
    ids=["main", "main of a pod that never restarts", "init", "init that never restarts", "sidecar"],
)
def test_init_containers_end_and_sidecars_do_not(spec, of_pod, init, policy):
    assert policy_of(spec, of_pod, init=init) == policy


def test_the_first_restart_is_at_once_and_later_ones_wait_longer():
    assert [BackOff().delay(crashes) for crashes in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_is_forgiven():
    assert BackOff().count(7, ended(lasted=599)) == 8
    assert BackOff().count(7, ended(lasted=600)) == 1


def test_times_are_written_as_the_api_writes_them():
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert seconds_of(rfc3339(1_800_000_000)) == 1_800_000_000


def test_a_termination_says_how():
    told = Terminated(143, 0, 60, "devcluster://x", 15).to_status()["terminated"]
    assert told == {
        "exitCode": 143,
        "signal": 15,
        "reason": "Error",
        "startedAt": "1970-01-01T00:00:00Z",
        "finishedAt": "1970-01-01T00:01:00Z",
        "containerID": "devcluster://x",
    }
    assert Terminated(0, 0, 60).to_status()["terminated"]["reason"] == "Completed"
