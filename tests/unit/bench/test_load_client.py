"""The client process of the realtime benches against a server that streams a word at a time."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

BENCH = Path(__file__).parents[3] / "hack" / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


class Server:
    """Answers with as many words as asked for, one each 20 ms, and notes who was there together."""

    def __init__(self):
        self.now, self.most = 0, 0
        self.headers = []

    async def answer(self, request):
        body = await request.json()
        self.headers.append(request.headers)
        if body["max_tokens"] == 0:
            return web.json_response({"error": "made to fail"}, status=503)
        self.now += 1
        self.most = max(self.most, self.now)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(body["max_tokens"]):
            await asyncio.sleep(0.02)
            await response.write(b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n')
        self.now -= 1
        usage = b'data: {"choices": [], "usage": {"completion_tokens": %d}}\n\n' % body["max_tokens"]
        await response.write(usage + b"data: [DONE]\n\n")
        return response


@pytest.fixture
async def served():
    from load import Target

    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield server, Target(f"http://{host}:{port}", "secret")
    await runner.cleanup()


def requests(*lengths, gap=0.0):
    from load import Request

    bodies = [{"max_tokens": tokens} for tokens in lengths]
    return [Request("/v1/chat/completions", body, at=number * gap) for number, body in enumerate(bodies)]


async def run(target, load):
    return await asyncio.to_thread(load.run, target)


async def test_an_open_loop_sends_at_its_times_however_many_are_unanswered(served):
    from load import Load

    server, target = served
    answers = await run(target, Load(requests(25, 25, 25, gap=0.1), traced=True))
    assert server.most == 3
    assert [round(answer.due - answers[0].due, 3) for answer in answers] == [0.0, 0.1, 0.2]
    assert all(answer.due <= answer.sent < answer.first < answer.last <= answer.end for answer in answers)
    assert [answer.tokens for answer in answers] == [25, 25, 25]
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}
    assert sorted(int(headers["traceparent"].split("-")[1], 16) for headers in server.headers) == [1, 2, 3]


async def test_a_closed_loop_keeps_its_width_and_static_batches_wait_for_their_longest(served):
    from load import Load, Pace

    server, target = served
    lengths = (30, 2, 2, 30)
    continuous = await run(target, Load(requests(*lengths), Pace("closed", 2)))
    static = await run(target, Load(requests(*lengths), Pace("static", 2)))
    assert server.most == 2
    assert continuous[2].sent < continuous[0].end
    assert min(answer.sent for answer in static[2:]) >= max(answer.end for answer in static[:2])


async def test_a_request_that_fails_ends_the_run_with_what_the_server_said(served):
    from load import Load

    _, target = served
    with pytest.raises(SystemExit, match=r"request 0 failed: 503 .*made to fail"):
        await run(target, Load(requests(0)))
