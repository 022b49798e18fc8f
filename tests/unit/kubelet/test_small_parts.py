"""Devices, logs, launch plans and what names a process."""

import json
import os
import subprocess
from dataclasses import asdict

import pytest
from pod_builders import asking, pod

from devcluster.kubelet.__main__ import UsageError, check_machine, declared_nodes, lock, parse_arguments
from devcluster.kubelet.credentials import Credentials
from devcluster.kubelet.devices import allocate, visible
from devcluster.kubelet.launch import LaunchPlan, Log, start_time
from devcluster.kubelet.logs import KEPT_AFTER_DELETION, annotations, last_words, remove_old, turn_over
from devcluster.kubelet.network import Subnet
from devcluster.kubelet.root import Mount, RootPlan, own_code

HOST = ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2")


@pytest.mark.parametrize(
    ("wanted", "taken", "expected"),
    [
        ("2", [], HOST[:2]),
        ("1", [HOST[0]], HOST[1:2]),
        ("4", [], HOST),
        ("0", [], ()),
    ],
    ids=["the first", "not those of others", "as many as there are", "none asked"],
)
def test_real_devices_go_to_the_pods_that_ask(wanted, taken, expected):
    assert allocate(pod("p", asking(limits={"nvidia.com/gpu": wanted})), HOST, taken) == expected


def test_declared_gpus_without_real_ones_are_only_counted():
    assert allocate(pod("p", asking(limits={"nvidia.com/gpu": "1"})), (), ()) == ()
    assert visible(()) == {}
    assert visible(HOST[1:]) == {"CUDA_VISIBLE_DEVICES": "1,2"}


def test_a_log_is_bounded_and_loses_nothing_between_its_two_parts(tmp_path):
    log = Log(str(tmp_path / "main.log"), 100)
    for number in range(12):
        log.write(f"{number:09}\n".encode())
    log.close()
    assert (tmp_path / "main.log.1").read_text().splitlines() == [f"{number:09}" for number in range(11)]
    assert (tmp_path / "main.log").read_text() == "000000011\n"


def test_the_log_of_the_run_before_is_kept(tmp_path):
    log = tmp_path / "pod" / "main.log"
    turn_over(log)
    log.write_text("first")
    turn_over(log)
    assert log.read_text() == ""
    assert log.with_name("main.log.previous").read_text() == "first"


def test_the_last_words_of_a_log_are_few_and_its_last(tmp_path):
    log = tmp_path / "main.log"
    assert last_words(log) == ""
    log.write_text("".join(f"{number}\n" for number in range(200)))
    assert last_words(log).splitlines() == [str(number) for number in range(120, 200)]
    log.write_bytes(b"\xff" + b"x" * 5000 + b"\n")
    assert last_words(log) == "x" * 2047 + "\n"


def test_annotations_name_the_log_of_every_container(tmp_path):
    one = pod("web", asking("main"), initContainers=[asking("first")])
    assert annotations(tmp_path, one) == {
        "devcluster.tidemill.dev/log-first": f"{tmp_path}/logs/team_web_uid-web/first.log",
        "devcluster.tidemill.dev/log-main": f"{tmp_path}/logs/team_web_uid-web/main.log",
    }


def test_the_oldest_logs_of_pods_that_are_gone_go_too(tmp_path):
    for number in range(KEPT_AFTER_DELETION + 3):
        folder = tmp_path / "logs" / f"team_web_uid{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    remove_old(tmp_path, ["uid0"])
    left = {entry.name for entry in (tmp_path / "logs").iterdir()}
    assert len(left) == KEPT_AFTER_DELETION + 1
    assert "team_web_uid0" in left
    assert "team_web_uid2" not in left


def test_a_launch_plan_survives_the_pipe():
    root = RootPlan("/s/root", "/s/layer", (Mount("/a", "/b", True),), ("/s",), ("/dev/x",), ("/root",), True)
    who = Credentials(65532, 65532, (1000,), (1, 2), no_new_privileges=True)
    plan = LaunchPlan("/s", "/l", 10, "/run/netns/x", "web", root, ("echo", "é"), {"A": "\n"}, "/", who)
    assert LaunchPlan.parse(json.dumps(asdict(plan))) == plan


def test_a_process_is_known_by_its_start_time_until_it_ends():
    child = subprocess.Popen(["sleep", "100"])
    began = start_time(child.pid)
    assert began is not None
    assert start_time(child.pid) == began
    child.kill()
    child.wait()
    assert start_time(child.pid) is None


def test_names_of_links_fit_into_the_kernels_fifteen_letters():
    subnet = Subnet(255)
    assert subnet.address(254) == "10.77.255.254"
    assert len(f"{subnet.name}up") <= 15


def test_a_second_kubelet_on_one_state_folder_is_refused(tmp_path):
    with lock(tmp_path), pytest.raises(UsageError, match="stop it first"):
        lock(tmp_path)
    lock(tmp_path).close()


def test_without_root_one_message_says_what_is_needed(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs Linux and root: run it with sudo"):
        check_machine()


def test_missing_tools_are_named_with_their_package(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"missing: ip \(Debian package iproute2\), nsenter"):
        check_machine()


def test_nodes_are_declared_by_flags_and_file(tmp_path):
    (tmp_path / "nodes.yaml").write_text("- {name: b}")
    words = ["run", "--kubeconfig", "k", "--state", "s", "--node", "name=a", "--nodes-file"]
    assert [node.name for node in declared_nodes(parse_arguments([*words, str(tmp_path / "nodes.yaml")]))] == ["a", "b"]
    twice = parse_arguments([*words, str(tmp_path / "nodes.yaml"), "--node", "name=b"])
    with pytest.raises(UsageError, match="declared twice: b"):
        declared_nodes(twice)
    with pytest.raises(UsageError, match="absent"):
        declared_nodes(parse_arguments([*words, str(tmp_path / "absent")]))


def test_a_checkout_under_tmp_is_bound_into_containers_and_others_need_not_be():
    folders = ("/tmp/clone", "/usr", "/srv/clone", "/var/tmp/venv", "/tmporary")
    assert [mount.target for mount in own_code(folders)] == ["/tmp/clone", "/var/tmp/venv"]
