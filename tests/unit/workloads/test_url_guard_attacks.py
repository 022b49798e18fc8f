"""Ways round the guard of URLs: other notations of a metadata service, names that change their mind, mixed answers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from web_servers import RangeHandler, web_server

from tidemill_workloads.http_client import HttpClient, HttpFault
from tidemill_workloads.url_guard import NameUnknown, UrlRefused, checked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESOLVE = socket.getaddrinfo


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.43518",
        "169.16689662",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "0251.254.169.0376",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[::169.254.169.254]",
        "[fe80::a9fe:a9fe]",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
    ],
)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_a_metadata_service_is_refused_in_every_notation(host: str, allow_loopback: bool) -> None:
    with pytest.raises((UrlRefused, NameUnknown)):  # a zone in an address is no name either
        checked(f"http://{host}/latest/meta-data/", allow_loopback)


@pytest.mark.parametrize(
    "url", ["http://1\u2460.0.0.1/", "http://\uff11\uff16\uff19.254.169.254/", "http://169\u3002254\u3002169\u3002254/"]
)
def test_digits_and_dots_of_other_scripts_are_no_way_round(url: str) -> None:
    """IDNA makes plain ones of them, which are then judged."""
    try:
        addresses = checked(url).addresses
    except UrlRefused:
        return
    assert addresses == ("11.0.0.1",)


def answers(*addresses: str) -> Callable[..., list[Any]]:
    """A name server that gives one answer after another, the last one for ever."""
    left = list(addresses)

    def resolve(host: str, port: int, *words: Any, **options: Any) -> list[Any]:
        if host != "rebind.example":
            return RESOLVE(host, port, *words, **options)
        answer = left.pop(0) if len(left) > 1 else left[0]
        return [entry for address in answer.split() for entry in RESOLVE(address, port, **options)]

    return resolve


def test_a_name_that_changes_its_mind_after_the_check_is_connected_to_as_it_was_checked(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with web_server(tmp_path, RangeHandler) as server:
        url = f"http://rebind.example:{server.server_address[1]}/rows.jsonl"
        with (
            patch.object(socket, "getaddrinfo", answers("127.0.0.1", "169.254.169.254")),
            HttpClient(allow_loopback=True, patience_seconds=0).get(url, {}) as response,
        ):
            assert response.read() == b"{}\n"
        assert server.seen == ["GET /rows.jsonl"]


def test_a_name_that_changes_its_mind_between_two_requests_is_checked_again() -> None:
    with patch.object(socket, "getaddrinfo", answers("8.8.8.8", "169.254.169.254")):
        assert checked("http://rebind.example/").addresses == ("8.8.8.8",)
        with pytest.raises(UrlRefused, match="link-local"):
            checked("http://rebind.example/")


@pytest.mark.parametrize("addresses", ["8.8.8.8 169.254.169.254", "169.254.169.254 8.8.8.8", "8.8.8.8 ::1"])
def test_one_forbidden_address_among_others_refuses_the_name(addresses: str) -> None:
    with patch.object(socket, "getaddrinfo", answers(addresses)), pytest.raises(UrlRefused):
        checked("http://rebind.example/")


@pytest.mark.parametrize("last", ["http://169.254.169.254/", "http://[fe80::1]/", "file:///etc/passwd", "//2852039166"])
def test_a_chain_of_redirects_is_judged_at_each_step(tmp_path: Path, last: str) -> None:
    with web_server(tmp_path, RangeHandler) as server:
        server.answers.update({"/a": "/b", "/b": f"{server.url}c", "/c": last})
        client = HttpClient(allow_loopback=True, patience_seconds=0)
        with pytest.raises((UrlRefused, HttpFault)), client.get(f"{server.url}a", {}):
            pass
        assert server.seen == ["GET /a", "GET /b", "GET /c"]
