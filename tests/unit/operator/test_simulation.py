"""Whole jobs played to their end, with faults at any step and the operator killed at any moment."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.operator.simulation import SimWorld

FAULTS = ["head_dies", "cluster_is_deleted", "driver_dies", "worker_dies"]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(["head_comes_up", "work_goes_on", *FAULTS]),
        st.sampled_from(["", "", "before", "after"]),
        st.integers(0, 40),
    ),
    max_size=40,
)


def play_on(world, steps=200):
    """From here on nothing goes wrong any more."""
    for _ in range(steps):
        world.head_comes_up()
        world.work_goes_on()
        world.settle()
        world.pass_time(15)
        if world.finished and world.cluster is None:
            return
    raise AssertionError(f"not finished after {steps} quiet steps: {world.job.status}")


def test_a_quiet_job_takes_one_attempt_and_says_each_thing_once():
    world = SimWorld()
    play_on(world)
    assert world.succeeded() == "AllRowsAnswered"
    assert world.job.status.driver.attempt == 1
    assert world.events.count("ClusterCreated") == world.events.count("AllLinesValid") == 1
    assert world.job.status.rows.completed == world.total


@settings(max_examples=150, deadline=None)
@given(MOVES, st.integers(0, 40), st.integers(0, 2))
def test_whatever_is_killed_the_job_ends_with_every_row(moves, total, least):
    world = SimWorld(total=total, least=least)
    for move, crash, seconds in moves:
        getattr(world, move)()
        world.reconcile(crash)
        world.pass_time(seconds)
    play_on(world)
    assert world.succeeded() == "AllRowsAnswered"
    assert world.done == total


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), MOVES)
def test_a_missing_input_never_starts_a_worker_and_heals(after, moves):
    world = SimWorld(input_exists=False)
    for move, crash, seconds in moves:
        getattr(world, move)()
        world.reconcile(crash)
        world.pass_time(seconds)
    for _ in range(after):
        world.head_comes_up()
        world.work_goes_on()
        world.settle()
        assert world.cluster is None or world.cluster.replicas == 0
        world.pass_time(60)
    assert not world.finished
    world.input_appears()
    play_on(world)
    assert world.succeeded() == "AllRowsAnswered"


def play(world, moves):
    for move, crash, seconds in moves:
        getattr(world, move)()
        world.reconcile(crash)
        world.pass_time(seconds)


USER = ["user_suspends", "user_resumes"]
ENDS = {"user_cancels": "Cancelled", "window_ends": "Expired"}
FULL = ["output_is_full", "output_has_room"]


def moves_of(*kinds):
    return st.lists(
        st.tuples(
            st.sampled_from(["head_comes_up", "work_goes_on", "work_goes_on", *FAULTS, *kinds]),
            st.sampled_from(["", "", "before", "after"]),
            st.integers(0, 40),
        ),
        max_size=40,
    )


@settings(max_examples=100, deadline=None)
@given(moves_of(*USER), st.integers(0, 40))
def test_a_job_suspended_and_resumed_at_any_moment_ends_with_every_row(moves, total):
    world = SimWorld(total=total)
    play(world, moves)
    world.user_resumes()
    play_on(world)
    assert world.succeeded() == "AllRowsAnswered"
    assert world.done == total
    assert world.reason("Suspended") == "NotSuspended"


@settings(max_examples=60, deadline=None)
@given(moves_of(*USER))
def test_a_suspended_job_costs_nothing_and_stays_suspended(moves):
    world = SimWorld()
    play(world, moves)
    world.user_suspends()
    for _ in range(20):
        world.head_comes_up()
        world.settle()
        world.pass_time(15)
    if not world.finished:  # its driver may have said so before
        assert (world.cluster, world.pods) == (None, [])
        assert world.reason("Suspended") == world.reason("Progressing") == "SuspendRequested"
        assert not world.reconcile().actions


@settings(max_examples=150, deadline=None)
@given(moves_of(*USER, *FULL), st.sampled_from(sorted(ENDS)), moves_of(*USER), st.integers(0, 40))
@example(  # the manifest is written unseen, and then the head that knew of it dies
    before=[
        ("head_comes_up", "", 0),
        ("head_comes_up", "", 0),
        ("driver_dies", "after", 0),
        ("work_goes_on", "before", 0),
    ],
    end="user_cancels",
    after=[
        ("work_goes_on", "", 0),
        ("work_goes_on", "before", 0),
        ("work_goes_on", "before", 0),
        ("head_dies", "", 0),
    ],
    total=1,
)
@example(  # the same of an attempt that was never written down: its head is asked while it stands
    before=[("head_comes_up", "", 0), ("head_comes_up", "after", 0), *[("work_goes_on", "before", 0)] * 3],
    end="user_cancels",
    after=[],
    total=0,
)
@example(  # and where that head is gone too, the job says that it does not know
    before=[("head_comes_up", "", 0), ("head_comes_up", "after", 0), *[("work_goes_on", "before", 0)] * 3],
    end="user_cancels",
    after=[("head_dies", "", 0)],
    total=0,
)
def test_whenever_the_end_comes_each_row_gets_its_line_and_the_job_ends(before, end, after, total):
    world = SimWorld(total=total)
    play(world, before)
    world.output_has_room()
    getattr(world, end)()
    play(world, after)
    play_on(world, steps=400)
    assert world.succeeded() in {ENDS[end], "Expired", "AllRowsAnswered"}
    rows = world.job.status.rows
    said = next(c.message for c in world.job.status.conditions if c.type == "Succeeded")
    if world.job.status.driver.attempt == 0:  # what an attempt may have done that nobody wrote down is not known
        assert "if any, are not joined" in said
    elif world.manifest is not None:
        assert rows.completed + rows.failed == rows.total == total
        assert world.succeeded() == world.manifest.reason
    elif world.reason("Validated") == "AllLinesValid":
        assert "The output folder takes no file" in said


@settings(max_examples=20, deadline=None)
@given(moves_of(*USER, *FULL), st.sampled_from(sorted(ENDS)), st.booleans(), st.booleans())
@example(
    before=[("head_comes_up", "", 0), ("head_comes_up", "after", 0)], end="user_cancels", heeds=False, silent=False
)
def test_even_an_end_that_nothing_helps_comes(before, end, heeds, silent):
    """The output never takes a file again, no driver ever stops, or Ray is never heard of again."""
    world = SimWorld()
    play(world, before)
    world.stops, world.writable, world.silent = heeds, False, silent
    getattr(world, end)()
    for _ in range(400):
        world.head_comes_up()
        world.settle()
        world.work_goes_on()
        world.pass_time(15)
    assert world.finished
    assert (world.cluster, world.pods) == (None, [])


@pytest.mark.parametrize("end", sorted(ENDS))
def test_an_attempt_that_nobody_wrote_down_stops_before_the_lines_are_written(end):
    """The operator was killed between the submission of the next attempt and its status, and then the end came."""
    world = SimWorld()
    for _ in range(4):
        world.head_comes_up()
        world.work_goes_on()
        world.settle()
    world.driver_dies()
    world.reconcile("after")
    assert len(world.drivers) == 2
    getattr(world, end)()
    play_on(world)
    assert world.succeeded() == ENDS[end]
    assert world.manifest.rows.completed + world.manifest.rows.failed == world.total


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("asked", [*sorted(ENDS), None])
def test_a_ray_that_is_never_heard_of_again_holds_no_worker(asked, steps):
    world = SimWorld()
    for _ in range(steps):
        world.head_comes_up()
        world.work_goes_on()
        world.reconcile()
        world.pass_time(2)
    world.silent = True
    if asked:
        getattr(world, asked)()
    minutes = 3 if asked else 32
    for _ in range(minutes * 4):
        world.head_comes_up()
        world.settle()
        world.pass_time(15)
    assert world.cluster is None or world.cluster.replicas == 0
    assert not world.pods
    world.silent = False
    play_on(world)
    assert world.succeeded() in {ENDS.get(asked), "AllRowsAnswered"}


ASKED = [*ENDS, "user_suspends"]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("crash", ["", "before", "after"])
@pytest.mark.parametrize("steps", range(16))
def test_an_end_or_a_pause_at_every_step_of_a_quiet_job(asked, crash, steps):
    """The operator is killed in the look just before, and again in the look just after it is asked for."""
    world = SimWorld()
    for _ in range(steps):
        world.head_comes_up()
        world.work_goes_on()
        world.reconcile()
        world.pass_time(2)
    world.work_goes_on()
    world.reconcile(crash)
    done, ended = world.done, world.finished
    getattr(world, asked)()
    world.reconcile(crash)
    for _ in range(10):
        world.settle()
        world.pass_time(2)
    world.user_resumes()
    play_on(world)
    assert world.done >= done, "an answered row was lost"
    if not ended:
        assert world.succeeded() in {ENDS.get(asked), "AllRowsAnswered"}
        assert (world.manifest is None) <= (asked in ENDS)


@settings(max_examples=20, deadline=None)
@given(moves_of(*USER, *FULL))
def test_when_the_window_ends_a_job_that_is_left_alone_ends(moves):
    world = SimWorld()
    play(world, moves)
    world.pass_time(4 * 3600)
    for _ in range(300):
        world.head_comes_up()
        world.settle()
        world.work_goes_on()
        world.pass_time(60)
    assert world.finished
    assert world.cluster is None
    assert not world.pods


def test_a_finished_job_costs_nothing():
    world = SimWorld()
    play_on(world)
    before = world.job.status
    for _ in range(10):
        world.pass_time(3600)
        decided = world.reconcile()
        assert (decided.actions, decided.events, decided.recheck_after) == ((), (), None)
    assert world.job.status == before
