"""A store in a bad minute, and one that will not do: the first costs time only, the second is said in words."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from integration.storage.conftest import BUCKET, folder_in, forget_clients
from store_proxies import FaultyProxy

from tidemill_api.conditions import AWAITED, Reason
from tidemill_workloads import store_client
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.locations import open_input, open_output
from tidemill_workloads.object_storage import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_stores import S3Server


def refusal(call: Callable[[], object]) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        call()
    assert "\n" not in caught.value.message
    assert "test-secret-key" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("fault", ["500", "503", "reset", "silence"])
def test_requests_outlast_passing_faults(faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(store_client, "REQUEST_SECONDS", 0.5 if fault == "silence" else 30)
    folder = folder_in("s3", BUCKET)
    for work in (
        lambda: folder.create("a", b"one\n"),
        lambda: folder.read("a") == b"one\n",
        lambda: folder.exists("a"),
        lambda: folder.names("") == ["a"],
        lambda: folder.pin("a").read_range(0, 3) == b"one",
        lambda: folder.replace("a", b"two\n") is None,
        lambda: list(folder.lines("a")) == [b"two\n"],
        lambda: folder.delete("a") is None,
    ):
        faulty.faults = [fault] if fault == "silence" else [fault, fault]
        assert work()
        assert not faulty.faults


def test_a_create_whose_answer_was_lost_is_known_as_ones_own(faulty: FaultyProxy) -> None:
    folder = folder_in("s3", BUCKET)
    faulty.faults = ["lost answer"]
    assert folder.create("a", b"ours")
    faulty.faults = ["lost answer"]
    assert not folder.create("a", b"ours")
    assert folder.read("a") == b"ours"


def test_a_body_that_breaks_off_is_asked_for_again(faulty: FaultyProxy) -> None:
    folder = folder_in("s3", BUCKET)
    folder.create("a", bytes(range(256)) * 4000)
    source = folder.pin("a")
    faulty.faults = ["cut"]
    assert source.read_range(256, 512) == bytes(range(256)) * 2
    faulty.faults = ["cut"]
    assert folder.read("a") == bytes(range(256)) * 4000


def test_a_multipart_upload_outlasts_the_store_being_gone(faulty: FaultyProxy) -> None:
    folder = folder_in("s3", BUCKET)
    with folder.writing("big") as out:
        for number in range(PART_BYTES // (1 << 20) + 20):
            if number == PART_BYTES >> 20:
                faulty.lasting = "reset"
                threading.Timer(2, lambda: setattr(faulty, "lasting", "")).start()
            out.write(b"%07d\n" % number * (1 << 17))
    assert folder.pin("big").identity.size == out.size
    assert any("reset" in seen for seen in faulty.seen)


@pytest.mark.all  # SeaweedFS takes half a minute to find its volumes again
def test_a_store_that_is_killed_and_comes_back_costs_time_only(
    s3_server: S3Server, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_in("s3", bucket, patience_seconds=60)
    folder.create("a", b"one")
    s3_server.kill()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(folder.read, "a")
        time.sleep(1.5)
        s3_server.start()
        assert reading.result() == b"one"
    assert folder.create("b", b"two")
    assert "connection refused); tried again in" in caplog.text


def test_a_store_that_stays_away_makes_the_job_wait(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    forget_clients()
    folder = folder_in("s3", bucket, patience_seconds=1)
    begun = time.monotonic()
    found = refusal(lambda: folder.create("a", b""))
    assert 1 <= time.monotonic() - begun < 20
    assert found.reason == Reason.STORAGE_UNREACHABLE
    assert found.reason in AWAITED
    assert "connection refused" in found.message
    assert found.message.startswith("spec.output.uri: s3://tests/")


def test_throttling_is_answered_with_longer_and_longer_waits(
    faulty: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_in("s3", BUCKET, patience_seconds=2)
    faulty.lasting = "503"
    found = refusal(lambda: folder.read("a"))
    assert found.reason == Reason.STORAGE_UNREACHABLE
    assert "SlowDown: Please reduce your request rate." in found.message
    assert len(faulty.seen) < 20
    assert caplog.text.count("SlowDown") == len(faulty.seen) - 1


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_awaited_by_name() -> None:
    found = refusal(lambda: open_input("s3://no-such-bucket/in.jsonl", []))
    assert (found.reason, found.reason in AWAITED) == (Reason.INPUT_NOT_FOUND, True)
    assert found.message.startswith(
        "spec.input.uri: there is no bucket no-such-bucket for s3://no-such-bucket/in.jsonl"
    )
    found = refusal(lambda: open_output("s3://no-such-bucket/out/", []))
    assert (found.reason, found.reason in AWAITED) == (Reason.OUTPUT_NOT_WRITABLE, True)
    assert found.message.startswith("spec.output.uri: there is no bucket no-such-bucket")


def test_an_object_that_is_not_there_is_awaited_by_name(bucket: str) -> None:
    found = refusal(lambda: open_input(f"s3://{bucket}/nothing.jsonl", []))
    assert found.reason == Reason.INPUT_NOT_FOUND
    assert "there is no object s3://tests/nothing.jsonl" in found.message


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_said_with_what_to_set(
    bucket: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    folder_in("s3", bucket).create("in.jsonl", b"{}\n")
    monkeypatch.setenv(variable, "wrong")
    forget_clients()
    found = refusal(lambda: open_output(f"s3://{bucket}/out/", []))
    assert (found.reason, found.reason in AWAITED) == (Reason.OUTPUT_NOT_WRITABLE, True)
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in spec.template.env from a Secret" in found.message
    found = refusal(lambda: open_input(f"s3://{bucket}/in.jsonl", []))
    assert (found.reason, found.reason in AWAITED) == (Reason.INPUT_NOT_READABLE, True)
    assert "may not be read with the pods' credentials" in found.message


def test_without_credentials_the_job_says_so_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/169.254.169.254")  # nobody is there
    forget_clients()
    found = refusal(lambda: open_input(f"s3://{bucket}/in.jsonl", []))
    assert found.reason == Reason.INPUT_NOT_READABLE
    assert "the pods have no credentials for s3://tests/in.jsonl" in found.message


def test_an_output_on_a_store_is_probed_and_left_empty(bucket: str) -> None:
    folder = open_output(f"s3://{bucket}/fresh/folder/", [])
    assert folder.names("") == []
    assert folder.uri("results.jsonl") == f"s3://{bucket}/fresh/folder/results.jsonl"


def test_a_store_without_conditional_writes_is_refused(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _Forgetful(s3_server.s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        forget_clients()
        found = refusal(lambda: open_output(f"s3://{bucket}/out/", []))
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert "overwrites an object that If-None-Match: * should keep" in found.message


class _Forgetful(FaultyProxy):
    """Stands for an S3-compatible store of before conditional writes: it does not know If-None-Match."""

    def ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> object:
        kept = [(name, value) for name, value in headers if name.lower() not in ("if-none-match", "authorization")]
        return super().ask(method, path.replace(f"/{BUCKET}", f"/open-{BUCKET}", 1), kept, body)


def test_a_compressed_object_is_refused_by_its_content(bucket: str) -> None:
    folder = folder_in("s3", bucket)
    folder.create("in.jsonl", b"\x1f\x8b\x08\x00 and so on")
    found = refusal(lambda: open_input(folder.uri("in.jsonl"), []))
    assert found.reason == Reason.INPUT_NOT_READABLE
    assert "is compressed" in found.message
