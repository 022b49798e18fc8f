"""The tests' own engine beside the dev cluster, whose pods live in the same kernel."""

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.all, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def own_engine(docker):
    if not docker.own_base:
        pytest.skip("the machine has an engine of its own, which these tests leave alone")


def test_it_makes_no_bridge_and_no_network(docker):
    assert set(docker("network", "ls", "--format={{.Name}}").split()) == {"host", "none"}
    assert not Path("/sys/class/net/docker0").exists()


def test_it_writes_no_rule_of_a_firewall():
    """Its usual policy drops what is forwarded, which is all that pods say to each other."""
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "DOCKER" not in rules


def test_a_container_has_no_network_but_what_it_is_given(docker):
    words = ("run", "--rm", "--network=none", "tidemill-test-base", "cat", "/proc/net/route")
    assert len(docker(*words).splitlines()) == 1, "the heading"
