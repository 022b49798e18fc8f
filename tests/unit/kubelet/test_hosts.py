"""Names of Services in every pod's /etc/hosts."""

import pytest
from pod_builders import pod

from devcluster.kubelet.hosts import hosts_file, rewrite, service_addresses


def running(name, address, *, ready=True, created="2026-01-01T00:00:00Z", phase="Running", **more):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": phase, "podIP": address, "conditions": conditions}
    return pod(name, labels={"role": "head"}, created=created, status=status, **more)


def service(name="svc", selector=None):
    return {"metadata": {"name": name, "namespace": "team"}, "spec": {"selector": selector or {"role": "head"}}}


LATER = "2026-01-02T00:00:00Z"

CASES = {
    "a ready pod": ([running("a", "10.0.0.2")], "10.0.0.2"),
    "a ready pod before an older one that is not": (
        [running("a", "10.0.0.2", ready=False), running("b", "10.0.0.3", created=LATER)],
        "10.0.0.3",
    ),
    "any running one where none is ready": ([running("a", "10.0.0.2", ready=False)], "10.0.0.2"),
    "the oldest, whatever the order": (
        [running("b", "10.0.0.3", created=LATER), running("a", "10.0.0.2")],
        "10.0.0.2",
    ),
    "not one being deleted": ([running("a", "10.0.0.2", deletionTimestamp=LATER)], None),
    "not one that has ended": ([running("a", "10.0.0.2", phase="Failed")], None),
    "not one without an address": ([running("a", "")], None),
    "none": ([], None),
}


@pytest.mark.parametrize(("pods", "expected"), CASES.values(), ids=CASES.keys())
def test_a_service_leads_to(pods, expected):
    assert service_addresses([service()], pods).get(("team", "svc")) == expected


@pytest.mark.parametrize("selector", [{"role": "worker"}, {}])
def test_a_service_that_selects_nothing_has_no_address(selector):
    one = {"metadata": {"name": "svc", "namespace": "team"}, "spec": {"selector": selector}}
    assert service_addresses([one], [running("a", "10.0.0.2")]) == {}


def test_services_of_the_own_namespace_have_a_short_name():
    text = hosts_file(pod("web"), "10.0.0.9", {("team", "svc"): "10.0.0.2", ("other", "svc"): "10.0.0.3"}).decode()
    assert "10.0.0.9\tweb\n" in text
    assert "10.0.0.2\tsvc.team.svc.cluster.local svc.team.svc svc.team svc\n" in text
    assert "10.0.0.3\tsvc.other.svc.cluster.local svc.other.svc svc.other\n" in text


def test_host_aliases_are_there():
    one = pod("web", hostAliases=[{"ip": "10.0.0.7", "hostnames": ["s3", "s3.local"]}])
    assert "10.0.0.7\ts3 s3.local\n" in hosts_file(one, "10.0.0.9", {}).decode()


def test_a_file_is_rewritten_in_place_and_never_shorter_than_a_page(tmp_path):
    file = tmp_path / "hosts"
    file.touch()
    inode = file.stat().st_ino
    long = hosts_file(pod("web"), "10.0.0.9", {("team", f"svc-{n}"): "10.0.0.2" for n in range(100)})
    short = hosts_file(pod("web"), "10.0.0.9", {})
    for content in (long, short):
        rewrite(file, content)
        assert file.read_bytes() == content
        assert len(content) % 4096 == 0
    assert file.stat().st_ino == inode
