"""URIs, mounts and models: each mistake is one message that names the field, what was found and the fix."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore
from workload_builders import NO_TENSORS, model_at

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.local_storage import _LocalWriting
from tidemill_workloads.locations import open_input, open_output, refuse_input_in_own_folders
from tidemill_workloads.model_check import check_model
from tidemill_workloads.object_storage import ObjectInput
from tidemill_workloads.remote_locations import object_folder
from tidemill_workloads.storage import InputIdentity
from tidemill_workloads.store_client import Bucket


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "mount"
    folder.mkdir()
    (folder / "in.jsonl").write_text("{}\n")
    (tmp_path / "outside.jsonl").write_text("{}\n")
    return folder


def refusal(call: object, *arguments: object) -> JobRefused:
    assert callable(call)
    with pytest.raises(JobRefused) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("form", ["{mount}/in.jsonl", "file://{mount}/in.jsonl", "{mount}/x/../in.jsonl"])
def test_an_input_under_a_mount_opens(mount: Path, form: str) -> None:
    (mount / "x").mkdir()
    source = open_input(form.format(mount=mount), [str(mount)])
    assert source.identity.size == 3
    with source.open() as file:
        assert file.read() == b"{}\n"


def test_a_file_uri_may_hold_escaped_characters(mount: Path) -> None:
    (mount / "a b.jsonl").write_text("{}\n")
    assert open_input(f"file://{mount}/a%20b.jsonl", [str(mount)]).identity.size == 3


@pytest.mark.parametrize(
    ("uri", "reason", "says"),
    [
        ("{mount}/none.jsonl", Reason.INPUT_NOT_FOUND, "put the file there or mend the mount"),
        ("{mount}/in.jsonl/deeper", Reason.INPUT_NOT_FOUND, "there is no file"),
        ("{mount}", Reason.INPUT_NOT_READABLE, "is a folder"),
        ("{mount}/../outside.jsonl", Reason.INVALID_SPEC, "lies under no mount"),
        ("/etc/hostname", Reason.INVALID_SPEC, "mounts: {mount}"),
        ("in.jsonl", Reason.INVALID_SPEC, "not an absolute path"),
        ("s3://bucket", Reason.INVALID_SPEC, "names no object; write it as s3://bucket/folder/file.jsonl"),
        ("s3://bucket/", Reason.INVALID_SPEC, "names no object"),
        ("gs://bucket/folder/", Reason.INVALID_SPEC, "names no object; write it as gs://bucket/folder/file.jsonl"),
        ("s3:///in.jsonl", Reason.INVALID_SPEC, "names no bucket"),
        ("s3://key:secret@bucket/in.jsonl", Reason.INVALID_SPEC, "names no bucket"),
        ("s3://bucket/a//in.jsonl", Reason.INVALID_SPEC, "an empty part"),
        ("s3://bucket/../in.jsonl", Reason.INVALID_SPEC, "`..`"),
        ("s3://bucket/a\nb", Reason.INVALID_SPEC, "a control character"),
        ("s3://bucket/" + "a" * 1000, Reason.INVALID_SPEC, "longer than 924 bytes"),
        ("S3://bucket/in.jsonl.zst", Reason.INVALID_SPEC, "compressed"),
        ("https://host/in.jsonl.gz?signature=1", Reason.INVALID_SPEC, "compressed"),
        ("https://user:secret@host/in.jsonl", Reason.INVALID_SPEC, "it holds credentials"),
        ("http://", Reason.INVALID_SPEC, "URL with a host"),
        ("http://127.0.0.1:1/in.jsonl", Reason.INVALID_SPEC, "the pod's own (loopback)"),
        ("http://169.254.169.254/latest/meta-data/", Reason.INVALID_SPEC, "link-local"),
        ("ftp://host/in.jsonl", Reason.INVALID_SPEC, "not an absolute path"),
        ("file://host/in.jsonl", Reason.INVALID_SPEC, "not an absolute path"),
        ("{mount}/in.jsonl.gz", Reason.INVALID_SPEC, "compressed"),
        ("{mount}/\0", Reason.INVALID_SPEC, "not an absolute path"),
        ("file://{mount}/%00x", Reason.INVALID_SPEC, "not an absolute path"),
        ("//[x/y", Reason.INVALID_SPEC, "lies under no mount"),
        ("file://[x/y", Reason.INVALID_SPEC, "not an absolute path"),
        ("https://[x/y", Reason.INVALID_SPEC, "it is not a URL"),
        ("", Reason.INVALID_SPEC, "not an absolute path"),
    ],
)
def test_an_input_that_cannot_be_used_is_refused(mount: Path, uri: str, reason: Reason, says: str) -> None:
    found = refusal(open_input, uri.format(mount=mount), [str(mount)])
    assert found.reason == reason
    assert found.message.startswith("spec.input.uri: ")
    assert says.format(mount=mount) in found.message
    assert "signature=1" not in found.message


@given(st.text(max_size=60), st.sampled_from(["", "a/", "a//", "/", "bucket/", "bucket/folder/"]))
def test_a_folder_on_a_store_is_refused_in_words_or_its_key_is_one_that_stores_take(text: str, start: str) -> None:
    try:
        folder = object_folder(f"s3://{start}{text}", "spec.output.uri")
    except JobRefused as error:
        refused = error
    else:
        obstore.put(MemoryStore(), f"{folder.prefix}/parts/1/a.jsonl", b"")
        return
    assert refused.reason == Reason.INVALID_SPEC
    assert refused.message.startswith("spec.output.uri: ")
    assert "\n" not in refused.message


def test_an_input_among_the_jobs_own_objects_is_refused() -> None:
    folder = object_folder("s3://bucket/out/", "spec.output.uri")
    for name in ("parts/1/a", "index/x", "attempts/1", "input-copy/x"):
        source = ObjectInput(Bucket("s3", "bucket"), f"out/{name}", InputIdentity(f"s3://bucket/out/{name}", 1, 0))
        found = refusal(refuse_input_in_own_folders, source, folder)
        assert found.reason == Reason.INVALID_SPEC
        assert "which the job keeps for itself" in found.message
    beside = ObjectInput(Bucket("s3", "bucket"), "out/in.jsonl", InputIdentity("s3://bucket/out/in.jsonl", 1, 0))
    refuse_input_in_own_folders(beside, folder)


def test_without_any_mount_nothing_local_can_be_named(mount: Path) -> None:
    assert "mounts: none" in refusal(open_input, str(mount / "in.jsonl"), []).message


def test_a_link_out_of_the_mount_is_refused_and_one_within_is_not(mount: Path) -> None:
    (mount / "out").symlink_to(mount.parent / "outside.jsonl")
    (mount / "in").symlink_to(mount / "in.jsonl")
    assert refusal(open_input, str(mount / "out"), [str(mount)]).reason == Reason.INPUT_NOT_READABLE
    assert open_input(str(mount / "in"), [str(mount)]).identity.size == 3


def test_a_mount_that_is_a_link_itself_is_followed(mount: Path) -> None:
    link = mount.parent / "link"
    link.symlink_to(mount)
    assert open_input(str(link / "in.jsonl"), [str(link)]).identity.size == 3


def test_compressed_content_under_a_plain_name_is_refused(mount: Path) -> None:
    (mount / "in.jsonl").write_bytes(gzip.compress(b"{}\n"))
    found = refusal(open_input, str(mount / "in.jsonl"), [str(mount)])
    assert found.reason == Reason.INPUT_NOT_READABLE
    assert "decompress it" in found.message


def test_an_output_folder_is_created(mount: Path) -> None:
    folder = open_output(f"{mount}/a/b/", [str(mount)])
    assert (mount / "a" / "b").is_dir()
    assert folder.uri("results.jsonl") == f"{mount}/a/b/results.jsonl"
    assert list((mount / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("uri", ["{mount}/in.jsonl/", "{mount}/in.jsonl/deeper/"])
def test_an_output_below_a_file_is_refused(mount: Path, uri: str) -> None:
    found = refusal(open_output, uri.format(mount=mount), [str(mount)])
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert "is a file, not a folder" in found.message


def test_an_output_that_takes_no_file_is_refused() -> None:
    found = refusal(open_output, "/proc/1/", ["/proc"])  # a folder in which even root creates nothing
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert found.message.startswith("spec.output.uri: nothing can be written to /proc/1/")


@pytest.mark.parametrize("call", ["link", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EPERM, errno.ENOTSUP])
def test_an_output_is_probed_as_it_will_be_written(
    mount: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    fail(monkeypatch, call, code)
    found = refusal(open_output, f"{mount}/out/", [str(mount)])
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert found.message.startswith(f"spec.output.uri: nothing can be written to {mount}/out/ ({os.strerror(code)})")
    assert list((mount / "out").iterdir()) == []


def fail(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    def failing(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize("how", ["create", "replace", "writing"])
def test_a_volume_that_fills_up_while_the_job_runs_is_awaited_and_nothing_is_left(
    mount: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = open_output(f"{mount}/out/", [str(mount)])
    fail(monkeypatch, "fsync", errno.ENOSPC)

    def write() -> None:
        if how == "writing":
            with folder.writing("a") as file:
                file.write(b"x")
        else:
            getattr(folder, how)("a", b"x")

    found = refusal(write)
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert "No space left on device" in found.message
    assert list((mount / "out").iterdir()) == []


def test_a_fault_of_a_read_while_a_file_is_written_is_not_blamed_on_the_output(mount: Path) -> None:
    folder = open_output(f"{mount}/out/", [str(mount)])
    with pytest.raises(PermissionError), folder.writing("a"):
        raise PermissionError(errno.EACCES, "the input cannot be read")
    assert list((mount / "out").iterdir()) == []


def test_a_folder_in_the_place_of_a_result_is_said_in_words(mount: Path) -> None:
    folder = open_output(f"{mount}/out/", [str(mount)])
    (mount / "out" / "a").mkdir()
    found = refusal(folder.replace, "a", b"x")
    assert found.reason == Reason.OUTPUT_NOT_WRITABLE
    assert "Is a directory" in found.message


def test_a_full_disk_that_shows_in_the_middle_of_a_file_is_awaited() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        writing = _LocalWriting(file, hashlib.sha256(), "/out")
        assert refusal(writing.write, b"x").reason == Reason.OUTPUT_NOT_WRITABLE


def test_a_model_folder_passes(mount: Path) -> None:
    check_model(ModelSpec(name="m", source=str(model_at(mount / "model"))), [str(mount)])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "no model's config"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "there is no folder"),
    ],
)
def test_a_model_folder_that_lacks_something_is_refused(mount: Path, spoil: object, says: str) -> None:
    folder = model_at(mount / "model")
    assert callable(spoil)
    spoil(folder)
    found = refusal(check_model, ModelSpec(name="m", source=str(folder)), [str(mount)])
    assert found.reason == Reason.MODEL_NOT_FOUND
    assert found.message.startswith("spec.model.source: ")
    assert says in found.message


@pytest.mark.parametrize(
    "content", [b"", NO_TENSORS[:-1], NO_TENSORS + b"x", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"]
)
def test_weights_that_are_no_whole_file_are_refused(mount: Path, content: bytes) -> None:
    folder = model_at(mount / "model")
    (folder / "model.safetensors").write_bytes(content)
    found = refusal(check_model, ModelSpec(name="m", source=str(folder)), [str(mount)])
    assert found.reason == Reason.MODEL_NOT_LOADABLE
    assert found.message.startswith(f"spec.model.source: {folder}/model.safetensors is no whole file of weights")


def test_weights_of_which_a_file_is_missing_are_refused(mount: Path) -> None:
    folder = model_at(mount / "model")
    names = {f"layer-{number}": f"model-{number}-of-3.safetensors" for number in (1, 2, 3)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / names["layer-1"]).write_bytes(NO_TENSORS)
    found = refusal(check_model, ModelSpec(name="m", source=str(folder)), [str(mount)])
    assert found.reason == Reason.MODEL_NOT_FOUND
    assert "lacks model-2-of-3.safetensors of its weights (2 in all)" in found.message


def test_a_model_outside_of_the_mounts_is_refused(mount: Path) -> None:
    assert refusal(check_model, ModelSpec(name="m", source="/models/x"), [str(mount)]).reason == Reason.INVALID_SPEC


@pytest.mark.parametrize("source", ["some-org/some-model", "no--such..id"])
def test_a_hub_id_that_cannot_be_had_says_so(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = refusal(check_model, ModelSpec(name="m", source=source), [])
    assert found.reason == Reason.MODEL_NOT_FOUND
    assert source in found.message
    assert "\n" not in found.message
