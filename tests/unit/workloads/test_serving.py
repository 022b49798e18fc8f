"""The Serve application with a paced engine: what a client sees, what is counted, and what happens to the engine."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from serving_world import World, config, until

from tidemill_api import endpoint_contract as contract
from tidemill_api.v1alpha1.common import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from serving_world import Ingress

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("paced_engine")]


async def chat(ingress: Ingress, prompt: str = "one two three", tokens: int = 4, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": prompt}]
    return await ingress.client.chat.completions.create(model="m", messages=messages, max_tokens=tokens, **more)


def notes(folder: Path) -> list[str]:
    return [line for path in folder.glob("server-*") for line in path.read_text().splitlines()]


async def test_a_chat_is_answered_and_counted(world: World) -> None:
    await world.engine()
    ingress = await world.ingress()
    answer = await chat(ingress)
    assert answer.choices[0].message.content == "0 1 2 3"
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="200") == 1)
    assert ingress.figure(contract.METRIC_PROMPT_TOKENS) == 3
    assert ingress.figure(contract.METRIC_COMPLETION_TOKENS) == 4
    assert ingress.figure(f"{contract.METRIC_FIRST_TOKEN_SECONDS}_count") == 1
    assert ingress.front.desk.waiting == ingress.front.desk.running == 0


async def test_a_stream_comes_while_the_engine_is_still_at_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.3")
    await world.engine()
    ingress = await world.ingress()
    chunks = []
    async for chunk in await chat(ingress, "slow", 3, stream=True):
        chunks.append(chunk.choices[0].delta.content)
        if len(chunks) < 3:
            assert "answered slow" not in notes(tmp_path)
            assert ingress.figure(contract.METRIC_RUNNING) == 1
    assert chunks == ["0 ", "1 ", "2 "]


async def test_what_the_engine_refuses_reaches_the_client_as_the_engine_said_it(world: World) -> None:
    await world.engine()
    ingress = await world.ingress()
    with pytest.raises(openai.BadRequestError, match="made to be refused"):
        await chat(ingress, "refuse")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b'{"model": "other", "messages": []}', 404, "model_not_found"),
        ("POST", "/v1/chat/completions", b'{"model": 7}', 400, "invalid_body"),
        ("POST", "/v1/chat/completions", b"[1]", 400, "invalid_body"),
        ("POST", "/v1/chat/completions", b'{"model": "m"', 400, "invalid_body"),
        ("POST", "/v1/completions", b"\xff", 400, "invalid_body"),
        ("GET", "/v1/chat/completions", b"", 405, "method_not_supported"),
        ("POST", "/v1/models", b"", 405, "method_not_supported"),
        ("GET", "/v1/models/other", b"", 404, "model_not_found"),
        ("POST", "/v1/files", b"{}", 404, "unknown_url"),
        ("GET", "/metrics", b"", 404, "unknown_url"),
    ],
)
async def test_what_no_engine_is_needed_for_is_refused_without_one(
    world: World, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    ingress = await world.ingress()
    async with httpx.AsyncClient(verify=False) as caller:
        answer = await caller.request(method, ingress.url + path, content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert set(error) == {"message", "type", "param", "code"}


async def test_models_and_health_are_answered_without_any_engine(world: World) -> None:
    ingress = await world.ingress()
    assert [model.id async for model in ingress.client.models.list()] == ["m"]
    found = (await ingress.client.models.retrieve("m")).to_dict()
    assert (found["id"], found["root"], found["parent"]) == ("m", "/models/m", None)
    assert "max_model_len" not in found  # nothing says it: the ingress reads no model
    async with httpx.AsyncClient(verify=False) as plain:
        assert (await plain.get(f"{ingress.url}/health")).status_code == 200


ADAPTED = ModelSpec(
    name="m",
    source="/models/m",
    engine_args={"max_model_len": 512},
    adapters=[{"name": "support", "source": "/adapters/support"}, {"name": "team/sales", "source": "org/sales"}],
)


async def test_adapters_are_listed_and_asked_for_by_name(world: World) -> None:
    world.config = config(model=ADAPTED)
    ingress = await world.ingress()
    cards = [model.to_dict() async for model in ingress.client.models.list()]
    assert [(card["id"], card["root"], card["parent"]) for card in cards] == [
        ("m", "/models/m", None),
        ("support", "/adapters/support", "m"),
        ("team/sales", "org/sales", "m"),
    ]
    assert {card["max_model_len"] for card in cards} == {512}
    assert (await ingress.client.models.retrieve("team/sales")).id == "team/sales"
    await world.engine()
    for name in ("m", "support", "team/sales"):
        answer = await ingress.client.completions.create(model=name, prompt="x", max_tokens=1)
        assert answer.model == name
    with pytest.raises(openai.NotFoundError, match="serves 'm', 'support', 'team/sales'"):
        await ingress.client.completions.create(model="sales", prompt="x")


async def test_a_key_is_asked_for_and_changes_without_a_restart(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "alice").write_text("key-of-alice\n")
    await world.engine()
    ingress = await world.ingress(keys=folder)
    keys = ingress.front.keys
    assert keys is not None

    async def status(**headers: str) -> int:
        async with httpx.AsyncClient(headers=headers, verify=False) as caller:
            answer = await caller.get(f"{ingress.url}/v1/models")
        if answer.status_code == 401:
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
        return answer.status_code

    assert await status() == 401
    assert await status(Authorization="Bearer key-of-bob") == 401
    assert await status(Authorization="Basic key-of-alice") == 401
    assert await status(Authorization="Bearer key-of-alice") == 200
    (folder / "alice").unlink()
    (folder / "bob").write_text("key-of-bob")
    keys.read()
    assert await status(Authorization="Bearer key-of-alice") == 401
    assert await status(Authorization="Bearer key-of-bob") == 200
    async with httpx.AsyncClient(verify=False) as caller:
        assert (await caller.get(f"{ingress.url}/health")).status_code == 200


async def test_a_request_is_held_at_zero_replicas_and_answered_by_the_first_that_comes(world: World) -> None:
    ingress = await world.ingress()
    asking = [asyncio.create_task(chat(ingress, f"q-{number}")) for number in range(20)]
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 20)
    await asyncio.sleep(0.2)
    assert ingress.figure(contract.METRIC_WAITING) == 20
    assert ingress.figure(contract.METRIC_OLDEST_WAITING) > 0.15
    await world.engine()
    answers = await asyncio.gather(*asking)
    assert all(answer.choices[0].message.content == "0 1 2 3" for answer in answers)
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="200") == 20)
    assert ingress.figure(contract.METRIC_WAITING) == ingress.figure(contract.METRIC_OLDEST_WAITING) == 0


async def test_waiting_ends_and_running_begins_with_the_first_token_of_an_unstreamed_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.2")
    await world.engine()
    ingress = await world.ingress()
    asking = asyncio.create_task(chat(ingress, tokens=4))
    await until(lambda: ingress.figure(contract.METRIC_WAITING) == 1 and ingress.figure(contract.METRIC_HELD) == 0)
    await until(lambda: ingress.figure(contract.METRIC_RUNNING) == 1)
    assert ingress.figure(contract.METRIC_WAITING) == 0
    assert not asking.done()
    await asking


async def test_over_the_bound_a_request_is_refused_at_once_and_says_when_to_come_again(world: World) -> None:
    ingress = await world.ingress(bound=3)
    held = [asyncio.create_task(chat(ingress)) for _ in range(3)]
    await until(lambda: ingress.figure(contract.METRIC_WAITING) == 3)
    started = asyncio.get_running_loop().time()
    with pytest.raises(openai.RateLimitError) as refused:
        await chat(ingress)
    assert asyncio.get_running_loop().time() - started < 1
    assert int(refused.value.response.headers["retry-after"]) >= 1
    await until(lambda: ingress.figure(contract.METRIC_REJECTED) == 1)
    await world.engine()
    await asyncio.gather(*held)


async def test_several_ingress_replicas_share_the_bound(world: World) -> None:
    one, two = await world.ingress("one", bound=10), await world.ingress("two", bound=10)
    await until(lambda: one.front.admission._replicas == two.front.admission._replicas == 2)
    asking = [asyncio.create_task(chat(ingress)) for ingress in (one, two) * 15]
    await until(lambda: sum(task.done() for task in asking) == 20)
    assert one.front.desk.waiting + two.front.desk.waiting == 10
    await world.engine()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(result, openai.RateLimitError) for result in results) == 20


async def test_without_the_ledger_each_replica_keeps_to_its_share(world: World) -> None:
    one, two = await world.ingress("one", bound=10), await world.ingress("two", bound=10)
    await until(lambda: one.front.admission._replicas == two.front.admission._replicas == 2)
    one.ledger.down = two.ledger.down = True
    asking = [asyncio.create_task(chat(one)) for _ in range(8)]
    await until(lambda: sum(task.done() for task in asking) == 3)
    assert one.front.desk.waiting == 5
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await until(lambda: one.front.desk.waiting == 0)


async def test_a_client_that_leaves_has_the_engine_stop(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.05")
    await world.engine()
    ingress = await world.ingress()
    plain = asyncio.create_task(chat(ingress, "plain", 1000))
    streamed = await chat(ingress, "streamed", 1000, stream=True)
    await anext(aiter(streamed))
    await until(lambda: ingress.figure(contract.METRIC_RUNNING) == 2)
    plain.cancel()
    await streamed.close()
    await until(lambda: {"aborted plain", "aborted streamed"} <= set(notes(tmp_path)))
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="499") == 2)
    assert ingress.figure(contract.METRIC_RUNNING) == 0


async def test_a_client_that_leaves_while_it_is_held_is_forgotten(world: World, tmp_path: Path) -> None:
    ingress = await world.ingress()
    held = [asyncio.create_task(chat(ingress, f"held-{number}")) for number in range(30)]
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 30)
    for task in held:
        task.cancel()
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 0)
    await world.engine()
    await chat(ingress, "after")
    assert not [line for line in notes(tmp_path) if "held" in line]


async def test_a_request_that_takes_too_long_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.05")
    ingress = await world.ingress(seconds=0.5)
    with pytest.raises(openai.APIStatusError) as late:
        await chat(ingress)
    assert late.value.status_code == 408
    await world.engine()
    stream = await chat(ingress, tokens=1000, stream=True)
    with pytest.raises(openai.APIError, match="took longer"):
        async for _ in stream:
            pass
    await until(lambda: ingress.figure(contract.METRIC_REQUESTS, code="408") == 2)
    assert ingress.front.desk.waiting == ingress.front.desk.running == 0


@pytest.mark.parametrize("scheduling", ["Priority", "FirstComeFirstServed"])
async def test_more_urgent_requests_overtake_the_held_ones_where_priority_counts(
    world: World, tmp_path: Path, scheduling: str
) -> None:
    world.serve.most = 1
    world.config = world.config.model_copy(update={"priority_scheduling": scheduling == "Priority"})
    ingress = await world.ingress()
    asking = [asyncio.create_task(chat(ingress, f"low-{number}", 1)) for number in range(40)]
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 40)
    asking.append(asyncio.create_task(chat(ingress, "urgent", 1, extra_body={"priority": -5})))
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 41)
    await world.engine()
    await asyncio.gather(*asking)
    order = [
        line.removeprefix("began ") for line in notes(tmp_path) if line.startswith("began ") and "tide" not in line
    ]
    place = order.index("urgent")
    assert place <= 17 if scheduling == "Priority" else place == 40


async def test_a_request_whose_engine_dies_before_its_answer_began_is_answered_by_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.1")
    first = await world.engine()
    ingress = await world.ingress()
    asking = asyncio.create_task(chat(ingress, tokens=5))
    await until(lambda: ingress.figure(contract.METRIC_RUNNING) == 1)
    world.serve.replicas.clear()
    first._links._links.popitem()[1]._transport.abort()  # as the kernel does with a dead process's connections
    await until(lambda: ingress.figure(contract.METRIC_HELD) == 1)
    await world.engine()
    assert (await asking).choices[0].message.content == "0 1 2 3 4"
    assert ingress.figure(f"{contract.METRIC_FIRST_TOKEN_SECONDS}_count") == 1, "though two engines made a first token"


async def test_a_stream_whose_engine_dies_ends_with_an_error_that_clients_raise(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.05")
    engine = await world.engine()
    ingress = await world.ingress()
    stream = await chat(ingress, tokens=1000, stream=True)
    await anext(aiter(stream))
    engine._links._links.popitem()[1]._transport.abort()
    with pytest.raises(openai.APIError, match="was lost"):
        async for _ in stream:
            pass


async def test_an_engine_that_refuses_its_arguments_says_so_in_the_operators_words(tmp_path: Path) -> None:
    model = config().model.model_copy(update={"source": "/models/refuses"})
    async with World(config(model=model)) as world:
        with pytest.raises(RuntimeError) as raised:
            await world.engine()
    problem = contract.EngineProblem.from_text(str(raised.value))
    assert problem is not None
    assert (problem.reason, problem.message) == ("EngineArgumentsRefused", "spec.model.engineArgs: made to be refused")


async def test_a_stranger_on_the_reply_port_is_cut_off(world: World) -> None:
    ingress = await world.ingress()
    address = ingress.front.dispatcher.engines.address
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"\x00" + bytes(8) + (4).to_bytes(4, "big") + b"none")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert "secret" not in repr(address)
    assert json.dumps(repr(address)).find(address.secret.hex()) == -1
