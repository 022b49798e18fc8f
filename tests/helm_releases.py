"""The real helm on a cluster under test: one release of the chart, or of a changed copy of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from rendered_chart import CHART, HELM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Helm:
    """Calling it returns what helm printed; `run` the whole outcome. Values come as one mapping."""

    kubeconfig: Path
    home: Path
    namespace: str

    def __call__(self, *words: str, values: dict[str, Any] | None = None) -> str:
        done = self.run(*words, values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *words: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        assert HELM.exists(), f"{HELM} is missing: run ./hack/setup.sh"
        command = [str(HELM), *words, "--namespace", self.namespace]
        if values is not None:
            command += ["--values", "-"]
        environment = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            command,
            input=json.dumps(values),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )


def changed_chart(folder: Path, version: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the chart as another version of it, each of its CRDs changed; returns the copy's folder."""
    copy = folder / f"tidemill-{version}"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": version}))
    for path in (copy / "files" / "crds").iterdir():
        crd = yaml.safe_load(path.read_text())
        change(crd)
        path.write_text(yaml.safe_dump(crd, sort_keys=False))
    return copy
