"""How many Pods a disruption budget lets go."""

import pytest
from workload_world import World, deployment

from devcluster.client import DEPLOYMENTS, PODS, REPLICA_SETS
from devcluster.workloads import budgets

SELECTOR = {"matchLabels": {"app": "web"}}


def numbers(world, **spec):
    budget = {"metadata": {"name": "b", "generation": 1}, "spec": {"selector": SELECTOR, **spec}}
    scales = budgets.scales_of(world.all(DEPLOYMENTS), world.all(REPLICA_SETS))
    (write,) = budgets.plan(budget, world.all(PODS), scales, world.now).steps
    fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
    return tuple(write.status[field] for field in fields), write.status["conditions"][0]["reason"]


@pytest.fixture
def world():
    made = World()
    made.add(DEPLOYMENTS, deployment(replicas=4))
    made.run()
    return made


@pytest.mark.parametrize(
    ("spec", "expected", "reason"),
    [
        ({"minAvailable": 3}, (4, 4, 3, 1), "SufficientPods"),
        ({"minAvailable": "50%"}, (4, 4, 2, 2), "SufficientPods"),
        ({"maxUnavailable": 1}, (4, 4, 3, 1), "SufficientPods"),
        ({"maxUnavailable": "10%"}, (4, 4, 3, 1), "SufficientPods"),
        ({"maxUnavailable": 0}, (4, 4, 4, 0), "InsufficientPods"),
        ({"minAvailable": 9}, (4, 4, 9, 0), "InsufficientPods"),
    ],
)
def test_a_budget_counts_what_its_workload_wants(world, spec, expected, reason):
    assert numbers(world, **spec) == (expected, reason)


def test_a_pod_that_is_missing_or_unready_uses_the_budget_up(world):
    first, second, *_ = world.pods()
    world.end(first)
    world.tell(second, ready=False)
    assert numbers(world, maxUnavailable=2) == ((4, 2, 2, 0), "InsufficientPods")


def test_a_pod_without_a_workload_counts_for_itself():
    world = World()
    pod = world.add(PODS, {"metadata": {"name": "lone", "labels": {"app": "web"}}, "spec": {"containers": []}})
    world.tell(pod)
    assert numbers(world, maxUnavailable=1) == ((1, 1, 0, 1), "SufficientPods")
