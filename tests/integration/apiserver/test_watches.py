"""Watches over HTTP: where they start, what they show, how they end."""

import asyncio
import contextlib
import json

import pytest
from api_server_process import MERGE, Http


def config_map(name="c", **labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}


@contextlib.asynccontextmanager
async def watching(http: Http, path, headers=None, **query):
    """Open a watch; the given function reads its next event, and returns None once the server ended it.

    The ConfigMap that the server itself makes in each namespace is left out.
    """
    query = {"watch": "true", "fieldSelector": "metadata.name!=kube-root-ca.crt", **query}
    async with http.session.get(http.url + path, params=query, headers=headers) as response:
        assert response.status == 200

        async def next_event(seconds=5.0):
            line = await asyncio.wait_for(response.content.readline(), seconds)
            return json.loads(line) if line else None

        yield next_event


def brief(event):
    return event["type"], event["object"]["metadata"]["name"]


async def test_a_watch_from_a_revision_shows_everything_after_it(http, maps):
    made = await http("POST", maps, config_map(), code=201)
    await http("PATCH", f"{maps}/c", {"data": {"a": "2"}}, code=200, type=MERGE)
    await http("DELETE", f"{maps}/c", code=200)
    async with watching(http, maps, resourceVersion=made["metadata"]["resourceVersion"]) as next_event:
        changed = await next_event()
        assert (changed["type"], changed["object"]["data"]) == ("MODIFIED", {"a": "2"})
        deleted = await next_event()
        assert (deleted["type"], deleted["object"]["data"]) == ("DELETED", {"a": "2"})
        assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(
            changed["object"]["metadata"]["resourceVersion"]
        )
        await http("POST", maps, config_map("d"), code=201)
        assert brief(await next_event()) == ("ADDED", "d")


async def test_a_list_and_the_watch_from_it_miss_nothing(http, maps):
    listed = await http("GET", maps, code=200)
    await http("POST", maps, config_map(), code=201)
    async with watching(http, maps, resourceVersion=listed["metadata"]["resourceVersion"]) as next_event:
        assert brief(await next_event()) == ("ADDED", "c")


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}])
async def test_a_watch_from_nowhere_starts_with_what_there_is(http, maps, query):
    await http("POST", maps, config_map(), code=201)
    async with watching(http, maps, **query) as next_event:
        assert brief(await next_event()) == ("ADDED", "c")


async def test_an_object_enters_and_leaves_a_selectors_view(http, maps):
    listed = await http("GET", maps, code=200)
    revision = listed["metadata"]["resourceVersion"]
    async with watching(http, maps, labelSelector="in=view", resourceVersion=revision) as next_event:
        await http("POST", maps, config_map(), code=201)
        await http("POST", maps, config_map("other"), code=201)
        await http("PATCH", f"{maps}/c", {"metadata": {"labels": {"in": "view"}}}, code=200, type=MERGE)
        assert brief(await next_event()) == ("ADDED", "c")
        await http("PATCH", f"{maps}/c", {"data": {"a": "2"}}, code=200, type=MERGE)
        assert brief(await next_event()) == ("MODIFIED", "c")
        left = await http("PATCH", f"{maps}/c", {"metadata": {"labels": {"in": None}}}, code=200, type=MERGE)
        gone = await next_event()
        assert brief(gone) == ("DELETED", "c")
        assert gone["object"]["metadata"]["labels"] == {"in": "view"}
        assert gone["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


async def test_a_watch_of_one_name_sees_only_that_one(http, maps):
    async with watching(http, maps, fieldSelector="metadata.name=c") as next_event:
        await http("POST", maps, config_map("b"), code=201)
        await http("POST", maps, config_map("c"), code=201)
        assert brief(await next_event()) == ("ADDED", "c")


async def test_initial_events_end_with_a_bookmark(http, maps):
    await http("POST", maps, config_map(), code=201)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching(http, maps, **query) as next_event:
        assert brief(await next_event()) == ("ADDED", "c")
        mark = await next_event()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(mark["object"]["metadata"]["resourceVersion"]) > 0
    await http("GET", maps, code=400, watch="true", sendInitialEvents="true")


async def test_a_watch_ends_after_its_time(http, maps):
    async with watching(http, maps, timeoutSeconds="1") as next_event:
        assert await next_event(seconds=3) is None


async def test_a_watch_can_show_tables(http, maps):
    await http("POST", maps, config_map(), code=201)
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    async with watching(http, maps, headers=accept) as next_event:
        event = await next_event()
        assert event["object"]["kind"] == "Table"
        assert event["object"]["rows"][0]["cells"][:2] == ["c", 1]


async def test_a_future_revision_is_waited_for(http, maps):
    listed = await http("GET", maps, code=200)
    revision = int(listed["metadata"]["resourceVersion"]) + 1
    async with watching(http, maps, resourceVersion=str(revision)) as next_event:
        await http("POST", maps, config_map("skipped"), code=201)
        made = await http("POST", maps, config_map("seen"), code=201)
        assert int(made["metadata"]["resourceVersion"]) > revision
        assert brief(await next_event()) == ("ADDED", "seen")


async def test_a_watch_of_a_missing_resource_is_not_found(http):
    await http("GET", "/api/v1/nonsense", code=404, watch="true")
