"""Inputs on servers: with ranges, without, changed, failing, and where a URL would lead that no job may read."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from web_servers import PlainHandler, RangeHandler, WebServer, web_server
from workload_builders import folder_at, job, write_lines
from workload_builders import request as chat_request

from tidemill_api.conditions import AWAITED, Reason
from tidemill_workloads import __main__ as entrypoint
from tidemill_workloads import remote_locations, url_guard
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.finishing import end_job
from tidemill_workloads.http_client import HttpClient
from tidemill_workloads.http_input import open_http
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.locations import open_input, validated_input
from tidemill_workloads.storage import COPIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.storage import Folder

LINES = b"".join(b"%06d\n" % number for number in range(10_000))
CLIENT = HttpClient(allow_loopback=True, patience_seconds=10)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "in.jsonl").write_bytes(LINES)
    return folder


@pytest.fixture
def ranged(site: Path) -> Iterator[WebServer]:
    with web_server(site, RangeHandler) as server:
        yield server


@pytest.fixture
def plain(site: Path) -> Iterator[WebServer]:
    with web_server(site, PlainHandler) as server:
        yield server


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return folder_at(tmp_path / "out")


def refusal(call: Callable[[], object]) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        call()
    assert caught.value.message.startswith("spec.input.uri: ")
    return caught.value


@pytest.mark.parametrize("query", ["", "?weak"])
def test_a_server_with_ranges_is_read_by_ranges(ranged: WebServer, output: Folder, query: str) -> None:
    source = open_input(f"{ranged.url}in.jsonl{query}", [], allow_loopback=True)
    assert source.settled(output) is source
    assert source.identity.size == len(LINES)
    assert source.read_range(7, 14) == b"000001\n000002\n"
    with source.open() as stream:
        assert stream.read() == LINES
    assert output.names("") == []
    there = pickle.loads(pickle.dumps(source))
    assert there.read_range(69_993, 7) == b"009999\n"


@pytest.mark.parametrize("how", ["open", "range"])
def test_a_file_that_changes_on_the_server_is_refused(ranged: WebServer, site: Path, how: str) -> None:
    source = open_input(f"{ranged.url}in.jsonl", [], allow_loopback=True)
    (site / "in.jsonl").write_bytes(LINES.replace(b"000002", b"000003"))
    found = refusal(lambda: source.open() if how == "open" else source.read_range(0, 7))
    assert found.reason == Reason.INPUT_CHANGED


def test_a_server_without_ranges_is_copied_beside_the_output_once(plain: WebServer, output: Folder) -> None:
    url = f"{plain.url}in.jsonl"
    source = open_input(url, [], allow_loopback=True).settled(output)
    assert source.identity.uri == url
    assert source.read_range(7, 14) == b"000001\n000002\n"
    again = open_input(url, [], allow_loopback=True).settled(output)
    assert again.identity == source.identity
    with again.open() as stream:
        assert stream.read() == LINES
    whole = [seen for seen in plain.seen if "bytes" not in seen]
    assert len(whole) == 1
    assert pickle.loads(pickle.dumps(again)).read_range(0, 7) == b"000000\n"


def test_of_many_copiers_at_once_all_read_the_same_copy(plain: WebServer, output: Folder) -> None:
    url = f"{plain.url}in.jsonl"
    with ThreadPoolExecutor(8) as pool:
        sources = list(pool.map(lambda _: open_input(url, [], allow_loopback=True).settled(output), range(8)))
    assert len({source.identity for source in sources}) == 1
    assert all(source.read_range(0, 7) == b"000000\n" for source in sources)
    names = output.names(COPIES)
    assert len(names) == 2
    note = json.loads(output.read(f"{COPIES}/{next(name for name in names if name.endswith('.json'))}") or b"")
    assert note["size"] == len(LINES)
    assert note["name"] in names


def test_a_new_state_of_the_file_is_copied_anew(plain: WebServer, site: Path, output: Folder) -> None:
    url = f"{plain.url}in.jsonl"
    first = open_input(url, [], allow_loopback=True).settled(output)
    (site / "in.jsonl").write_bytes(LINES + b"more\n")
    second = open_input(url, [], allow_loopback=True).settled(output)
    assert second.identity.state != first.identity.state
    assert second.read_range(len(LINES), 5) == b"more\n"
    assert first.read_range(0, 7) == b"000000\n", "what was begun goes on with what it began with"


def test_an_empty_file_is_an_input_without_a_line(ranged: WebServer, plain: WebServer, site: Path) -> None:
    (site / "empty.jsonl").write_bytes(b"")
    for server in (ranged, plain):
        source = open_input(f"{server.url}empty.jsonl", [], allow_loopback=True)
        assert source.identity.size == 0
    with open_input(f"{ranged.url}empty.jsonl", [], allow_loopback=True).open() as stream:
        assert stream.read() == b""


def test_passing_faults_are_tried_again(ranged: WebServer, plain: WebServer, output: Folder) -> None:
    ranged.failures = [True, True]
    source = open_http(f"{ranged.url}in.jsonl", CLIENT)
    ranged.failures = [True, True]
    assert source.read_range(0, 7) == b"000000\n"
    plain.failures = [True]
    copied = open_http(f"{plain.url}in.jsonl", CLIENT)
    plain.failures = [True, True]
    assert copied.settled(output).read_range(0, 7) == b"000000\n"


def test_a_server_that_is_away_is_waited_for(site: Path) -> None:
    with web_server(site, RangeHandler) as server:
        url = f"{server.url}in.jsonl"
    found = refusal(lambda: open_http(f"{url}?signature=hush", HttpClient(allow_loopback=True, patience_seconds=1)))
    assert (found.reason, found.reason in AWAITED) == (Reason.STORAGE_UNREACHABLE, True)
    assert "connection refused" in found.message
    assert "hush" not in found.message


@pytest.mark.parametrize(
    ("status", "reason", "says"),
    [
        (404, Reason.INPUT_NOT_FOUND, "there is nothing at"),
        (410, Reason.INPUT_NOT_FOUND, "put the file there"),
        (401, Reason.INPUT_NOT_READABLE, "use a presigned URL"),
        (403, Reason.INPUT_NOT_READABLE, "HTTP status 403"),
        (418, Reason.INPUT_NOT_READABLE, "HTTP status 418"),
    ],
)
def test_an_answer_that_is_no_file_is_awaited_with_the_fix(
    ranged: WebServer, status: int, reason: Reason, says: str
) -> None:
    ranged.answers["/in.jsonl"] = status
    found = refusal(lambda: open_input(f"{ranged.url}in.jsonl", [], allow_loopback=True))
    assert (found.reason, found.reason in AWAITED) == (reason, True)
    assert says in found.message


@pytest.mark.parametrize("status", [412, 416])
def test_an_answer_to_a_question_that_was_not_asked_is_no_file(plain: WebServer, output: Folder, status: int) -> None:
    source = open_http(f"{plain.url}in.jsonl", CLIENT)
    plain.answers["/in.jsonl"] = status
    found = refusal(lambda: source.settled(output))
    assert (found.reason, f"HTTP status {status}" in found.message) == (Reason.INPUT_NOT_READABLE, True)
    assert output.names(COPIES) == []


@pytest.mark.parametrize("kind", ["ranged", "plain"])
def test_a_signed_url_is_neither_logged_nor_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest, kind: str
) -> None:
    server: WebServer = request.getfixturevalue(kind)
    write_lines(tmp_path / "site" / "in.jsonl", [chat_request("a")])
    caplog.set_level(logging.DEBUG, "tidemill_workloads")
    url = f"{server.url}in.jsonl?X-Signature=hush"
    assert isinstance(entrypoint.prepare(job(tmp_path, input_uri=url, allow_loopback_input=True)), Claim)
    assert "validating http://127.0.0.1:" in caplog.text
    written = [path.read_bytes() for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert "hush" not in caplog.text
    assert not any(b"hush" in content for content in written)


@pytest.mark.parametrize("says_size", [True, False])
def test_a_job_ends_with_the_names_of_all_rows_from_its_copy_when_the_server_is_gone(
    tmp_path: Path, site: Path, says_size: bool
) -> None:
    class Silent(PlainHandler):
        def send_header(self, keyword: str, value: str) -> None:
            if says_size or keyword != "Content-Length":
                super().send_header(keyword, value)

    write_lines(site / "in.jsonl", [chat_request("a"), chat_request("b")])
    with web_server(site, Silent) as server:
        config = job(tmp_path, input_uri=f"{server.url}in.jsonl", allow_loopback_input=True)
        assert isinstance(entrypoint.prepare(config), Claim)
    begun = time.monotonic()
    outcome = end_job(config.model_copy(update={"attempt": 2, "ending": "Cancelled"}))
    assert (outcome.reason, outcome.rows.failed) == (Reason.CANCELLED, 2)
    errors = (tmp_path / "output" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in errors] == ["a", "b"]
    assert time.monotonic() - begun < 5, "a server that is gone would be waited for"


@pytest.mark.parametrize("lost", ["server", "right"])
def test_a_later_attempt_reads_the_copy_whatever_became_of_the_server(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr(remote_locations, "HttpClient", partial(HttpClient, patience_seconds=0.5))
    write_lines(site / "in.jsonl", [chat_request("a"), chat_request("b")])
    with web_server(site, PlainHandler) as server:
        config = job(tmp_path, input_uri=f"{server.url}in.jsonl?sig=hush", allow_loopback_input=True)
        assert isinstance(entrypoint.prepare(config), Claim)
        server.answers["/in.jsonl"] = 403
        if lost == "right":
            check_later_attempt(config)
    if lost == "server":
        check_later_attempt(config)


def check_later_attempt(config: JobConfig) -> None:
    claim = entrypoint.prepare(config.model_copy(update={"attempt": 2}))
    assert isinstance(claim, Claim)
    index = read_index(claim.folder)
    assert index is not None
    source = validated_input(config, claim.folder, index)
    assert source.identity.uri == config.input_uri
    with source.open() as stream:
        assert [json.loads(line)["custom_id"] for line in stream] == ["a", "b"]


def test_a_job_ends_when_a_server_with_ranges_is_gone_for_longer_than_is_waited(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_locations, "HttpClient", partial(HttpClient, patience_seconds=0.5))
    write_lines(site / "in.jsonl", [chat_request("a"), chat_request("b")])
    with web_server(site, RangeHandler) as server:
        config = job(tmp_path, input_uri=f"{server.url}in.jsonl?sig=hush", allow_loopback_input=True)
        assert isinstance(entrypoint.prepare(config), Claim)
    outcome = end_job(config.model_copy(update={"attempt": 2, "ending": "Expired"}))
    assert (outcome.reason, outcome.rows.failed) == (Reason.EXPIRED, 2)
    assert "The lines of 2 rows lack their custom_id, since the input cannot be read" in outcome.message
    assert "in.jsonl?... cannot be reached" in outcome.message
    assert len((tmp_path / "output" / "errors.jsonl").read_text().splitlines()) == 2


def test_a_name_outside_of_ascii_is_asked_for_escaped(plain: WebServer, site: Path, output: Folder) -> None:
    (site / "März 日本.jsonl").write_bytes(LINES)
    source = open_input(f"{plain.url}März%20日本.jsonl", [], allow_loopback=True)
    assert source.settled(output).read_range(0, 7) == b"000000\n"


def test_a_length_that_is_no_number_crashes_nothing(site: Path, output: Folder) -> None:
    class Odd(PlainHandler):
        def give(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "many")
            self.end_headers()
            self.wfile.write(LINES)
            self.close_connection = True

    with web_server(site, Odd) as server:
        source = open_http(f"{server.url}in.jsonl", CLIENT)
        assert source.settled(output).identity.size == len(LINES)


def test_a_redirect_is_followed(ranged: WebServer) -> None:
    ranged.answers["/old"] = "/in.jsonl?moved"
    assert open_input(f"{ranged.url}old", [], allow_loopback=True).read_range(0, 7) == b"000000\n"


def test_a_redirect_to_what_is_no_url_is_said(ranged: WebServer) -> None:
    ranged.answers["/old"] = "http://[bad"
    assert "no URL" in refusal(lambda: open_input(f"{ranged.url}old", [], allow_loopback=True)).message


def test_redirects_without_an_end_are_refused(ranged: WebServer) -> None:
    ranged.answers["/old"] = "/old"
    assert "more than 5 redirects" in refusal(lambda: open_input(f"{ranged.url}old", [], allow_loopback=True)).message


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://0.0.0.0/"])
def test_a_redirect_to_where_secrets_are_kept_is_refused(ranged: WebServer, target: str) -> None:
    ranged.answers["/old"] = target
    found = refusal(lambda: open_input(f"{ranged.url}old", [], allow_loopback=True))
    assert found.reason == Reason.INVALID_SPEC
    assert "never read by a job" in found.message


def test_the_pod_itself_is_refused_and_not_even_asked(ranged: WebServer) -> None:
    found = refusal(lambda: open_input(ranged.url, []))
    assert (found.reason, "loopback" in found.message) == (Reason.INVALID_SPEC, True)
    assert not ranged.seen


def test_a_redirect_to_the_pod_itself_is_refused(ranged: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server is taken for one outside; the address of the second is judged as what it is."""
    ranged.answers["/old"] = "http://localhost:1/"
    judge, outside = url_guard.forbidden, iter([""])
    monkeypatch.setattr(url_guard, "forbidden", lambda address, _: next(outside, judge(address)))
    found = refusal(lambda: open_input(f"{ranged.url}old", [], allow_loopback=True))
    assert (found.reason, "loopback" in found.message) == (Reason.INVALID_SPEC, True)
    assert ranged.seen


