"""hack/locks: what the images are made of is what was tested together, whole, and by digest where it can be."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "hack" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENGINE = {"apache-tvm-ffi"}
"""Packages that the GPU engine pins otherwise than the CPU engine, whose versions are those of the constraints."""


def pinned(file: Path) -> dict[str, Version]:
    lines = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", file.read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in lines}


CONSTRAINTS = pinned(ROOT / "hack" / "constraints.txt")


def wanted(*extras: str) -> list[Requirement]:
    listed = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return [Requirement(line) for line in listed]


@pytest.mark.parametrize(
    ("lock", "extras"), [("operator.txt", ("operator",)), ("workloads-gpu.txt", ("workloads", "engine-gpu"))]
)
def test_a_lock_satisfies_pyproject(lock: str, extras: tuple[str, ...]) -> None:
    versions = pinned(LOCKS / lock)
    for requirement in wanted(*extras):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("lock", ["build.txt", "operator.txt", "workloads-gpu.txt"])
def test_images_hold_the_versions_that_were_tested(lock: str) -> None:
    versions = pinned(LOCKS / lock)
    common = (versions.keys() & CONSTRAINTS.keys()) - (ENGINE if "gpu" in lock else set())
    assert common
    assert {name: str(versions[name]) for name in common} == {name: str(CONSTRAINTS[name]) for name in common}


def test_every_package_of_the_operator_was_tested_in_that_version() -> None:
    assert pinned(LOCKS / "operator.txt").keys() - CONSTRAINTS.keys() == set()


@pytest.mark.parametrize("lock", ["build.txt", "operator.txt"])
def test_every_package_has_the_digests_of_its_files(lock: str) -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", (LOCKS / lock).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(LOCKS / lock))
    assert [entry.splitlines()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("script", ["locks.sh", "images.sh", "docker_engine.sh", "kind.sh"])
def test_scripts_teach_and_refuse_what_they_do_not_know(script: str) -> None:
    command = str(ROOT / "hack" / script)
    told = subprocess.run([command, "--help"], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout.startswith("Usage: ")
    refused = subprocess.run([command, "--no-such-option"], capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 2
    assert "Usage: " in refused.stderr
