"""Whole jobs played to their end, with faults at any step and the operator killed at any moment."""

from hypothesis import given, settings
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


@settings(max_examples=300, deadline=None)
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


@settings(max_examples=100, deadline=None)
@given(MOVES)
def test_when_the_window_ends_the_job_ends_whatever_its_state(moves):
    world = SimWorld()
    for move, crash, seconds in moves:
        getattr(world, move)()
        world.reconcile(crash)
        world.pass_time(seconds)
    world.pass_time(4 * 3600)
    for _ in range(5):
        world.settle()
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
