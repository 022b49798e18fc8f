"""Secrets that pass by the operator, through success and failure: in no log of any level, status, Event or metric."""

import base64
import json

import aiohttp
import pytest
from integration.operator.conftest import JOBS, OperatorProcess, eventually, job
from integration.operator.test_endpoints import ENDPOINTS, endpoint
from integration.operator.test_jobs import driver_up

from devcluster.client import EVENTS, RAY_CLUSTERS, SECRETS, ApiError
from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome

CANARY = "canary5ee7c0de"
SIGNED = f"https://files.example.com/rows.jsonl?X-Amz-Credential=AKIA%2F{CANARY}&X-Amz-Signature={CANARY}"
ENCODED = base64.b64encode(CANARY.encode()).decode().rstrip("=")[:-1]


async def told(world):
    """All that the operator said or wrote in the namespace; specs and Secrets are their users' own."""
    events, _ = await world.client.list(EVENTS, world.namespace)
    owners = [*(await world.client.list(JOBS, world.namespace))[0]]
    owners += (await world.client.list(ENDPOINTS, world.namespace))[0]
    children, _ = await world.client.list(RAY_CLUSTERS, world.namespace)
    return {
        "log": world.operator.log.read_text(),
        "Events": json.dumps(events),
        "statuses": json.dumps([one.get("status") for one in owners]),
        "RayClusters": json.dumps(children),
    }


def leaks(told, *secrets):
    return sorted({where for where, text in told.items() for secret in secrets if secret in text})


async def tokens(world):
    """The tokens of Ray that stand in Secrets, as they are and as the API gives them."""
    data = [secret["data"]["auth_token"] for secret in await world.secrets() if "auth_token" in secret.get("data", {})]
    return [*data, *(base64.b64decode(encoded).decode() for encoded in data)]


async def test_the_end_of_a_drivers_log_is_told_without_its_signatures(world):
    await world.apply(job(input={"uri": SIGNED}))
    for _ in range(5):
        await driver_up(world)
        world.head.die(f"urllib3: GET {SIGNED}")  # what passed by the driver's own net
    await world.until_condition("Progressing", ("False", "DriverFailing"))
    assert "GET https://files.example.com/rows.jsonl?***" in await world.message("Progressing")
    await world.event("DriverFailing")
    assert leaks(await told(world), "X-Amz", *await tokens(world)) == []


async def test_no_token_and_no_signature_is_told_whatever_becomes_of_a_job(world):
    world.head.refuse_posts = 2
    await world.apply(job(input={"uri": SIGNED}))
    await driver_up(world)
    secrets = await tokens(world)
    assert secrets
    world.head.process(total=10)
    await world.until_condition("Progressing", ("True", "Processing"))
    world.head.token = "Bearer another-token-than-the-one-in-the-secret"  # the operator's is refused from now on
    world.head.die("killed")

    async def said():
        return "refused the operator's token" in json.dumps(await world.status())

    await eventually(said)
    world.head.token = None
    await driver_up(world)
    world.head.finish(Outcome(reason=Reason.VALIDATION_FAILED, message="1 line is no request."))
    await world.until_condition("Finished", ("True", "ValidationFailed"))
    secrets += await tokens(world)
    assert leaks(await told(world), "X-Amz", *secrets) == []


@pytest.mark.parametrize(
    "uri",
    [
        f"https://user:{CANARY}@files.example.com/rows.jsonl",
        f"https://files.example.com/a/../rows.jsonl?X-Amz-Signature={CANARY}",
        f"https://files.example.com/rows.jsonl.gz?X-Amz-Signature={CANARY}",
    ],
)
async def test_a_signed_uri_that_is_refused_is_not_repeated(world, uri):
    with pytest.raises(ApiError, match=r"spec\.input"):  # its user alone is told what they wrote
        await world.apply(job(input={"uri": uri}))
    await world.apply(job(name="other"))
    await driver_up(world)
    assert leaks(await told(world), CANARY) == []


async def test_api_keys_and_passwords_of_an_endpoint_are_only_referred_to(world):
    for name in ("keys", "redis", "hub"):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        await world.client.create(SECRETS, world.namespace, secret | {"stringData": {"key": CANARY}})
    made = endpoint(
        auth={"secretRef": {"name": "keys"}},
        gcsFaultTolerance={"redisAddress": "redis:6379", "passwordSecretRef": {"name": "redis", "key": "key"}},
        template={"env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "key"}}}]},
    )
    await world.client.create(ENDPOINTS, world.namespace, made)

    async def has_cluster():
        return await world.clusters()

    await eventually(has_cluster)
    secrets = await tokens(world)
    assert leaks(await told(world), CANARY, ENCODED, *secrets) == []
    await world.client.delete(ENDPOINTS, world.namespace, "chat")
    for cluster in await world.clusters():  # nobody clears a Redis that is not there
        name = cluster["metadata"]["name"]
        await world.client.patch(RAY_CLUSTERS, world.namespace, name, {"metadata": {"finalizers": []}})


async def test_what_alertmanager_has_to_send_is_never_logged(cluster, namespace, tmp_path, unused_tcp_port):
    credentials = tmp_path / "credentials"
    credentials.write_text(CANARY)
    operator = OperatorProcess(cluster.kubeconfig, namespace, tmp_path / "operator.log")
    settings = {"TIDEMILL_ALERTS_PORT": str(unused_tcp_port), "TIDEMILL_ALERTS_CREDENTIALS_FILE": str(credentials)}
    await operator.start(**settings)
    try:
        async with aiohttp.ClientSession() as session:

            async def answered(token):
                headers = {"Authorization": f"Bearer {token}"}
                url = f"http://127.0.0.1:{unused_tcp_port}/alerts"
                try:
                    async with session.post(url, data=b"{", headers=headers) as response:
                        return response.status
                except aiohttp.ClientError:
                    return 0

            assert await eventually(lambda: answered(f"wrong-{CANARY}")) in (401, 403)
            assert await answered(CANARY) == 400
    finally:
        await operator.stop()
    assert CANARY not in operator.log.read_text()
