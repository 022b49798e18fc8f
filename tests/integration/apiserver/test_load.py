"""Many objects and many watchers: lists and watches stay quick."""

import asyncio
import json
import time

import aiohttp
import pytest
from api_server_process import Http, thing, thing_definition

WATCHERS = 50


async def count_events(session, url, wanted):
    """Read a watch until it has shown so many events."""
    seen = 0
    async with session.get(url, params={"watch": "1"}, timeout=None) as response:
        async for line in response.content:
            json.loads(line)
            seen += 1
            if seen == wanted:
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
