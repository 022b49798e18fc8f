"""Kill -9 and start again: everything answered is still there, on the same address; the past has an end."""

import json
import threading
import urllib.error
import urllib.request

import aiohttp
from api_server_process import Http, ServerProcess, thing, thing_definition

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_a_killed_server_comes_back_as_it_was(own_server):
    things = "/apis/example.com/v1/namespaces/default/things"
    async with aiohttp.ClientSession() as session:
        http = Http(session, own_server.url)
        await http("POST", DEFINITIONS, thing_definition(), code=201)
        made = await http("POST", things, thing(), code=201)
        doomed = await http("POST", MAPS, config_map("doomed"), code=201)
        await http("DELETE", f"{MAPS}/doomed", code=200)
        revision = (await http("GET", things, code=200))["metadata"]["resourceVersion"]
        url = own_server.url
        own_server.kill()
        own_server.start()
        assert own_server.url == url
        assert await http("GET", f"{things}/t", code=200) == made
        await http("GET", f"{MAPS}/doomed", code=404)
        assert (await http("GET", things, code=200))["metadata"]["resourceVersion"] == revision
        await http("POST", things, thing("u", max=0), code=422)
        since = {"watch": "1", "resourceVersion": doomed["metadata"]["resourceVersion"]}
        async with session.get(url + MAPS, params=since) as response:
            event = json.loads(await response.content.readline())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "doomed")


async def test_a_kill_in_the_middle_of_writes_loses_none_that_was_answered(own_server):
    answered, stop = [], threading.Event()

    def write(worker):
        for number in range(100_000):
            if stop.is_set():
                return
            name = f"m-{worker}-{number}"
            headers = {"Content-Type": "application/json"}
            body = json.dumps(config_map(name, a="x" * 2000)).encode()
            request = urllib.request.Request(own_server.url + MAPS, data=body, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    assert response.status == 201
            except (OSError, urllib.error.URLError):
                return
            answered.append(name)
            if len(answered) >= 200:
                stop.set()

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for writer in writers:
        writer.start()
    while len(answered) < 100:
        stop.wait(0.005)
    own_server.kill()
    stop.set()
    for writer in writers:
        writer.join()
    own_server.start()
    async with aiohttp.ClientSession() as session:
        listed = await Http(session, own_server.url)("GET", MAPS, code=200)
    stored = {item["metadata"]["name"] for item in listed["items"]}
    assert len(answered) >= 100
    assert set(answered) <= stored


async def test_a_revision_from_too_long_ago_is_gone(tmp_path):
    server = ServerProcess(tmp_path, ("--history", "20")).start()
    try:
        async with aiohttp.ClientSession() as session:
            http = Http(session, server.url)
            first = await http("POST", MAPS, config_map("c"), code=201)
            for number in range(60):
                patch = {"data": {"n": str(number)}}
                await http("PATCH", f"{MAPS}/c", patch, code=200, type="application/merge-patch+json")
            old = {"watch": "1", "resourceVersion": first["metadata"]["resourceVersion"]}
            for _ in range(2):
                async with session.get(server.url + MAPS, params=old) as response:
                    event = json.loads(await response.content.readline())
                assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
                server.kill()
                server.start()
    finally:
        server.stop()


async def test_deletions_that_were_under_way_are_finished_after_a_restart(own_server):
    async with aiohttp.ClientSession() as session:
        http = Http(session, own_server.url)
        owner = await http("POST", MAPS, config_map("owner"), code=201)
        child = config_map("child")
        uid = owner["metadata"]["uid"]
        child["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
        for number in range(200):
            body = json.loads(json.dumps(child))
            body["metadata"] |= {"name": f"child-{number}", "labels": {"child": ""}}
            await http("POST", MAPS, body, code=201)
        await http("DELETE", f"{MAPS}/owner", code=200)
        own_server.kill()
        own_server.start()
        for _ in range(500):
            left = (await http("GET", MAPS, code=200, labelSelector="child"))["items"]
            if not left:
                break
        assert left == []
