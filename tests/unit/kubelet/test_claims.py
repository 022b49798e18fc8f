"""What a claim's folder is: one of its own that goes with it, or a given one that stays."""

from pathlib import Path

from devcluster.kubelet.claims import make_folder, remove_folder


def test_a_claims_own_folder_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "volumes" / "team" / "data"
    make_folder(folder, "")
    (folder / "rows.jsonl").write_text("{}")
    make_folder(folder, "")
    assert (folder / "rows.jsonl").exists(), "a second look changes nothing"
    remove_folder(folder)
    assert not folder.exists()


def test_a_given_folder_is_seen_through_the_claim_and_stays(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "rows.jsonl").write_text("{}")
    folder = tmp_path / "volumes" / "team" / "data"
    make_folder(folder, str(given))
    assert (folder / "rows.jsonl").read_text() == "{}"
    remove_folder(folder)
    assert not folder.is_symlink()
    assert (given / "rows.jsonl").exists()
