"""Properties of a worker group's size and of the choice of victims."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill_operator.core.scaling import Group, Scale, scale_to
from tidemill_operator.core.snapshot import WorkerPod

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
    most = draw(st.integers(1, 20))
    return Group(replicas, pods, most, complete=draw(st.booleans())), {ip: draw(st.integers(1, 9)) for ip in busy}


WANTED = st.integers(0, 20)


@given(groups(), WANTED)
def test_no_leaving_pod_is_a_victim_and_a_busy_one_only_above_the_maximum(case, wanted):
    group, in_flight = case
    scale = scale_to(wanted, group, in_flight)
    alive = [pod for pod in group.workers if not pod.deleting]
    chosen = [pod for pod in alive if pod.name in scale.victims]
    assert len(chosen) == len(scale.victims)
    if [pod for pod in chosen if pod.ip in in_flight]:
        assert len(alive) - len(chosen) == max(group.most, wanted)


@given(groups(), WANTED)
def test_no_more_pods_stay_than_the_maximum(case, wanted):
    group, in_flight = case
    alive = [pod for pod in group.workers if not pod.deleting]
    assert len(alive) - len(scale_to(min(wanted, group.most), group, in_flight).victims) <= group.most


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
    pods = tuple(pod for pod in group.workers if not pod.deleting)
    refused = Group(group.replicas, pods, group.most, complete=True)
    busy = sum(pod.ip in in_flight for pod in refused.workers)
    assert scale_to(wanted, refused, in_flight).replicas == max(wanted, min(busy, max(group.most, wanted)))


@given(groups(), WANTED)
def test_looking_again_after_the_scaling_settles_at_the_least_that_is_safe(case, wanted):
    """Once the named pods have gone and every other one is seen, the group is as small as its busy pods allow."""
    group, in_flight = case
    for _ in range(3):
        scale = scale_to(wanted, group, in_flight)
        left = [pod for pod in group.workers if pod.name not in scale.victims and not pod.deleting]
        late = [WorkerPod(f"late{n}", f"late-ip{n}", True, False) for n in range(scale.replicas - len(left))]
        group = Group(scale.replicas, (*left, *late), group.most)
    busy = sum(pod.ip in in_flight for pod in group.workers)
    assert scale_to(wanted, group, in_flight) == Scale(max(wanted, busy))


@given(PODS, WANTED)
def test_idle_pods_leave_exactly_as_many_as_wanted(pods, wanted):
    alive = [pod for pod in pods if not pod.deleting]
    scale = scale_to(wanted, Group(len(alive), pods, 20), {})
    assert scale.replicas == wanted
    assert len(alive) - len(scale.victims) == min(len(alive), wanted)


def test_pods_that_are_not_ready_go_first():
    pods = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", False, False), WorkerPod("c", "3", True, False))
    assert scale_to(1, Group(3, pods, 4), {}).victims == ("b", "a")


def test_a_group_with_pods_not_seen_yet_is_lowered_by_the_named_ones_only():
    two = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", True, False))
    assert scale_to(1, Group(4, two, 4), {"1": 5}) == Scale(3, ("b",))
    assert scale_to(1, Group(4, two, 4), {"1": 5, "2": 5}) == Scale(4)
    assert scale_to(0, Group(4, two, 4), {}) == Scale(0, ("a", "b"))


def test_a_quota_that_allows_two_of_eight_pods_leaves_two_and_then_the_busy_one():
    two = (WorkerPod("a", "1", True, False), WorkerPod("b", "2", True, False))
    quota = Group(8, two, 8, complete=True)
    assert scale_to(5, quota, {"1": 5, "2": 5}) == Scale(5)
    assert scale_to(1, quota, {"1": 5, "2": 5}) == Scale(2)
    assert scale_to(1, quota, {"1": 5}) == Scale(1, ("b",))


def test_a_lowered_maximum_sends_the_busy_pods_with_the_fewest_rows():
    pods = tuple(WorkerPod(name, name, True, False) for name in "abcd")
    group = Group(4, pods, most=2)
    assert scale_to(2, group, {"a": 9, "b": 3, "c": 5, "d": 8}) == Scale(2, ("b", "c"))
    assert scale_to(2, group, {"a": 9, "b": 3, "d": 8}) == Scale(2, ("c", "b"))
