"""Names of Services in every pod's /etc/hosts."""

import pytest
from pod_builders import pod
from service_builders import endpoint, endpoint_slice, service

from devcluster.kubelet.hosts import hosts_file, rewrite, service_addresses

HEADLESS = {"clusterIP": "None"}


def test_a_services_names_lead_to_its_address_whether_anything_is_behind_it_or_not():
    assert service_addresses([service()], []) == {("team", "web"): ("10.96.0.10",)}


def test_a_headless_services_names_lead_to_what_is_behind_it():
    slices = [endpoint_slice(endpoint("10.0.0.2"), endpoint("10.0.0.3"), endpoint("10.0.0.4", ready=False))]
    assert service_addresses([service(**HEADLESS)], slices) == {("team", "web"): ("10.0.0.2", "10.0.0.3")}


@pytest.mark.parametrize("spec", [HEADLESS, {"type": "ExternalName"}])
def test_a_service_with_nothing_to_lead_to_has_no_names(spec):
    assert service_addresses([service(**spec)], []) == {}


def test_services_of_the_own_namespace_have_a_short_name():
    services = {("team", "svc"): ("10.0.0.2", "10.0.0.4"), ("other", "svc"): ("10.0.0.3",)}
    text = hosts_file(pod("web"), "10.0.0.9", services).decode()
    assert "10.0.0.9\tweb\n" in text
    own = "svc.team.svc.cluster.local svc.team.svc svc.team svc"
    assert f"10.0.0.2\t{own}\n10.0.0.4\t{own}\n" in text
    assert "10.0.0.3\tsvc.other.svc.cluster.local svc.other.svc svc.other\n" in text


def test_host_aliases_are_there():
    one = pod("web", hostAliases=[{"ip": "10.0.0.7", "hostnames": ["s3", "s3.local"]}])
    assert "10.0.0.7\ts3 s3.local\n" in hosts_file(one, "10.0.0.9", {}).decode()


def test_a_file_is_rewritten_in_place_and_never_shorter_than_a_page(tmp_path):
    file = tmp_path / "hosts"
    file.touch()
    inode = file.stat().st_ino
    long = hosts_file(pod("web"), "10.0.0.9", {("team", f"svc-{n}"): ("10.0.0.2",) for n in range(100)})
    short = hosts_file(pod("web"), "10.0.0.9", {})
    for content in (long, short):
        rewrite(file, content)
        assert file.read_bytes() == content
        assert len(content) % 4096 == 0
    assert file.stat().st_ino == inode
