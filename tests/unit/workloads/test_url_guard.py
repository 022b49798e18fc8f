"""Where an input's URL may lead: a table of addresses, and every way of writing one."""

from __future__ import annotations

import ipaddress
import socket
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_workloads.url_guard import NameUnknown, UrlRefused, checked, forbidden

REFUSED = [
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "169.254.170.2",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
]
ALLOWED = ["8.8.8.8", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "2606:4700::1111"]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_keep_secrets_are_refused(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_public_and_private_servers_are_allowed(address: str) -> None:
    assert not forbidden(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", REFUSED)
def test_a_setting_opens_loopback_and_nothing_else(address: str) -> None:
    here = ipaddress.ip_address(address)
    loopback = address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")
    assert bool(forbidden(here, allow_loopback=True)) == (not loopback)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "[::1]", "localhost", "[::ffff:7f00:1]"]
)
def test_however_an_address_is_written_it_is_judged_by_what_it_is(host: str) -> None:
    with pytest.raises(UrlRefused, match="loopback"):
        checked(f"http://{host}:8265/in.jsonl")


def test_the_checked_addresses_are_those_to_connect_to() -> None:
    target = checked("https://10.1.2.3:8443/a/b.jsonl?signature=x#ignored")
    assert (target.addresses, target.port, target.path) == (("10.1.2.3",), 8443, "/a/b.jsonl?signature=x")
    assert target.host_header == "10.1.2.3:8443"
    assert checked("http://10.1.2.3/a").host_header == "10.1.2.3"
    assert checked("http://[fd12::1]:81/a").host_header == "[fd12::1]:81"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:secret@10.0.0.1/a", "holds credentials"),
        ("http://user@10.0.0.1/a", "holds credentials"),
        ("http://@10.0.0.1/a", "holds credentials"),
        ("http:///a", "with a host"),
        ("gopher://10.0.0.1/a", "no http:// or https://"),
        ("http://10.0.0.1:99999/a", "not a URL"),
        ("http://" + "ü" * 80 + "/a", "not a URL"),
        ("http://10.0.0.1/a b", "a blank or a control character"),
        ("http://10.0.0.1/a\r\nHost: x", "a blank or a control character"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_secret(url: str, says: str) -> None:
    with pytest.raises(UrlRefused, match=says) as caught:
        checked(url)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://10.0.0.1", "http://10.0.0.1/", "http://["]))
def test_whatever_stands_for_a_url_is_refused_or_has_addresses(text: str, start: str) -> None:
    with patch.object(socket, "getaddrinfo", lambda host, port, **_: [(0, 0, 0, "", ("10.0.0.1", port))]):
        try:
            target = checked(start + text)
        except (UrlRefused, NameUnknown):
            return
    assert target.addresses == ("10.0.0.1",)
    assert target.host_header.isascii()


@given(st.ip_addresses(v=4))
def test_an_address_carried_in_ipv6_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    plain = bool(forbidden(address))
    assert bool(forbidden(ipaddress.IPv6Address(f"::ffff:{address}"))) == plain
    assert bool(forbidden(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))) == plain
