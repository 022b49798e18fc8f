"""Many objects and many watchers: lists and watches stay quick."""

import asyncio
import gzip
import json
import statistics
import time

import aiohttp
import pytest
import yaml
from api_server_process import KUBERAY, Http, thing, thing_definition

WATCHERS = 50


async def count_events(session, url, wanted):
    """Read a watch until it has shown so many events."""
    seen = 0
    async with session.get(url, params={"watch": "1"}, timeout=None) as response:
        async for data in response.content.iter_any():
            seen += data.count(b"\n")
            if seen >= wanted:
                return


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.all)])
async def test_many_objects_and_watchers(own_server, count):
    collection = f"{own_server.url}/apis/example.com/v1/things"
    connector = aiohttp.TCPConnector(limit=WATCHERS + 20)
    async with aiohttp.ClientSession(connector=connector) as session:
        http = Http(session, own_server.url)
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        await http("POST", definitions, thing_definition(), code=201)
        watchers = [asyncio.create_task(count_events(session, collection, count)) for _ in range(WATCHERS)]
        limit = asyncio.Semaphore(8)

        async def create(number):
            async with limit:
                body = thing(f"t{number:05}", text="x" * 500)
                await http("POST", "/apis/example.com/v1/namespaces/default/things", body, code=201)

        await asyncio.gather(*(create(number) for number in range(count)))
        await asyncio.wait_for(asyncio.gather(*watchers), 30)
        started = time.perf_counter()
        async with session.get(collection) as response:
            body = await response.read()
        seconds = time.perf_counter() - started
        assert len(json.loads(body)["items"]) == count
        assert seconds < 1.5, f"a list of {count} objects took {seconds:.2f} s"


def ray_cluster(number):
    """A cluster of a usual size: a head and two groups of workers."""
    container = {
        "name": "ray", "image": "ray", "env": [{"name": f"E{index}", "value": "v"} for index in range(20)],
        "ports": [{"containerPort": 8000 + index, "name": f"p{index}"} for index in range(5)],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": 1}},
    }  # fmt: skip
    template = {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
    groups = [{**template, "groupName": name, "replicas": 1, "minReplicas": 0, "maxReplicas": 5} for name in "ab"]
    spec = {"headGroupSpec": template, "workerGroupSpecs": groups}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": f"r{number}"}, "spec": spec}


@pytest.mark.skipif(not KUBERAY.exists(), reason=f"KubeRay's definition is not at {KUBERAY}")
async def test_a_ray_cluster_is_judged_by_kuberays_schema_in_milliseconds(own_server):
    definition = yaml.load(gzip.decompress(KUBERAY.read_bytes()), Loader=yaml.CSafeLoader)
    async with aiohttp.ClientSession() as session:
        http = Http(session, own_server.url)
        await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition, code=201)
        seconds = []
        for number in range(20):
            started = time.perf_counter()
            await http("POST", "/apis/ray.io/v1/namespaces/default/rayclusters", ray_cluster(number), code=201)
            seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < 0.05