def test_a_name_that_is_resolved_anew_leads_nowhere_else(ranged: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer of the name server is another address; it is never asked for."""
    answers = iter(["127.0.0.1", "169.254.169.254", "169.254.169.254"])
    resolve = socket.getaddrinfo

    def rebinding(host: str, *args: object, **kwargs: object) -> object:
        return resolve(next(answers) if host == "input.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    port = ranged.server_address[1]
    url = f"http://input.example:{port}/in.jsonl"
    source = open_http(url, CLIENT)
    assert source.head == LINES[:8]
    found = refusal(lambda: source.read_range(0, 7))
    assert "169.254.169.254" in found.message


def test_a_connection_that_ends_early_is_not_taken_for_the_end_of_the_file(site: Path, output: Folder) -> None:
    short = threading.Event()

    class Torn(PlainHandler):
        def give(self) -> None:
            if short.is_set():
                super().give()
                return
            if not self.headers.get("Range"):
                short.set()
            self.send_response(200)
            self.send_header("Content-Length", str(len(LINES)))
            self.send_header("Last-Modified", self.date_time_string((site / "in.jsonl").stat().st_mtime))
            self.end_headers()
            self.wfile.write(LINES[:1000])

    with web_server(site, Torn) as server:
        source = open_http(f"{server.url}in.jsonl", CLIENT).settled(output)
    assert source.read_range(69_993, 7) == b"009999\n"
    assert source.identity.size == len(LINES)
