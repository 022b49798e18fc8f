"""The clients that programs use: Kopf as an embedded operator, and the official asynchronous client."""

import asyncio
import contextlib

import kopf
import pytest
import pytest_asyncio
from api_server_process import thing
from kubernetes.aio import client as k8s
from kubernetes.aio import config as k8s_config
from kubernetes.aio import watch as k8s_watch
from kubernetes.aio.dynamic import DynamicClient

MERGE = "application/merge-patch+json"


async def until(check, seconds=20.0):
    """Wait until a condition holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not check():
        assert asyncio.get_running_loop().time() < deadline, f"not so within {seconds} s"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def operator(registry, kubeconfig, namespace, monkeypatch):
    """Run Kopf in this event loop while the context lasts."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    ready, stop = asyncio.Event(), asyncio.Event()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    running = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[namespace],
            standalone=True,
            ready_flag=ready,
            stop_flag=stop,
        )
    )
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
async def test_kopf_sees_creation_change_and_deletion(http, things, namespace, server, monkeypatch):
    seen, registry = [], kopf.OperatorRegistry()

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)

    @kopf.on.create("example.com", "v1", "things", registry=registry)
    async def created(name, patch, **_):
        seen.append(("created", name))
        patch.status["replicas"] = 1

    @kopf.on.update("example.com", "v1", "things", registry=registry)
    async def updated(new, **_):
        seen.append(("updated", new["spec"]["max"]))

    @kopf.on.event("example.com", "v1", "things", registry=registry)
    async def event(type, name, **_):  # noqa: A002 - Kopf's name for it
        seen.append((type, name))

    mine = f"{things}/namespaces/{namespace}/things"
    async with operator(registry, server.kubeconfig, namespace, monkeypatch):
        await http("POST", mine, thing(), code=201)
        await until(lambda: ("created", "t") in seen)
        await http("PATCH", f"{mine}/t", {"spec": {"max": 4}}, code=200, type=MERGE)
        await until(lambda: ("updated", 4) in seen)
        stored = await http("GET", f"{mine}/t", code=200)
        assert stored["status"]["replicas"] == 1
        assert "finalizers" not in stored["metadata"]
        await http("DELETE", f"{mine}/t", code=200)
        await until(lambda: ("DELETED", "t") in seen)


@pytest_asyncio.fixture
async def api(server):
    configuration = k8s.Configuration()
    await k8s_config.load_kube_config(str(server.kubeconfig), client_configuration=configuration)
    async with k8s.ApiClient(configuration) as opened:
        yield opened


async def test_the_official_client_creates_patches_watches_and_deletes(api, namespace):
    core = k8s.CoreV1Api(api)
    secret = k8s.V1Secret(metadata=k8s.V1ObjectMeta(name="s"), string_data={"a": "b"})
    made = await core.create_namespaced_secret(namespace, secret)
    assert made.data == {"a": "Yg=="}
    await core.patch_namespaced_secret("s", namespace, {"metadata": {"labels": {"x": "y"}}})
    listed = await core.list_namespaced_secret(namespace, label_selector="x=y")
    assert [item.metadata.name for item in listed.items] == ["s"]
    await core.delete_namespaced_secret("s", namespace)
    async with k8s_watch.Watch().stream(
        core.list_namespaced_secret, namespace, resource_version=made.metadata.resource_version, timeout_seconds=5
    ) as stream:
        kinds = []
        async for event in stream:
            kinds.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert kinds == ["MODIFIED", "DELETED"]


async def test_the_official_clients_errors_carry_the_status(api, namespace):
    core = k8s.CoreV1Api(api)
    with pytest.raises(k8s.ApiException) as refused:
        await core.read_namespaced_pod("nobody", namespace)
    assert refused.value.status == 404
    assert '"reason":"NotFound"' in refused.value.body


async def test_the_dynamic_client_discovers_a_custom_resource(api, things, namespace):
    dynamic = await DynamicClient(api)
    resource = await dynamic.resources.get(api_version="example.com/v1", kind="Thing")
    made = await resource.create(body=thing(), namespace=namespace)
    assert made.spec.replicas == 1
    assert [item.metadata.name for item in (await resource.get(namespace=namespace)).items] == ["t"]
