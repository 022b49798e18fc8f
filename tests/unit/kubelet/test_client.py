"""The API client's watch and errors.

The server here stands for an API server in the moments that a healthy one cannot be made to have on demand: a
revision that is gone, a connection that breaks, a list that has changed unseen. Its answers are scripted.
"""

import asyncio
import contextlib
import json

import pytest
from aiohttp import web

from devcluster.cache import Cache
from devcluster.client import PODS, AlreadyExists, ApiError, Client, Conflict, Gone, NotFound, error_of


def one(name, revision, uid="1"):
    return {"metadata": {"namespace": "team", "name": name, "resourceVersion": str(revision), "uid": uid}}


def line(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


class Script:
    """Answers lists and watches in turn; a list is a list of objects, a watch the bytes to send, then the end."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.queries = []

    async def answer(self, request):
        self.queries.append(dict(request.query))
        if not self.answers:
            await asyncio.sleep(60)
        answer = self.answers.pop(0)
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, list):
            return web.json_response({"items": answer, "metadata": {"resourceVersion": "5"}})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(answer)
        return response


@contextlib.asynccontextmanager
async def serving(script, tmp_path, token="t0ken"):
    application = web.Application()
    application.router.add_route("*", "/api/v1/{rest:.*}", script.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kubeconfig = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(config))
    try:
        async with Client.from_kubeconfig(kubeconfig) as client:
            yield client
    finally:
        await runner.cleanup()


async def watched(script, tmp_path, count):
    """The first events of a watch, as (type, name)."""
    seen = []
    async with serving(script, tmp_path) as client, contextlib.aclosing(client.watch(PODS)) as events:
        async with asyncio.timeout(10):
            async for kind, obj in events:
                seen.append((kind, obj.get("metadata", {}).get("name")))
                if len(seen) == count:
                    break
    return seen


async def test_a_watch_lists_and_goes_on_from_there(tmp_path):
    script = Script(
        [one("a", 5)], line("ADDED", one("b", 6)) + line("BOOKMARK", one("", 9)), line("DELETED", one("a", 10))
    )
    assert await watched(script, tmp_path, 4) == [("ADDED", "a"), ("SYNCED", None), ("ADDED", "b"), ("DELETED", "a")]
    assert [query.get("resourceVersion") for query in script.queries[:3]] == [None, "5", "9"]


async def test_a_gone_revision_leads_to_a_new_list_that_tells_what_was_missed(tmp_path):
    gone = line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    new = [one("same", 1), one("changed", 8), one("again", 9, uid="2"), one("new", 7)]
    script = Script([one("same", 1), one("changed", 2), one("again", 3), one("lost", 4)], gone, new)
    events = await watched(script, tmp_path, 11)
    assert events[4] == ("SYNCED", None)
    assert events[5:] == [
        ("DELETED", "again"),
        ("DELETED", "lost"),
        ("MODIFIED", "changed"),
        ("ADDED", "again"),
        ("ADDED", "new"),
        ("SYNCED", None),
    ]


@pytest.mark.parametrize(
    "broken",
    [b'{"type": "ADDED", "obj\n', web.Response(status=503, text="out of order"), web.Response(status=410)],
    ids=["half a line", "an error page", "gone at once"],
)
async def test_a_broken_watch_is_started_again(tmp_path, broken):
    script = Script([one("a", 1)], broken, [one("a", 1)], line("MODIFIED", one("a", 6)))
    events = await watched(script, tmp_path, 4)
    assert events == [("ADDED", "a"), ("SYNCED", None), ("SYNCED", None), ("MODIFIED", "a")]


async def test_lines_may_be_longer_than_any_buffer(tmp_path):
    large = one("large", 6) | {"data": "x" * 5_000_000}
    assert await watched(Script([], line("ADDED", large)), tmp_path, 2) == [("SYNCED", None), ("ADDED", "large")]


async def test_a_long_list_comes_in_pages(tmp_path):
    first = {"items": [one("a", 1)], "metadata": {"continue": "next", "resourceVersion": "5"}}
    script = Script(web.json_response(first), [one("b", 2)])
    async with serving(script, tmp_path) as client:
        items, revision = await client.list(PODS, "team", "app=x")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert revision == "5"
    assert script.queries[1] == {"limit": "1000", "labelSelector": "app=x", "continue": "next"}


async def test_a_cache_holds_what_is_there(tmp_path):
    script = Script([one("a", 1), one("b", 1)], line("DELETED", one("a", 6)) + line("MODIFIED", one("b", 7)))
    told = []
    async with (
        serving(script, tmp_path) as client,
        Cache(client, PODS, on_change=lambda kind, obj: told.append((kind, obj["metadata"]["name"]))) as cache,
        asyncio.timeout(10),
    ):
        await cache.synced.wait()
        while len(told) < 4:
            cache.changed.clear()
            await cache.changed.wait()
        assert list(cache.objects) == [("team", "b")]
        assert cache.get("team", "b")["metadata"]["resourceVersion"] == "7"
        assert cache.get("team", "a") is None


async def test_the_token_goes_into_the_header_only(tmp_path):
    seen = []

    class Echo(Script):
        async def answer(self, request):
            seen.append((request.headers.get("Authorization"), request.path_qs))
            return web.json_response({})

    async with serving(Echo(), tmp_path) as client:
        await client.get(PODS, "team", "web")
    assert seen == [("Bearer t0ken", "/api/v1/namespaces/team/pods/web")]


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", ApiError),
    ],
)
def test_errors_carry_the_status_of_the_server(status, reason, kind):
    error = error_of(status, json.dumps({"reason": reason, "message": "why", "details": {"name": "web"}}).encode())
    assert type(error) is kind
    assert (error.status, error.reason, str(error), error.details) == (status, reason, "why", {"name": "web"})


def test_an_error_page_is_an_error_too():
    error = error_of(502, b"<html>bad gateway</html>")
    assert (error.status, error.reason, str(error)) == (502, "HTTP502", "<html>bad gateway</html>")
