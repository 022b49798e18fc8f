"""What tells one state of an input from another, in the chunk index and in job.json: size, time, and a store's ETag."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from validation_builders import any_model
from workload_builders import claim_at, folder_at, job, request, write_lines

from tidemill_api.conditions import AWAITED, Reason
from tidemill_api.v1alpha1.uris import public
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import JOB_FILE, own_folder
from tidemill_workloads.index import INDEX_FILE, Chunk, Index, read_index, write_index
from tidemill_workloads.local_storage import LocalInput
from tidemill_workloads.storage import InputIdentity
from tidemill_workloads.validation import Plan, validate

CHUNKS = (Chunk(0, 0, 10, 1, 3, 3),)


def test_the_index_keeps_the_etag_of_its_input(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    write_index(folder, Index(10, 0, 3, CHUNKS, etag='"abc"'))
    index = read_index(folder)
    assert index is not None
    assert index.state == InputIdentity("s3://in/a.jsonl", 10, 0, '"abc"').state
    assert index.state != InputIdentity("s3://in/a.jsonl", 10, 0, '"abd"').state


def test_an_index_from_before_etags_is_still_read(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    folder.create(INDEX_FILE, b'{"version":1,"size":10,"mtime_ns":20,"rows":3,"chunks":1}\n[0,0,10,1,3,3]\n')
    index = read_index(folder)
    assert index is not None
    assert index.state == InputIdentity("/in/a.jsonl", 10, 20).state


def test_an_object_with_another_etag_is_a_changed_input(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    config = job(tmp_path)
    own_folder(folder, config, InputIdentity(config.input_uri, 10, 0, '"one"'))
    write_index(folder, Index(10, 0, 3, CHUNKS, etag='"one"'))
    own_folder(folder, config, InputIdentity(config.input_uri, 10, 0, '"one"'))
    with pytest.raises(JobRefused) as caught:
        own_folder(folder, config, InputIdentity(config.input_uri, 10, 0, '"two"'))
    assert caught.value.reason == Reason.INPUT_CHANGED


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("https://me:pass@files.example/in.jsonl", "https://files.example/in.jsonl"),
        ("https://me:p@ss@files.example/in.jsonl?sig=hush&x=a@b", "https://files.example/in.jsonl?..."),
        ("HTTP://files.example/a@b.jsonl", "HTTP://files.example/a@b.jsonl"),
        ("s3://in/what?@where.jsonl", "s3://in/what?@where.jsonl"),
        ("/in/what?@where.jsonl", "/in/what?@where.jsonl"),
    ],
)
def test_what_may_be_said_of_a_uri_holds_neither_password_nor_signature(uri: str, said: str) -> None:
    assert public(uri) == said


def test_a_file_that_goes_while_it_is_read_is_awaited_by_name(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [request("a")])
    (tmp_path / "in.jsonl").unlink()
    for read in (source.open, lambda: source.read_range(0, 1)):
        with pytest.raises(JobRefused) as caught:
            read()
        assert (caught.value.reason, caught.value.reason in AWAITED) == (Reason.INPUT_NOT_FOUND, True)
        assert caught.value.message == f"spec.input.uri: {tmp_path}/in.jsonl is not there any more; put the file back"


def test_a_file_whose_volume_fails_is_awaited_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lines(tmp_path / "in.jsonl", [request("a")])

    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "open", stale)
    with pytest.raises(JobRefused, match="cannot be read any more \\(Stale file handle\\)") as caught:
        source.read_range(0, 1)
    assert (caught.value.reason, caught.value.reason in AWAITED) == (Reason.INPUT_NOT_READABLE, True)


def test_the_job_file_of_a_local_input_reads_as_before_etags(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    config = job(tmp_path)
    own_folder(folder, config, InputIdentity(config.input_uri, 10, 20))
    assert json.loads((tmp_path / JOB_FILE).read_text())["input"] == {
        "uri": config.input_uri,
        "size": 10,
        "mtime_ns": 20,
    }


def test_a_volume_that_fails_while_it_is_validated_is_awaited_by_name(tmp_path: Path) -> None:
    """`/proc/self/mem` opens, and its first read fails with EIO, as a volume's does whose disk is gone."""
    source = LocalInput.at(Path("/proc/self/mem"), "/data/in.jsonl")
    plan = Plan(any_model("m"), workers_max=1)
    with plan.rules, pytest.raises(JobRefused) as caught:
        validate(source, claim_at(tmp_path), plan, lambda _: None)
    assert caught.value.reason == Reason.INPUT_NOT_READABLE
    assert caught.value.reason in AWAITED
    assert "spec.input.uri: /data/in.jsonl cannot be read any more (Input/output error)" in caught.value.message
    with source.open() as stream, pytest.raises(JobRefused):
        stream.read()
