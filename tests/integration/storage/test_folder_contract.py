"""What an output folder promises, the same on a file system, on S3 and on Google's dialect of it."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.object_storage import PART_BYTES, ObjectFolder

if TYPE_CHECKING:
    from tidemill_workloads.storage import Folder


def test_an_object_is_created_once_and_kept(folder: Folder) -> None:
    assert folder.read("a.json") is None
    assert folder.create("a.json", b"first")
    assert not folder.create("a.json", b"second")
    assert folder.read("a.json") == b"first"


def test_of_sixteen_creators_exactly_one_wins(folder: Folder) -> None:
    for name in ("a", "b", "c"):
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(partial(folder.create, name), (b"%d" % number for number in range(16))))
        assert sum(won) == 1
        assert folder.read(name) == b"%d" % won.index(True)


def test_attempts_at_once_take_different_numbers_and_all_but_the_last_stop(folder: Folder) -> None:
    with ThreadPoolExecutor(6) as pool:
        claims = sorted(pool.map(lambda _: Claim.next(folder), range(6)), key=lambda claim: claim.number)
    assert [claim.number for claim in claims] == [1, 2, 3, 4, 5, 6]
    claims[-1].check()
    for claim in claims[:-1]:
        with pytest.raises(Superseded):
            claim.check()


def test_replace_puts_one_object_in_the_place_of_another(folder: Folder) -> None:
    folder.replace("a", b"one")
    folder.replace("a", b"two")
    assert folder.read("a") == b"two"


def test_an_empty_object_is_an_object(folder: Folder) -> None:
    assert folder.create("a", b"")
    assert folder.exists("a")
    assert folder.read("a") == b""
    assert list(folder.lines("a")) == []
    assert folder.pin("a").read_range(0, 0) == b""


def test_names_are_what_lies_directly_below_a_folder(folder: Folder) -> None:
    for name in ["top", "parts/1/a", "parts/1/b", "parts/10/a", "parts/2/deep/er", "partsale"]:
        folder.create(name, b"x")
    assert folder.names("") == ["parts", "partsale", "top"]
    assert folder.names("parts") == ["1", "10", "2"]
    assert folder.names("parts/1") == ["a", "b"]
    assert folder.names("none") == []


def test_more_names_than_one_answer_holds_are_all_listed(folder: Folder) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: folder.create(f"many/{number:04d}", b""), range(1100)))
    assert folder.names("many") == [f"{number:04d}" for number in range(1100)]
    folder.delete("many")
    assert folder.names("many") == []


def test_a_folder_exists_while_something_is_in_it(folder: Folder) -> None:
    folder.create("index/chunks.jsonl", b"x")
    assert folder.exists("index")
    assert folder.exists("index/chunks.jsonl")
    assert not folder.exists("inde")
    folder.delete("index")
    assert not folder.exists("index")


def test_delete_takes_an_object_or_all_below_it_and_nothing_else(folder: Folder) -> None:
    for name in ["parts/1/a", "parts/2/b", "partsale", "other"]:
        folder.create(name, b"x")
    folder.delete("parts")
    folder.delete("other")
    folder.delete("never there")
    there = [name for name in folder.names("") if folder.exists(name)]  # SeaweedFS names an empty folder for a while
    assert there == ["partsale"]


def test_a_long_object_is_streamed_with_its_digest_and_read_by_lines(folder: Folder) -> None:
    lines = [b"%07d " % number + b"x" * (number % 300) + b"\n" for number in range(60_000)] + [b"no newline"]
    with folder.writing("results.jsonl") as out:
        for line in lines:
            out.write(line)
        assert folder.read("results.jsonl") is None, "nothing is seen before the end"
    data = b"".join(lines)
    assert (out.size, out.sha256()) == (len(data), hashlib.sha256(data).hexdigest())
    assert list(folder.lines("results.jsonl")) == lines
    assert list(folder.lines("none")) == []


def test_what_is_streamed_replaces_what_was_there(folder: Folder) -> None:
    folder.create("a", b"old")
    with folder.writing("a") as out:
        out.write(b"new")
    assert folder.read("a") == b"new"


@pytest.mark.parametrize("length", [10, PART_BYTES + (5 << 20)], ids=["short", "multipart"])
def test_a_stream_that_fails_leaves_what_was_there(folder: Folder, length: int) -> None:
    folder.create("a", b"old")

    def fails() -> None:
        with folder.writing("a") as out:
            for _ in range(0, length, 1 << 20):
                out.write(b"x" * min(length, 1 << 20))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fails()
    assert folder.read("a") == b"old"
    assert folder.names("") == ["a"]


def test_an_object_of_several_parts_arrives_whole(folder: Folder) -> None:
    piece = bytes(range(256)) * 4096
    with folder.writing("big") as out:
        for _ in range(PART_BYTES // len(piece) + 3):
            out.write(piece)
    source = folder.pin("big")
    assert source.identity.size == out.size
    digest = hashlib.sha256()
    with source.open() as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    assert digest.hexdigest() == out.sha256()


def test_an_input_is_read_by_ranges_and_as_a_stream(folder: Folder) -> None:
    folder.create("in.jsonl", b"".join(b"%05d\n" % number for number in range(100)))
    source = folder.pin("in.jsonl")
    assert source.read_range(6, 12) == b"00001\n00002\n"
    assert source.read_range(594, 6) == b"00099\n"
    with source.open() as stream:
        assert stream.readline() == b"00000\n"
        assert len(stream.read()) == 594


@pytest.mark.parametrize("how", ["open", "range"])
@pytest.mark.parametrize("new", [b"other 6\n", b"longer than before\n"])
def test_a_changed_input_is_refused(folder: Folder, how: str, new: bytes) -> None:
    folder.create("in.jsonl", b"before.\n")
    source = folder.pin("in.jsonl")
    folder.replace("in.jsonl", new)
    with pytest.raises(JobRefused) as caught:
        source.open().read() if how == "open" else source.read_range(0, 4)
    assert caught.value.reason == Reason.INPUT_CHANGED


def test_an_input_replaced_by_the_same_bytes_is_the_same_on_a_store(folder: Folder) -> None:
    folder.create("in.jsonl", b"same\n")
    source = folder.pin("in.jsonl")
    folder.replace("in.jsonl", b"same\n")
    if isinstance(folder, ObjectFolder):
        assert source.read_range(0, 5) == b"same\n"


def test_places_travel_to_other_processes_without_a_secret(folder: Folder) -> None:
    folder.create("in.jsonl", b"same\n")
    packed = pickle.dumps((folder, folder.pin("in.jsonl")))
    assert b"test-secret-key" not in packed
    there, source = pickle.loads(packed)
    assert there.read("in.jsonl") == b"same\n"
    assert source.read_range(0, 4) == b"same"
