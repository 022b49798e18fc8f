"""What the API server makes of RayClusters: A1 of the reference as far as the definition decides it."""

import json

import pytest
from unit.kuberay.builders import cluster, worker_group

from devcluster.client import RAY_CLUSTERS

MAX_INT32 = 2**31 - 1


def given(namespace, *groups):
    made = cluster(groups=list(groups))
    made["metadata"] = {"name": "demo", "namespace": namespace}
    return {key: value for key, value in made.items() if key != "status"}


def without(group, field):
    return {key: value for key, value in group.items() if key != field}


async def test_bounds_of_a_group_are_zero_and_the_largest_number_by_default(client, namespace):
    group = without(without(worker_group(), "minReplicas"), "maxReplicas")
    stored = await client.create(RAY_CLUSTERS, namespace, given(namespace, group))
    (found,) = stored["spec"]["workerGroupSpecs"]
    assert (found["minReplicas"], found["maxReplicas"]) == (0, MAX_INT32)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("spec.headGroupSpec.template", lambda made: made["spec"]["headGroupSpec"].pop("template")),
        ("spec.workerGroupSpecs[0].template", lambda made: made["spec"]["workerGroupSpecs"][0].pop("template")),
        ("spec.workerGroupSpecs[0].groupName", lambda made: made["spec"]["workerGroupSpecs"][0].pop("groupName")),
        (
            "spec.headGroupSpec.rayStartParams.num-cpus",
            lambda made: made["spec"]["headGroupSpec"].update(rayStartParams={"num-cpus": 0}),
        ),
    ],
)
def test_what_is_required_and_what_is_text_is_named_by_its_path(kubectl, namespace, path, change):
    made = given(namespace, worker_group())
    change(made)
    done = kubectl.run("apply", "--validate=false", "-f", "-", given=made)
    assert done.returncode == 1
    assert path in done.stderr


async def test_worker_groups_are_one_list_that_every_patch_replaces_whole(client, kubectl, namespace):
    """So a change of one group by merge patch or server-side apply would drop the others: JSON patch it is."""
    await client.create(RAY_CLUSTERS, namespace, given(namespace, worker_group("a"), worker_group("b")))
    merged = await client.patch(
        RAY_CLUSTERS, namespace, "demo", {"spec": {"workerGroupSpecs": [worker_group("c"), worker_group("d")]}}
    )
    assert [group["groupName"] for group in merged["spec"]["workerGroupSpecs"]] == ["c", "d"]
    made = json.dumps(given(namespace, worker_group("d", replicas=2)))
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=scaler", "-f", "-", given=made)
    applied = await client.get(RAY_CLUSTERS, namespace, "demo")
    assert [group["groupName"] for group in applied["spec"]["workerGroupSpecs"]] == ["d"]
