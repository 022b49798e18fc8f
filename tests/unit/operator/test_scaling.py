"""Properties of the first scaling law and of the choice of victims."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill_operator.core.scaling import Demand, Group, Scale, scale_to, workers_wanted
from tidemill_operator.core.snapshot import WorkerPod

COUNT = st.integers(0, 10_000_000)
SMALL = st.integers(0, 1000)
DEMANDS = st.builds(
    Demand, validated=st.just(True), rows_waiting=COUNT, rows_per_worker=st.integers(1, 5000), busy_workers=SMALL
)
BOUNDS = st.tuples(SMALL, st.integers(1, 1000)).map(lambda pair: (min(pair), max(pair)))


@given(st.builds(Demand, st.just(False), COUNT, SMALL, SMALL), BOUNDS)
def test_nothing_runs_before_validation(demand, bounds):
    assert workers_wanted(demand, *bounds) == 0


@given(DEMANDS, BOUNDS)
def test_never_below_the_workers_that_hold_rows(demand, bounds):
    assert workers_wanted(demand, *bounds) >= demand.busy_workers


@given(DEMANDS, BOUNDS)
def test_never_above_the_maximum_but_for_workers_that_hold_rows(demand, bounds):
    assert workers_wanted(demand, *bounds) <= max(bounds[1], demand.busy_workers)


@given(DEMANDS, BOUNDS, COUNT)
def test_more_waiting_rows_never_want_fewer_workers(demand, bounds, more):
    busier = Demand(True, demand.rows_waiting + more, demand.rows_per_worker, demand.busy_workers)
    assert workers_wanted(busier, *bounds) >= workers_wanted(demand, *bounds)


@given(DEMANDS, BOUNDS)
def test_the_minimum_holds_while_a_row_is_left(demand, bounds):
    left = demand.rows_waiting > 0 or demand.busy_workers > 0
    assert workers_wanted(demand, *bounds) >= (bounds[0] if left else 0)


@given(DEMANDS)
def test_workers_hold_all_waiting_rows_and_one_fewer_would_not(demand):
    wanted = workers_wanted(Demand(True, demand.rows_waiting, demand.rows_per_worker, 0), 0, 10**9)
    assert wanted * demand.rows_per_worker >= demand.rows_waiting
    assert demand.rows_waiting == 0 or (wanted - 1) * demand.rows_per_worker < demand.rows_waiting


def test_no_row_left_wants_no_worker_whatever_the_minimum():
    assert workers_wanted(Demand(True, 0, 10, 0), 3, 8) == 0


PODS = st.lists(
    st.builds(WorkerPod, st.integers(0, 99).map("w{}".format), st.just(""), st.booleans(), st.booleans()),
    unique_by=lambda pod: pod.name,
    max_size=20,
).map(lambda pods: tuple(WorkerPod(p.name, f"ip-{p.name}", p.ready, p.deleting) for p in pods))


@st.composite
def groups(draw):
    """A worker group as KubeRay may have it, and the addresses that hold rows.

    KubeRay counts leaving pods, and has at most `replicas` of them all but while it is already told to lower it.
    """
    pods = draw(PODS)
    replicas = draw(st.integers(0, 20))
    busy = draw(st.sets(st.sampled_from([pod.ip for pod in pods]))) if pods else set()
    return Group(replicas, pods, complete=draw(st.booleans())), dict.fromkeys(busy, 1)


WANTED = st.integers(0, 20)


@given(groups(), WANTED)
def test_no_busy_and_no_leaving_pod_is_ever_a_victim(case, wanted):
    group, in_flight = case
    scale = scale_to(wanted, group, in_flight)
    chosen = [pod for pod in group.workers if pod.name in scale.victims]
    assert not [pod for pod in chosen if pod.ip in in_flight or pod.deleting]


@given(groups(), WANTED, st.data())
def test_kuberay_never_has_to_choose_a_pod_by_itself(case, wanted, data):
    """Whatever pods were created since: as many as the old size allows, none where their creation is refused.

    Where nobody is wanted it may choose: all of the idle pods go.
    """
    group, in_flight = case
    scale = scale_to(wanted, group, in_flight)
    unseen = 0 if group.complete else data.draw(st.integers(0, max(group.replicas - len(group.workers), 0)))
    standing = [pod for pod in group.workers if pod.name not in scale.victims and not pod.deleting]
    leaving = [pod for pod in group.workers if pod.deleting]
    counted = len(standing) + unseen + (len(leaving) if group.complete else 0)
    assert scale.replicas >= (len(standing) if wanted == 0 else counted)


@given(groups(), st.integers(1, 20))
def test_pods_that_cannot_be_created_do_not_hold_the_group_large(case, wanted):
    group, in_flight = case
    refused = Group(group.replicas, tuple(pod for pod in group.workers if not pod.deleting), complete=True)
    busy = sum(pod.ip in in_flight for pod in refused.workers)
    assert scale_to(wanted, refused, in_flight).replicas == max(wanted, busy)


@given(groups(), WANTED)
def test_looking_again_after_the_scaling_settles_at_the_least_that_is_safe(case, wanted):
    """Once the named pods have gone and every other one is seen, the group is as small as its busy pods allow."""
    group, in_flight = case
    for _ in range(3):
        scale = scale_to(wanted, group, in_flight)
        left = [pod for pod in group.workers if pod.name not in scale.victims and not pod.deleting]
        late = [WorkerPod(f"late{n}", f"late-ip{n}", True, False) for n in range(scale.replicas - len(left))]
        group = Group(scale.replicas, (*left, *late))
    busy = sum(pod.ip in in_flight for pod in group.workers)
    assert scale_to(wanted, group, in_flight) == Scale(max(wanted, busy))


@given(PODS, WANTED)
def test_idle_pods_leave_exactly_as_many_as_wanted(pods, wanted):
    alive = [pod for pod in pods if not pod.deleting]
    scale = scale_to(wanted, Group(len(alive), pods), {})
    assert scale.replicas == wanted
    assert len(alive) - len(scale.victims) == min(len(alive), wanted)


def test_pods_that_are_not_ready_go_first():
    pods = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", False, False), WorkerPod("c", "3", True, False))
    assert scale_to(1, Group(3, pods), {}).victims == ("b", "a")


def test_a_group_with_pods_not_seen_yet_is_lowered_by_the_named_ones_only():
    two = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", True, False))
    assert scale_to(1, Group(4, two), {"1": 5}) == Scale(3, ("b",))
    assert scale_to(1, Group(4, two), {"1": 5, "2": 5}) == Scale(4)
    assert scale_to(0, Group(4, two), {}) == Scale(0, ("a", "b"))


def test_a_quota_that_allows_two_of_eight_pods_leaves_two_and_then_the_busy_one():
    two = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", True, False))
    quota = Group(8, two, complete=True)
    assert scale_to(5, quota, {"1": 5, "2": 5}) == Scale(5)
    assert scale_to(1, quota, {"1": 5, "2": 5}) == Scale(2)
    assert scale_to(1, quota, {"1": 5}) == Scale(1, ("b",))
