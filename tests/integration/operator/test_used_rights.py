"""Each right of the chart is used, and nothing is asked for that it does not give, as the API server's audit log tells.

Every operator of this folder acts with the chart's rights. The tests before these need what they need; here comes what
none of them does, and then the account is drawn up.
"""

import sys
from asyncio import create_subprocess_exec
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from api_audit import requests
from chart_rights import GRANTED, LEADER, WITH_ALERTS
from integration.operator.conftest import JOBS, eventually, job
from monitoring import free_port
from operator_account import NAMESPACE, RELEASE

from devcluster.client import Resource
from tidemill_api.labels import SCALING_BOOST

HERE = Path(__file__).parent
ENDPOINTS = Resource("tidemill.dev", "v1alpha1", "realtimeendpoints")
TOKEN = "token-of-the-alertmanager"
ELECTED = {"TIDEMILL_LEASE_NAME": f"{RELEASE}-tidemill", "TIDEMILL_OPERATOR_NAMESPACE": NAMESPACE}

GROUPS = dict.fromkeys(("batchinferencejobs", "realtimeendpoints"), ".tidemill.dev") | {
    "rayclusters": ".ray.io",
    "networkpolicies": ".networking.k8s.io",
    "leases": ".coordination.k8s.io",
}
TO_SEE = {
    "customresourcedefinitions.apiextensions.k8s.io": {"get", "list", "watch"},
    "namespaces": {"list", "watch"},
}
"""What the chart grants in the whole cluster."""

AFTER_A_LOST_ANSWER = {"networkpolicies.networking.k8s.io": {"get"}}
"""Read where a create finds that the object stands: `tests/unit/operator/test_network_policies.py` does that."""

EVERYBODY = {"selfsubjectaccessreviews.authorization.k8s.io"}
"""What every authenticated user may ask."""


def granted():
    """`resource.group/subresource` -> verbs, of all that the chart grants with every switch on."""
    found = {resource: set(verbs) for resource, verbs in TO_SEE.items()}
    for table in (GRANTED, LEADER, WITH_ALERTS):
        for resource, verbs in table.items():
            plural, slash, subresource = resource.partition("/")
            found.setdefault(f"{plural}{GROUPS.get(plural, '')}{slash}{subresource}", set()).update(verbs)
    return found


def asked(account, *, allowed):
    """The same of what the operators asked for, and were allowed or not."""
    found = {}
    for request in requests(account.data):
        use = request.use
        of_no_chart = request.name == "another"  # the Lease that a test of the check asks for in vain
        if use.user == account.user and use.resource and request.allowed == allowed and not of_no_chart:
            what = f"{use.resource}/{use.subresource}" if use.subresource else use.resource
            found.setdefault(what, set()).add(use.verb)
    return {what: verbs for what, verbs in found.items() if what not in EVERYBODY}


def notification(namespace, *objects):
    """What Alertmanager posts when an alert of each of these begins to fire."""
    alerts = [
        {
            "status": "firing",
            "labels": {
                "alertname": "Old",
                "severity": "warning",
                "tidemill_kind": kind,
                "namespace": namespace,
                "name": name,
            },
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
        }
        for kind, name in objects
    ]
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "tidemill", "alerts": alerts}


async def test_alerts_boost_both_kinds_by_an_operator_that_leads(world, tmp_path):
    port, credentials = free_port(), tmp_path / "credentials"
    credentials.write_text(TOKEN)
    alerts = {"TIDEMILL_ALERTS_PORT": str(port), "TIDEMILL_ALERTS_CREDENTIALS_FILE": str(credentials)}
    await world.operator.stop()
    await world.operator.start(**ELECTED, **alerts)
    await world.apply(job())
    spec = {"model": {"name": "m", "source": "team/m"}}
    manifest = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "RealtimeEndpoint", "metadata": {"name": "chat"}}
    await world.client.create(ENDPOINTS, world.namespace, manifest | {"spec": spec})
    body = notification(world.namespace, ("BatchInferenceJob", "tickets"), ("RealtimeEndpoint", "chat"))

    async def taken():
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
                session.post(f"http://127.0.0.1:{port}/alerts", json=body) as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    await eventually(taken)
    for resource, name in ((JOBS, "tickets"), (ENDPOINTS, "chat")):
        standing = await world.client.get(resource, world.namespace, name)
        assert SCALING_BOOST in standing["metadata"]["annotations"]
    await eventually(world.clusters)  # it leads by now, and decides
    command = [sys.executable, "-m", "tidemill_operator", "check", "--kubeconfig", str(world.operator.kubeconfig)]
    process = await create_subprocess_exec(*command, "--namespace", world.namespace)
    assert await process.wait() == 0, "the check finds nothing wrong with the chart's rights"
    await world.client.delete(ENDPOINTS, world.namespace, "chat")


def test_no_right_was_missing(account):
    assert asked(account, allowed=False) == {}


def test_no_right_is_left_over(account, request):
    ran = {item.path.name for item in request.session.items if item.path.parent == HERE}
    missing = {path.name for path in HERE.glob("test_*.py")} - ran
    if missing:
        pytest.skip(f"the account is of the whole folder, and {', '.join(sorted(missing))} did not run")
    used = asked(account, allowed=True)
    spare = {what: verbs - used.get(what, set()) for what, verbs in granted().items()}
    assert {what: verbs for what, verbs in spare.items() if verbs} == AFTER_A_LOST_ANSWER
