"""Properties of the first scaling law and of the choice of victims."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill_operator.core.scaling import Demand, scale_to, workers_wanted
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


@given(PODS, st.integers(0, 20), st.integers(0, 20), st.data())
def test_no_busy_and_no_leaving_pod_is_ever_a_victim(pods, wanted, replicas, data):
    busy = data.draw(st.sets(st.sampled_from([p.ip for p in pods]))) if pods else set()
    scale = scale_to(wanted, replicas, pods, dict.fromkeys(busy, 1))
    chosen = [pod for pod in pods if pod.name in scale.victims]
    assert not [pod for pod in chosen if pod.ip in busy or pod.deleting]


@given(PODS, st.integers(0, 20), st.integers(0, 20), st.data())
def test_kuberay_never_has_to_choose_a_pod_by_itself(pods, wanted, replicas, data):
    busy = data.draw(st.sets(st.sampled_from([p.ip for p in pods]))) if pods else set()
    scale = scale_to(wanted, replicas, pods, dict.fromkeys(busy, 1))
    staying = [pod for pod in pods if not pod.deleting and pod.name not in scale.victims]
    assert scale.replicas >= len(staying)


@given(PODS, st.integers(0, 20))
def test_idle_pods_leave_exactly_as_many_as_wanted(pods, wanted):
    alive = [pod for pod in pods if not pod.deleting]
    scale = scale_to(wanted, len(alive), pods, {})
    assert scale.replicas == wanted
    assert len(alive) - len(scale.victims) == min(len(alive), wanted)


def test_pods_that_are_not_ready_go_first():
    pods = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", False, False), WorkerPod("c", "3", True, False))
    assert scale_to(1, 3, pods, {}).victims == ("b", "a")


def test_a_group_with_pods_not_seen_yet_is_not_lowered():
    one = (WorkerPod("a", "1", True, False),)
    assert scale_to(2, 4, one, {"1": 5}).replicas == 4
    assert scale_to(0, 4, one, {}).replicas == 0
