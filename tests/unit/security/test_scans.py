"""What bandit finds in our code. Most of its tests are ruff's rules S, run with the linter; here are the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
SCANNED = ("operator", "workloads", "hack/devcluster", "hack/bench", "hack/demo", "hack/models.py")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def bandit(*words: str) -> dict[str, list[dict[str, str]]]:
    """bandit's report on these files, as its JSON."""
    command = [str(BIN / "bandit"), "--quiet", "--format=json", "--configfile", str(ROOT / "pyproject.toml"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return dict(json.loads(done.stdout))


LIST = """
from bandit.core.extension_loader import MANAGER
listed = {entry["id"] for entries in MANAGER.blacklist.values() for entry in entries}
print(*listed | {plugin.plugin._test_id for plugin in MANAGER.plugins})
"""


def bandits_tests() -> set[str]:
    """Asked of a Python of its own: bandit's import warns of what it imports, and here a warning is an error."""
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def ruffs_tests() -> set[str]:
    """bandit's tests that ruff's stable rules stand for: S101 is B101."""
    done = subprocess.run(
        [str(BIN / "ruff"), "rule", "--all", "--output-format=json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    stable = [rule["code"] or "" for rule in json.loads(done.stdout) if "Stable" in rule["status"]]
    return {f"B{code[1:]}" for code in stable if re.fullmatch(r"S\d{3}", code)}


def test_bandit_finds_nothing_unexplained() -> None:
    report = bandit("--recursive", *SCANNED)
    assert report["errors"] == []
    found = [
        f"{hit['filename']}:{hit['line_number']} {hit['test_id']} {hit['issue_text']}" for hit in report["results"]
    ]
    assert found == []


def test_ruff_and_bandit_leave_no_test_out() -> None:
    """Each of bandit's tests runs, in one of the two, or is skipped in pyproject.toml with its reason beside it."""
    assert "S" in SETTINGS["ruff"]["lint"]["select"]
    ours = set(SETTINGS["bandit"]["tests"]) | set(SETTINGS["bandit"]["skips"])
    assert bandits_tests() - ruffs_tests() == ours


def test_bandit_sees_what_it_should(tmp_path: Path) -> None:
    """The scan is alive: text that reads otherwise than it runs is found."""
    module = tmp_path / "trojan.py"
    module.write_text('allowed = "user\u202e \u2066# admin\u2069 \u2066"\n')
    assert [hit["test_id"] for hit in bandit(str(module))["results"]] == ["B613"]


def test_every_finding_that_is_waved_through_says_why() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bare = []
    for name in listed.split():
        if name.startswith("tests/") or not (ROOT / name).is_file():
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            waved = re.search(r"# nosec(?P<reason>.*)", line)
            if waved and len(re.findall(r"[a-z]{3,}", waved["reason"])) < 3:
                bare.append(f"{name}:{number}")
    assert bare == []
