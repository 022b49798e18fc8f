"""What is done in each situation: the table A2 of the reference, and the rest of KubeRay's rounds."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.kuberay.builders import cluster, condition, ended, head_pod, pod, worker_group

from devcluster.kuberay import constants as c
from devcluster.kuberay import naming, planning, reading, services
from devcluster.kuberay.steps import Announce, Create, Delete, Stop


def snapshot(of, *pods, **fields):
    fields.setdefault("services", (services.head_service(of),))
    return planning.Snapshot(of, tuple(pods), **fields)


def plan(of, *pods, **fields):
    return planning.plan(snapshot(of, *pods, **fields))


def created(decided):
    return [
        step.body["metadata"].get("generateName", step.body["metadata"].get("name"))
        for step in decided.steps
        if isinstance(step, Create)
    ]


def deleted(decided):
    return [step.name for step in decided.steps if isinstance(step, Delete)]


def announced(decided):
    return [step.reason for step in decided.steps if isinstance(step, Announce)]


def workers(count):
    return [pod(f"w{index}") for index in range(count)]


def test_a_new_cluster_gets_service_head_and_workers_in_this_order():
    decided = planning.plan(planning.Snapshot(cluster(groups=[worker_group(replicas=2)])))
    assert created(decided) == ["demo-head-svc", "demo-head-", "demo-workers-worker-", "demo-workers-worker-"]
    assert decided.error == ""


def test_every_child_names_the_cluster_as_its_controller():
    decided = planning.plan(planning.Snapshot(cluster(authOptions={"mode": "token"}), spare_token="t"))
    owners = [step.body["metadata"]["ownerReferences"] for step in decided.steps if isinstance(step, Create)]
    assert len(owners) == 4
    assert all(owner == [naming.owner_reference(cluster())] for owner in owners)
    assert owners[0][0]["controller"] is True


def test_a_cluster_as_it_should_be_needs_nothing():
    assert plan(cluster(), head_pod(), pod("w0")).steps == ()


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"replicas": 3}, 3),
        ({"replicas": 9}, 4),
        ({"replicas": 0, "minReplicas": 2}, 2),
        ({"replicas": None, "minReplicas": 2}, 2),
        ({"replicas": 2, "suspend": True}, 0),
    ],
)
def test_replicas_are_held_within_their_bounds_silently(fields, count):
    """A2, replicas up: the value is clamped to its bounds, silently."""
    group = worker_group(**fields)
    assert reading.desired_replicas(group) == count
    decided = plan(cluster(groups=[group]), head_pod())
    assert len(created(decided)) == count
    assert decided.error == ""


def test_more_replicas_create_pods_with_the_free_indexes():
    """A2, replicas up: pods are created at once."""
    decided = plan(cluster(groups=[worker_group(replicas=3)]), head_pod(), pod("w1"))
    indexes = [step.body["metadata"]["labels"][c.LABEL_REPLICA_INDEX] for step in decided.steps]
    assert indexes == ["0", "2"]
    assert [step.done.reason for step in decided.steps] == ["CreatedWorkerPod"] * 2


def test_fewer_replicas_delete_the_first_pods_of_the_list():
    """A2, replicas down, autoscaling off."""
    decided = plan(cluster(), head_pod(), *workers(3))
    assert deleted(decided) == ["w0", "w1"]
    assert created(decided) == []
    assert [step.done.reason for step in decided.steps] == ["DeletedWorkerPod"] * 2


def test_named_workers_are_deleted_whatever_replicas_say_and_created_again():
    """A2, workersToDelete."""
    group = worker_group(replicas=2, scaleStrategy={"workersToDelete": ["w1"]})
    decided = plan(cluster(groups=[group]), head_pod(), *workers(2))
    assert deleted(decided) == ["w1"]
    assert created(decided) == ["demo-workers-worker-"]


def test_lower_replicas_and_named_workers_delete_exactly_those():
    """A2, workersToDelete with replicas lowered in one patch."""
    group = worker_group(replicas=1, scaleStrategy={"workersToDelete": ["w1"]})
    decided = plan(cluster(groups=[group]), head_pod(), *workers(2))
    assert deleted(decided) == ["w1"]
    assert created(decided) == []


def test_names_of_workers_to_delete_stay_and_are_asked_for_again():
    """A2, workersToDelete is never cleared."""
    given = cluster(groups=[worker_group(replicas=1, scaleStrategy={"workersToDelete": ["w9"]})])
    before = deepcopy(given)
    assert deleted(plan(given, head_pod(), pod("w0"))) == ["w9"]
    assert given == before


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_an_ended_worker_is_deleted_now_and_replaced_in_the_next_round(phase):
    """A2, pod Failed or Succeeded."""
    decided = plan(cluster(), head_pod(), pod("w0", phase=phase))
    assert deleted(decided) == ["w0"]
    assert created(decided) == []
    assert decided.error == "delete 1 unhealthy worker Pods"
    assert created(plan(cluster(), head_pod())) == ["demo-workers-worker-"]


def test_an_ended_head_ends_the_round_before_any_worker():
    decided = plan(cluster(groups=[worker_group(replicas=3)]), head_pod(phase="Failed"))
    assert deleted(decided) == ["demo-head-x1"]
    assert created(decided) == []
    assert decided.error


@pytest.mark.parametrize(("policy", "names"), [("Always", []), ("OnFailure", []), ("Never", ["w0"])])
def test_a_stopped_ray_container_is_left_to_its_restart_policy(policy, names):
    decided = plan(cluster(), head_pod(), ended(pod("w0"), restart_policy=policy))
    assert deleted(decided) == names


def test_a_lost_head_is_created_again():
    assert created(plan(cluster(), pod("w0"))) == ["demo-head-"]


def test_a_lost_head_stays_lost_where_an_annotation_says_so():
    given = cluster(
        metadata={"annotations": {c.ANNOTATION_KEEP_HEAD_LOST: "true"}},
        status={"conditions": [condition(c.PROVISIONED)]},
    )
    assert created(plan(given, pod("w0"))) == []


def test_two_heads_are_a_fault_that_only_a_user_can_mend():
    decided = plan(cluster(), head_pod(), head_pod("demo-head-x2"))
    assert decided.steps == ()
    assert "2 head pods found" in decided.error


def with_hash(given):
    written = {c.ANNOTATION_RECREATE_HASH: naming.recreate_hash(given["spec"])}
    return head_pod(metadata={**head_pod()["metadata"], "annotations": written})


def with_image(given, image):
    changed = deepcopy(given)
    changed["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["image"] = image
    return changed


def test_a_changed_template_leaves_running_pods_and_new_pods_get_it():
    """A2, template changed."""
    given = cluster()
    head = with_hash(given)
    changed = with_image(given, "tidemill:new")
    assert plan(changed, head, pod("w0")).steps == ()
    (step,) = plan(changed, head).steps
    assert step.body["spec"]["containers"][0]["image"] == "tidemill:new"


def test_with_recreate_a_changed_template_deletes_every_pod():
    """A2, template changed, with upgradeStrategy Recreate."""
    given = cluster(upgradeStrategy={"type": "Recreate"})
    head = with_hash(given)
    assert plan(given, head, pod("w0")).steps == ()
    decided = plan(with_image(given, "tidemill:new"), head, pod("w0"))
    assert deleted(decided) == ["demo-head-x1", "w0"]
    assert announced(decided) == ["DeletedPod"]
    assert created(decided) == []


@pytest.mark.parametrize(
    "fields", [{"replicas": 3}, {"maxReplicas": 9}, {"scaleStrategy": {"workersToDelete": ["w9"]}}]
)
def test_scaling_is_no_changed_template(fields):
    given = cluster(upgradeStrategy={"type": "Recreate"})
    scaled = cluster(upgradeStrategy={"type": "Recreate"}, groups=[worker_group(**fields)])
    assert "demo-head-x1" not in deleted(plan(scaled, with_hash(given), pod("w0")))


def test_a_suspended_group_loses_its_pods():
    """A2, group suspend."""
    decided = plan(cluster(groups=[worker_group(suspend=True)]), head_pod(), *workers(2))
    assert deleted(decided) == ["w0", "w1"]
    assert announced(decided) == ["DeletedWorkerPod"]


def test_suspending_deletes_every_pod_that_is_not_going_already():
    """A1, spec.suspend."""
    given = cluster(suspend=True, status={"conditions": [condition(c.SUSPENDING)]})
    going = pod("w0")
    going["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert deleted(plan(given, head_pod(), going, pod("w1"))) == ["demo-head-x1", "w1"]


@pytest.mark.parametrize("state", [[], [condition(c.SUSPENDED)]])
def test_no_pod_is_made_on_the_way_to_suspension_or_after(state):
    assert plan(cluster(suspend=True, status={"conditions": state})).steps == ()


# Services, Secret, expectations


def test_the_head_service_is_not_made_twice():
    assert "demo-head-svc" in created(plan(cluster(), services=()))
    assert "demo-head-svc" not in created(plan(cluster()))


def test_a_second_service_with_the_labels_of_the_head_is_a_fault():
    service = services.head_service(cluster())
    decided = plan(cluster(), services=(service, service))
    assert decided.steps == ()
    assert "2 head service found" in decided.error


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (None, False),
        ({"mode": "disabled"}, False),
        ({"mode": "token"}, True),
        ({}, True),
        ({"mode": "token", "secretName": "mine"}, False),
    ],
)
def test_a_token_secret_is_made_where_none_is_named(options, made):
    given = cluster(**({} if options is None else {"authOptions": options}))
    decided = plan(given, head_pod(), pod("w0"), spare_token="c2VjcmV0")
    assert created(decided) == (["demo"] if made else [])
    assert plan(given, head_pod(), pod("w0"), has_token_secret=True).steps == ()


def test_a_serve_service_is_made_on_demand():
    given = cluster(metadata={"annotations": {c.ANNOTATION_SERVE_SERVICE: "true"}})
    assert "demo-serve-svc" in created(plan(given))


def test_a_serve_service_needs_a_port_of_that_name():
    head = cluster()["spec"]["headGroupSpec"]
    head["template"]["spec"]["containers"][0]["ports"] = [{"name": "dashboard", "containerPort": 8265}]
    decided = plan(cluster(metadata={"annotations": {c.ANNOTATION_SERVE_SERVICE: "true"}}, head=head))
    assert "port named 'serve'" in decided.error
    assert created(decided) == []


def test_a_group_waits_until_its_last_writes_are_seen():
    two = cluster(groups=[worker_group(), worker_group("more")])
    decided = plan(two, waiting=frozenset({c.HEAD_GROUP, "workers"}))
    assert created(decided) == ["demo-more-worker-"]


@given(
    replicas=st.integers(0, 6),
    existing=st.integers(0, 6),
    named=st.sets(st.integers(0, 6), max_size=3),
    failed=st.sets(st.integers(0, 5), max_size=2),
)
def test_rounds_lead_to_the_wanted_number_of_workers(replicas, existing, named, failed):
    """Carrying plans out round after round always ends, at the clamped count, without a named worker."""
    group = worker_group(replicas=replicas, scaleStrategy={"workersToDelete": [f"w{index}" for index in named]})
    given = cluster(groups=[group])
    pods = {f"w{i}": pod(f"w{i}", phase="Failed" if i in failed else "Running") for i in range(existing)}
    serial = 100
    for _ in range(4):
        for step in plan(given, head_pod(), *(pods[name] for name in sorted(pods))).steps:
            assert not isinstance(step, Stop)
            if isinstance(step, Delete):
                pods.pop(step.name, None)
            elif isinstance(step, Create):
                serial += 1
                pods[f"n{serial}"] = {**step.body, "metadata": {**step.body["metadata"], "name": f"n{serial}"}}
    assert len(pods) == min(replicas, 4)
    assert not named & {int(name[1:]) for name in pods if name.startswith("w")}
    assert len({entry["metadata"]["labels"][c.LABEL_REPLICA_INDEX] for entry in pods.values()}) == len(pods)
