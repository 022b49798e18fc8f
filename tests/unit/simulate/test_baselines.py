"""The baselines do what the autoscalers they stand for do."""

from unit.simulate.trace_builders import job, trace

from tidemill_operator.simulate.baselines import ByDepth, FixedSize
from tidemill_operator.simulate.policy import EndpointView, Seen
from tidemill_operator.simulate.run import play
from tidemill_operator.simulate.trace import Endpoint


def seen(now, depth, size):
    spec = Endpoint(name="chat", min_replicas=1, max_replicas=20, target_depth=10)
    return Seen(now, 100, (), (), (EndpointView(spec, size, size, depth, 0.0, None, None),))


def sizes(policy, depths):
    """Of an endpoint whose depth is each of these in turn, half a minute apart."""
    size, found = 1, []
    for step, depth in enumerate(depths):
        size = policy.decide(seen(30.0 * step, depth, size)).replicas["chat"]
        found.append(size)
    return found


def test_a_fixed_size_is_the_largest_from_the_first_moment_to_the_end():
    one = play(trace(job(max_workers=8)), FixedSize()).jobs["one"]
    assert (one.bill.starts, one.bill.flaps) == (8, 0)


def test_depth_asks_for_what_holds_it_within_the_bounds():
    assert sizes(ByDepth(), [35])[-1] == 4
    assert sizes(ByDepth(), [35, 1000])[-1] == 16  # from 4 at most fourfold in half a minute
    assert sizes(ByDepth(), [1000] * 4)[-1] == 20


def test_depth_within_a_tenth_of_the_target_changes_nothing():
    assert sizes(ByDepth(), [40, 43, 37, 42]) == [4, 4, 4, 4]


def test_depth_shrinks_only_to_the_most_of_five_minutes():
    found = sizes(ByDepth(), [40, *([5] * 12)])
    assert found[:11] == [4] * 11
    assert found[-1] == 1


def test_a_job_by_depth_takes_all_its_workers_however_far_its_window_is():
    one = play(trace(job(window=14 * 86400.0, in_flight=256)), ByDepth()).jobs["one"]
    assert one.bill.starts == 8
