"""`tidemill-operator check` as a process of its own, against a real API server."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest

from devcluster.client import CUSTOM_RESOURCE_DEFINITIONS, Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases")
LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tidemill"}}


@pytest.fixture
def check(cluster, namespace):
    """Runs the check: exit code and lines."""

    async def run(kubeconfig=cluster.kubeconfig, **environment):
        command = [sys.executable, "-m", "tidemill_operator", "check", "--kubeconfig", str(kubeconfig)]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--namespace",
            namespace,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), timeout=60)
        return process.returncode, out.decode().splitlines(), err.decode()

    return run


def elected(namespace):
    return {"TIDEMILL_LEASE_NAME": "tidemill", "TIDEMILL_OPERATOR_NAMESPACE": namespace}


@asynccontextmanager
async def led(client, namespace, name):
    """Stands for an operator that renews its Lease."""

    async def renew():
        while True:
            renewed = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
            change = {"spec": {"holderIdentity": "tidemill-0_1", "renewTime": renewed, "leaseDurationSeconds": 10}}
            await client.patch(LEASES, namespace, name, change)
            await asyncio.sleep(0.5)

    leading = asyncio.create_task(renew())
    try:
        yield
    finally:
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading


async def test_a_good_installation_is_said_line_by_line(check, client, namespace):
    await client.create(LEASES, namespace, LEASE)
    async with led(client, namespace, "tidemill"):
        code, lines, err = await check(**elected(namespace))
    assert (code, err) == (0, "")
    assert [line[:4] for line in lines] == ["ok  "] * 6
    about = [line.split(": ")[0].split(maxsplit=1)[1] for line in lines]
    kinds = ["CRD batchinferencejobs.tidemill.dev", "CRD realtimeendpoints.tidemill.dev"]
    assert about == ["API server", *kinds, "KubeRay", "rights", f"Lease {namespace}/tidemill"]
    assert "held by tidemill-0_1, and renewed" in lines[-1]


async def test_the_rights_that_the_chart_gives_are_all_that_it_takes(check, client, account):
    chart = {"TIDEMILL_LEASE_NAME": "tide-tidemill", "TIDEMILL_OPERATOR_NAMESPACE": "tidemill"}
    policies = {"TIDEMILL_NETWORK_POLICIES": "true", "TIDEMILL_OPERATOR_SELECTOR": "app.kubernetes.io/name=tidemill"}
    async with led(client, "tidemill", "tide-tidemill"):
        code, lines, _ = await check(account.kubeconfig, **chart, **policies, TIDEMILL_ALERTS_PORT="9095")
        assert (code, [line for line in lines if not line.startswith("ok ")]) == (0, [])
        other = {**chart, "TIDEMILL_LEASE_NAME": "another"}
        code, lines, _ = await check(account.kubeconfig, **other)
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert code == 1
    assert "missing: get leases.coordination.k8s.io in tidemill (to elect one of several operators); update" in wrong[0]
    assert "it cannot be read" in wrong[1]


async def test_what_is_missing_is_said_with_what_to_do(check, client, namespace):
    definition = await client.get(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    await client.delete(CUSTOM_RESOURCE_DEFINITIONS, None, "rayclusters.ray.io")
    try:
        code, lines, err = await check(**elected(namespace))
    finally:
        fresh = {**definition, "metadata": {"name": "rayclusters.ray.io"}}
        fresh.pop("status", None)
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, None, fresh)
    assert (code, err) == (1, "")
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert [line.split(": ")[0] for line in wrong] == ["WRONG  KubeRay", f"WRONG  Lease {namespace}/tidemill"]
    assert "install KubeRay 1.6" in wrong[0]
    assert "helm upgrade the chart" in wrong[1]


async def test_an_api_server_that_does_not_answer_is_all_that_is_said(check, cluster, tmp_path):
    nowhere = tmp_path / "nowhere"
    server = cluster.kubeconfig.read_text().split('"server": "')[1].split('"')[0]
    nowhere.write_text(cluster.kubeconfig.read_text().replace(server, "http://127.0.0.1:9"))
    code, lines, err = await check(nowhere)
    assert (code, err, len(lines)) == (1, "", 1)
    assert lines[0].startswith("WRONG  API server: it cannot be reached")


async def test_a_wrong_setting_is_one_message(check):
    code, lines, err = await check(TIDEMILL_LEASE_NAME="tidemill")
    assert (code, lines) == (2, [])
    assert "TIDEMILL_LEASE_NAME needs TIDEMILL_OPERATOR_NAMESPACE" in err
