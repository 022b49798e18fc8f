"""The queue of keys, in virtual time."""

import asyncio
import logging
from itertools import pairwise

from tidemill_operator.cache import Key
from tidemill_operator.errors import ConflictError, LeadershipLostError, RayUnavailableError, RejectedError
from tidemill_operator.workqueue import BUG_RETRY_SECONDS, Look, WorkQueue

A, B = Key("team", "a"), Key("team", "b")


class Recorder:
    """Stands for a reconcile: notes when it was called, takes a while, and answers as it was told."""

    def __init__(self, takes=0.0, answers=()):
        self.calls: list[tuple[float, Key]] = []
        self.running: list[Key] = []
        self.most_at_once = 0
        self._takes = takes
        self._answers = list(answers)

    async def __call__(self, key):
        assert key not in self.running, "two reconciles of one key at once"
        self.running.append(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.calls.append((asyncio.get_running_loop().time(), key))
        await asyncio.sleep(self._takes)
        self.running.remove(key)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return Look(answer)

    @property
    def times(self):
        return [time for time, _ in self.calls]


async def play(work, script, *, seconds=10_000.0, concurrency=4):
    """Runs the queue while the script uses it, then until everything that is due was done."""
    queue = WorkQueue(work, concurrency)
    running = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    await script(queue)
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_many_requests_for_a_key_are_one_look(virtual_time):
    work = Recorder()

    async def script(queue):
        for _ in range(10):
            queue.add(A)

    virtual_time(play(work, script))
    assert work.calls == [(0.0, A)]


def test_what_was_asked_for_while_nobody_worked_is_dropped_and_can_be_asked_for_anew(virtual_time):
    work = Recorder()

    async def story():
        queue = WorkQueue(work, 4)
        queue.add(A)
        queue.add(B, quiet=True)
        await asyncio.sleep(3600)
        queue.clear()
        assert queue.length == 0
        queue.add(B)
        running = asyncio.create_task(queue.run())
        await asyncio.sleep(10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_time(story())
    assert work.calls == [(3600.0, B)]


def test_a_write_that_the_fence_kept_back_is_not_tried_again(virtual_time):
    work = Recorder(answers=[LeadershipLostError("another decides")])

    async def script(queue):
        queue.add(A)

    virtual_time(play(work, script))
    assert work.times == [0.0]


def test_a_key_asked_for_while_it_is_worked_on_is_looked_at_once_more(virtual_time):
    work = Recorder(takes=5)

    async def script(queue):
        queue.add(A)
        await asyncio.sleep(1)
        queue.add(A)
        queue.add(A)

    virtual_time(play(work, script))
    assert work.times == [0.0, 5.0]


def test_quiet_keys_keep_no_others_waiting_nor_the_others_them(virtual_time):
    work = Recorder(takes=5)

    async def script(queue):
        for number in range(4):
            queue.add(Key("team", f"quiet-{number}"), quiet=True)
        for number in range(4):
            queue.add(Key("team", f"loud-{number}"))
        assert queue.length == 8

    virtual_time(play(work, script, concurrency=2))
    started = {name: [at for at, key in work.calls if key.name.startswith(name)] for name in ("quiet", "loud")}
    assert started == {"quiet": [0.0, 5.0, 10.0, 15.0], "loud": [0.0, 0.0, 5.0, 5.0]}


def test_looks_that_wait_for_nothing_let_everything_else_have_its_turn(virtual_time):
    calls, turns = [], []

    async def at_once(key):
        calls.append(key)
        return Look()

    async def script(queue):
        for number in range(50):
            queue.add(Key("team", str(number)))
        while len(calls) < 50:
            turns.append(len(calls))
            await asyncio.sleep(0)

    virtual_time(play(at_once, script, concurrency=4))
    assert len(turns) > 10


def test_other_keys_are_worked_on_meanwhile_up_to_the_concurrency(virtual_time):
    work = Recorder(takes=5)

    async def script(queue):
        for number in range(6):
            queue.add(Key("team", str(number)))

    virtual_time(play(work, script, concurrency=4))
    assert work.most_at_once == 4
    assert work.times == [0.0] * 4 + [5.0] * 2


def test_a_look_is_repeated_after_the_time_it_asked_for(virtual_time):
    work = Recorder(answers=[2.0, 3.0, None])

    async def script(queue):
        queue.add(A)

    virtual_time(play(work, script))
    assert work.times == [0.0, 2.0, 5.0]


def test_a_change_comes_before_the_next_look_and_replaces_it(virtual_time):
    work = Recorder(answers=[60.0])

    async def script(queue):
        queue.add(A)
        await asyncio.sleep(10)
        queue.add(A)

    virtual_time(play(work, script))
    assert work.times == [0.0, 10.0]


def test_the_earlier_of_two_delays_wins(virtual_time):
    work = Recorder()

    async def script(queue):
        queue.add_after(A, 30)
        queue.add_after(A, 60)
        queue.add_after(B, 60)
        queue.add_after(B, 20)

    virtual_time(play(work, script))
    assert work.calls == [(20.0, B), (30.0, A)]


def test_passing_faults_back_off_per_key_and_start_over_after_a_success(virtual_time, caplog):
    fault = RayUnavailableError("no answer")
    work = Recorder(answers=[fault, fault, fault, 100.0, fault, None])

    async def script(queue):
        queue.add(A)

    with caplog.at_level(logging.WARNING):
        virtual_time(play(work, script))
    assert work.times == [0.0, 0.5, 1.5, 3.5, 103.5, 104.0]
    assert "no answer; tried again in 0.5 s" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_job_that_somebody_wrote_first_is_looked_at_again_at_once_but_not_for_ever(virtual_time, caplog):
    work = Recorder(answers=[ConflictError("modified")] * 3)

    async def script(queue):
        queue.add(A)

    with caplog.at_level(logging.WARNING):
        virtual_time(play(work, script))
    assert work.times == [0.0, 0.0, 1.0, 3.0]
    assert caplog.text.count("modified") == 2


def test_what_the_api_server_refuses_is_tried_again_with_back_off_and_is_no_bug(virtual_time, caplog):
    work = Recorder(answers=[RejectedError("forbidden")] * 9)

    async def script(queue):
        queue.add(A)

    with caplog.at_level(logging.WARNING):
        virtual_time(play(work, script))
    waits = [later - sooner for sooner, later in pairwise(work.times)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert "forbidden; tried again in 60.0 s" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_bug_with_one_key_is_logged_loudly_and_stops_no_other(virtual_time, caplog):
    work = Recorder(answers=[KeyError("what"), None])

    async def script(queue):
        queue.add(A)
        await asyncio.sleep(1)
        queue.add(B)

    virtual_time(play(work, script))
    assert work.calls == [(0.0, A), (1.0, B), (BUG_RETRY_SECONDS, A)]
    assert "KeyError" in caplog.text


def test_a_key_whose_object_is_gone_is_not_looked_at_again(virtual_time):
    work = Recorder(answers=[60.0])

    async def script(queue):
        queue.add(A)
        await asyncio.sleep(10)
        queue.forget(A)

    virtual_time(play(work, script))
    assert work.times == [0.0]


def test_a_look_wakes_the_keys_that_waited_for_what_it_said(virtual_time):
    calls = []

    async def work(key):
        calls.append(key)
        return Look(None, wrote=True, wakes=(B,) if key == A else ())

    async def script(queue):
        queue.add_after(B, 600)
        queue.add(A)

    virtual_time(play(work, script, seconds=10))
    assert calls == [A, B]
