"""The `ray start` command line, a table over KubeRay's rules (A1 of the reference)."""

import pytest

from devcluster.kuberay import constants as c
from devcluster.kuberay.ray_start import Node, command, complete_params, is_gpu


def params(**node):
    return complete_params(Node(**{"node_type": c.WORKER, "address": "head:6379", **node}))


def limits(**resources):
    return {"limits": {name.replace("_", "/"): text for name, text in resources.items()}}


DEFAULTS = {
    "block": "true",
    "metrics-export-port": "8080",
    "dashboard-agent-listen-port": "52365",
}


def test_a_head_listens_on_every_address_and_a_worker_knows_its_head():
    assert params(node_type=c.HEAD) == {**DEFAULTS, "dashboard-host": "0.0.0.0"}
    assert params() == {**DEFAULTS, "address": "head:6379"}


def test_the_command_lists_its_flags_in_alphabetical_order():
    node = Node(node_type=c.HEAD, params={"num-cpus": "0", "port": "6380"})
    assert command(node).split() == [
        "ray",
        "start",
        "--head",
        "--block",
        "--dashboard-agent-listen-port=52365",
        "--dashboard-host=0.0.0.0",
        "--metrics-export-port=8080",
        "--num-cpus=0",
        "--port=6380",
    ]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        pytest.param(limits(cpu="2500m"), {"num-cpus": "3"}, id="cores-round-up"),
        pytest.param({"requests": {"cpu": "2"}}, {"num-cpus": "2"}, id="a-request-counts-without-a-limit"),
        pytest.param({"requests": {"memory": "4Gi"}}, {}, id="memory-counts-by-its-limit-only"),
        pytest.param(limits(memory="4Gi"), {"memory": "4294967296"}, id="memory-in-bytes"),
        pytest.param(limits(**{"nvidia.com/gpu": "4"}), {"num-gpus": "4"}, id="four-gpus"),
        pytest.param({"requests": {"nvidia.com/gpu": "4"}}, {}, id="gpus-count-by-their-limit-only"),
        pytest.param(limits(**{"nvidia.com/mig-1g.10gb": "2"}), {"num-gpus": "2"}, id="slices-of-a-gpu"),
        pytest.param(limits(**{"amd.com/gpu": "1"}), {"num-gpus": "1"}, id="another-vendor-of-gpus"),
        pytest.param(limits(**{"habana.ai/gaudi": "1"}), {}, id="a-device-whose-name-says-nothing"),
        pytest.param(limits(**{"google.com/tpu": "4"}), {"resources": "'{\"TPU\":4}'"}, id="tpus"),
        pytest.param(limits(**{"nvidia.com/gpu": "0"}), {}, id="no-gpu"),
    ],
)
def test_container_resources_become_ray_resources(resources, expected):
    assert params(container_resources=resources) == {**DEFAULTS, "address": "head:6379", **expected}


def test_what_the_user_sets_wins_over_the_container():
    given = {"num-cpus": "1", "num-gpus": "0", "memory": "7", "dashboard-agent-listen-port": "1234"}
    found = params(params=given, container_resources=limits(cpu="8", memory="4Gi", **{"nvidia.com/gpu": "4"}))
    assert {key: found[key] for key in given} == given


def test_resources_of_the_group_win_over_the_container():
    found = params(
        group_resources={"CPU": "3", "memory": "1Gi", "nvidia.com/gpu": "2", "accel": "1", "half": "500m"},
        container_resources=limits(cpu="8"),
    )
    assert found["num-cpus"] == "3"
    assert found["memory"] == str(2**30)
    assert found["num-gpus"] == "2"
    assert found["resources"] == '\'{"accel":1,"half":0.5}\''


def test_labels_of_the_group_are_given_to_ray():
    assert params(group_labels={"zone": "b", "market": "spot"})["labels"] == "market=spot,zone=b"


def test_custom_resources_in_quotes_are_kept_beside_gpus():
    found = params(params={"resources": "'{\"engine\": 1}'"}, container_resources=limits(**{"nvidia.com/gpu": "1"}))
    assert found["resources"] == "'{\"engine\": 1}'"
    assert found["num-gpus"] == "1"


def test_resources_that_are_no_json_leave_the_devices_out_as_kuberay_does():
    found = params(params={"resources": "engine=1"}, container_resources=limits(**{"nvidia.com/gpu": "1"}))
    assert "num-gpus" not in found


@pytest.mark.parametrize(
    ("option", "value", "flag"),
    [
        ("no-monitor", "true", "--no-monitor"),
        ("no-monitor", "False", None),
        ("include-dashboard", "false", "--include-dashboard=false"),
        ("log-color", "true", "--log-color=true"),
    ],
)
def test_switches_take_no_value_but_some_options_do(option, value, flag):
    words = command(Node(node_type=c.WORKER, params={option: value})).split()
    assert [word for word in words if word.startswith(f"--{option}")] == ([flag] if flag else [])


def test_gpu_names():
    assert [name for name in ("cpu", "nvidia.com/gpu", "nvidia.com/mig-3g.40gb", "x/gpus") if is_gpu(name)] == [
        "nvidia.com/gpu",
        "nvidia.com/mig-3g.40gb",
    ]
