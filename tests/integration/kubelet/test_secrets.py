"""Secrets mounted in pods that run: a changed one shows within seconds, all of it at once."""

import base64
import signal

import pytest
from kubelet_team import eventually, ready

from devcluster.client import SECRETS

pytestmark = pytest.mark.cluster

READER = """
import os, time
shown = None
while True:
    try:
        folder = os.open("/keys/..data", os.O_RDONLY)
        names = sorted(os.listdir(folder))
        values = [open(os.open(name, os.O_RDONLY, dir_fd=folder)).read() for name in names]
        os.close(folder)
    except FileNotFoundError:  # replaced while we read, as under a real kubelet
        continue
    if (names, values) != shown:
        shown = names, values
        print(*(f"{name}={value}" for name, value in zip(names, values)), flush=True)
    time.sleep(0.001)
"""


def keys(**values):
    return {"data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}}


@pytest.fixture
async def mounted(team):
    """A pod that prints each state of the Secret `keys` that it finds mounted; returns what it has printed."""
    await team.create(SECRETS, "Secret", "keys", **keys(first="1", second="1"))
    await team.run(
        "reader",
        "python",
        "-c",
        READER,
        container={"volumeMounts": [{"name": "keys", "mountPath": "/keys", "readOnly": True}]},
        volumes=[{"name": "keys", "secret": {"secretName": "keys"}}],
    )
    await team.until("reader", ready)

    async def printed():
        return (await team.log("reader")).splitlines()

    return printed


async def shows(printed, line, seconds=5):
    async def shown():
        return line in await printed()

    await eventually(shown, seconds)


async def test_a_changed_secret_shows_in_the_pod_all_at_once(team, mounted):
    await shows(mounted, "first=1 second=1")
    for turn in range(2, 6):
        await team.client.patch(SECRETS, team.namespace, "keys", keys(first=str(turn), second=str(turn)))
        await shows(mounted, f"first={turn} second={turn}")
    assert await mounted() == [f"first={turn} second={turn}" for turn in range(1, 6)]


async def test_keys_come_and_go_and_a_deleted_secret_keeps_its_last_content(team, mounted):
    patch = keys(third="3")
    patch["data"]["first"] = None
    await team.client.patch(SECRETS, team.namespace, "keys", patch)
    await shows(mounted, "second=1 third=3")
    await team.client.delete(SECRETS, team.namespace, "keys")
    await team.create(SECRETS, "Secret", "keys", **keys(first="new"))
    await shows(mounted, "first=new")
    assert await mounted() == ["first=1 second=1", "second=1 third=3", "first=new"]


async def test_a_secret_that_changed_while_no_kubelet_ran_shows_once_one_runs(team, mounted):
    await shows(mounted, "first=1 second=1")
    team.kubelet.kill(signal.SIGKILL)
    try:
        await team.client.patch(SECRETS, team.namespace, "keys", keys(first="2", second="2"))
    finally:
        team.kubelet.start()
    await shows(mounted, "first=2 second=2", seconds=20)


async def test_an_optional_secret_that_appears_later_is_shown(team):
    await team.run(
        "late",
        "sh",
        "-c",
        "until test -e /keys/first; do sleep 0.1; done; cat /keys/first; sleep 1000",
        container={"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]},
        volumes=[{"name": "keys", "secret": {"secretName": "late", "optional": True}}],
    )
    await team.until("late", ready)
    await team.create(SECRETS, "Secret", "late", **keys(first="here"))

    async def shown():
        return await team.log("late") == "here"

    await eventually(shown, 5)
