"""The pure parts of the Serve application: desk, ledger, turnstile, frames, keys, bodies, what an engine is told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_world import config

from tidemill_api.conditions import Reason
from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.model_check import check_model_of_engine
from tidemill_workloads.serving import openai_errors
from tidemill_workloads.serving.api_keys import ApiKeys, bearer, client_of, read_keys
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.engine import ServerSettings
from tidemill_workloads.serving.frames import Frame, FrameError, FrameReader, Kind, encode, head_payload, read_head
from tidemill_workloads.serving.ledger import SILENT_SECONDS, Ledger, own_places
from tidemill_workloads.serving.model_cards import ModelCards
from tidemill_workloads.serving.openai_errors import Refusal
from tidemill_workloads.serving.request_body import read_body
from tidemill_workloads.serving.start_problems import problem_of
from tidemill_workloads.serving.turnstile import Turnstile

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ModelCards.of(config().model)

frames = st.builds(Frame, st.sampled_from(Kind), st.integers(min_value=0, max_value=2**64 - 1), st.binary(max_size=200))


@given(st.lists(frames, max_size=20), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(encode(frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = FrameReader()
    parts = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [frame for part in parts for frame in reader.feed(part)] == sent


def test_bytes_that_are_no_frame_are_refused() -> None:
    with pytest.raises(FrameError):
        list(FrameReader().feed(b"GET / HTTP/1.1\r\n\r\n"))
    with pytest.raises(FrameError):
        list(FrameReader().feed(bytes([Kind.BODY]) + bytes(8) + b"\xff\xff\xff\xff"))


def test_a_head_keeps_its_headers() -> None:
    head = read_head(head_payload(200, [(b"content-type", b"application/json")]))
    assert (head.status, head.headers) == (200, [(b"content-type", b"application/json")])


STEPS = ("admit", "taken", "first_token", "lost", "end")


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(STEPS)), max_size=60))
def test_the_desk_counts_each_request_once_whatever_happens_to_it(steps: list[tuple[int, str]]) -> None:
    changes = []
    desk = Desk(lambda: changes.append(1))
    tickets = [desk.arrive(float(number)) for number in range(6)]
    for number, step in steps:
        if step != "admit" or not tickets[number].admitted:
            before = desk.waiting
            getattr(desk, step)(tickets[number])
            assert 0 <= desk.held <= desk.waiting
            assert desk.waiting + desk.running <= 6
            assert (desk.waiting != before) == bool(changes)
            changes.clear()
    for ticket in tickets:
        desk.end(ticket)
    assert desk.waiting == desk.held == desk.running == 0


def test_the_oldest_waiting_request_is_the_one_that_arrived_first_even_after_its_engine_was_lost() -> None:
    desk = Desk()
    old, young = desk.arrive(1.0), desk.arrive(5.0)
    assert desk.oldest_waiting(9.0) == 0
    desk.admit(old)
    desk.admit(young)
    desk.taken(old)
    desk.first_token(old)
    assert desk.oldest_waiting(9.0) == 4.0
    desk.lost(old)
    assert (desk.oldest_waiting(9.0), desk.held) == (8.0, 2)


@given(
    bound=st.integers(1, 200),
    asks=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.booleans()), max_size=60),
)
def test_the_bound_is_never_exceeded_whoever_asks_and_whoever_does_not(
    bound: int, asks: list[tuple[str, int, bool]]
) -> None:
    ledger = Ledger()
    waiting = dict.fromkeys("abc", 0)
    for name in waiting:
        ledger.exchange(name, 0, 0, bound, now=0.0)
    for name, number, leave in asks:
        if leave:
            waiting[name] = max(0, waiting[name] - number)
            continue
        unasked = max(0, min(number, own_places(bound, 3) - waiting[name]))
        waiting[name] += unasked
        waiting[name] += ledger.exchange(name, waiting[name], number - unasked, bound, now=1.0).granted
        assert sum(waiting.values()) <= bound


def test_places_below_the_bound_are_all_given_where_it_is_small() -> None:
    ledger = Ledger()
    ledger.exchange("a", 0, 0, 10, now=0.0)
    assert ledger.exchange("b", 0, 30, 10, now=0.0).granted == 10
    assert ledger.exchange("a", 0, 1, 10, now=0.1).granted == 0
    assert ledger.exchange("b", 9, 0, 10, now=0.2).granted == 0
    assert ledger.exchange("a", 0, 5, 10, now=0.3).granted == 1


def test_a_replica_that_falls_silent_gives_its_places_back() -> None:
    ledger = Ledger()
    ledger.exchange("a", 0, 10, 10, now=0.0)
    assert ledger.exchange("b", 0, 5, 10, now=SILENT_SECONDS).granted == 0
    later = ledger.exchange("b", 0, 5, 10, now=SILENT_SECONDS + 0.1)
    assert (later.granted, later.replicas) == (5, 1)


async def test_the_turnstile_lets_in_by_priority_then_by_arrival() -> None:
    turnstile = Turnstile(width=1)
    order: list[str] = []

    async def pass_through(name: str, priority: int, arrived: float) -> None:
        async with turnstile.offered(priority, arrived) as taken:
            order.append(name)
            await asyncio.sleep(0)
            taken()

    waiting = [("first", 0, 0.0), ("late", 0, 9.0), ("early", 0, 1.0), ("urgent", -1, 8.0), ("idle", 5, 0.5)]
    async with asyncio.TaskGroup() as group:
        for one in waiting:
            group.create_task(pass_through(*one))
    assert order == ["first", "urgent", "early", "late", "idle"]


async def test_one_that_leaves_the_turnstile_takes_nobodys_turn_with_it() -> None:
    turnstile = Turnstile(width=1)
    entered = []

    async def pass_through(name: str) -> None:
        async with turnstile.offered(0, 0.0):
            entered.append(name)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(pass_through(name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[0].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert entered == ["a", "c"]
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert turnstile._free == 1


def test_keys_are_read_as_the_kubelet_mounts_them(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_22"
    data.mkdir()
    (data / "alice").write_text("key-a\n")
    (data / "empty").write_text(" \n")
    (tmp_path / "..data").symlink_to(data.name)
    for name in ("alice", "empty"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    keys = read_keys(tmp_path)
    assert list(keys) == ["alice"]
    assert client_of(keys, b"key-a") == "alice"
    assert client_of(keys, b"") is None
    assert client_of(keys, b"key-b") is None


@pytest.mark.parametrize("presented", [b"key-0", b"key-4", b"key-", b"key-00", b"", b"\xff" * 10_000])
def test_every_key_is_compared_in_full_whichever_matches(monkeypatch: pytest.MonkeyPatch, presented: bytes) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    keys = {f"client-{number}": hashlib.sha256(f"key-{number}".encode()).digest() for number in range(5)}
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert client_of(keys, presented) == {b"key-0": "client-0", b"key-4": "client-4"}.get(presented)
    assert compared == [(32, 32)] * 5, "digests of one length, all of them"


def test_a_missing_or_empty_folder_lets_nobody_in(tmp_path: Path) -> None:
    assert ApiKeys(tmp_path / "none").client_of(b"") is None
    assert ApiKeys(tmp_path).client_of(b"") is None


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer   abc ", b"abc"),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"", None),
        (b"Basic abc", None),
    ],
)
def test_the_key_is_read_from_the_header(header: bytes, key: bytes | None) -> None:
    assert bearer(header) == key


def test_a_body_is_read_as_far_as_the_ingress_needs_it() -> None:
    body = read_body(b'{"model": "m", "stream": true, "priority": -3, "messages": [{"role": "user"}]}', MODELS)
    assert (body.model, body.stream, body.priority) == ("m", True, -3)
    assert read_body(b'{"messages": []}', MODELS).model is None


def test_a_field_of_the_wrong_type_is_left_to_the_engine_but_not_another_model() -> None:
    assert read_body(b'{"model": "m", "stream": "yes", "priority": "high"}', MODELS).priority == 0
    with pytest.raises(Refusal) as refused:
        read_body(b'{"model": "other", "stream": "yes"}', MODELS)
    assert refused.value.status == 404


@pytest.mark.parametrize(("oldest", "seconds"), [(0.0, b"1"), (0.4, b"1"), (7.2, b"8"), (900.0, b"30")])
def test_a_full_queue_says_when_to_come_again(oldest: float, seconds: bytes) -> None:
    refusal = openai_errors.queue_full(10, oldest)
    assert (b"retry-after", seconds) in refusal.headers


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (JobRefused(Reason.INVALID_SPEC, "spec.model.engineArgs: no"), EndpointReason.ENGINE_ARGUMENTS_REFUSED),
        (JobRefused(Reason.MODEL_NOT_FOUND, "spec.model.source: none"), EndpointReason.MODEL_NOT_FOUND),
        (JobRefused(Reason.MODEL_NOT_LOADABLE, "spec.model.adapters[a]: no"), EndpointReason.MODEL_NOT_LOADABLE),
        (RuntimeError("line one\nthe cause\n"), EndpointReason.MODEL_NOT_LOADABLE),
        (RuntimeError(), EndpointReason.MODEL_NOT_LOADABLE),
    ],
)
def test_what_keeps_an_engine_from_starting_is_named(error: Exception, reason: EndpointReason) -> None:
    problem = problem_of(error)
    assert problem.reason == reason
    assert problem.message.startswith("spec.model")


def test_the_engine_is_told_the_endpoints_batching() -> None:
    words = ServerSettings(config(max_sequences=24, max_batched_tokens=512)).arguments()
    told = dict(itertools.pairwise(words))
    assert (told["--max-num-seqs"], told["--max-num-batched-tokens"]) == ("24", "512")
    assert told["--scheduling-policy"] == "priority"
    assert "fcfs" in ServerSettings(config(priority_scheduling=False)).arguments()


def test_a_model_that_is_not_there_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(JobRefused) as refused:
        check_model_of_engine(str(tmp_path / "none"))
    assert problem_of(refused.value).reason == EndpointReason.MODEL_NOT_FOUND
    assert "worker pod" in refused.value.message
