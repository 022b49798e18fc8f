"""What every demo stands on: dev cluster, operator, kubectl and a console. What it starts, it stops.

Refuses to know what is shown on it.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from demo.errors import DemoError
from demo.kubectl import Kubectl
from demo.manifests import name_of, namespace_of
from demo.operator_process import OperatorProcess

if TYPE_CHECKING:
    from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".tidemill"
KUBECONFIG = STATE / "kubeconfig"
EXAMPLES = ROOT / "hack" / "examples"
MODELS = STATE / "models"


class Stage:
    """The cluster and the operator of one demo."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.kubectl = Kubectl((str(STATE / "bin" / "kubectl"), "--kubeconfig", str(KUBECONFIG)))
        self._operator = OperatorProcess(STATE, KUBECONFIG)
        self._begun = self._found_running = False

    def up(self) -> None:
        """Starts the dev cluster, unless it runs, and the operator anew. Raises DemoError where one does not start."""
        self.step("dev cluster")
        self._found_running = _devcluster("status").returncode == 0
        self._begun = True
        if _devcluster("up").returncode:
            raise DemoError("the dev cluster does not start; see ./hack/devcluster.sh up")
        self.step(f"operator (log: {shown(self._operator.log)})")
        self._operator.start()

    def check(self) -> None:
        """Raises DemoError where the operator has ended: nothing would ever move again."""
        self._operator.check()

    def apply(self, manifest: dict[str, Any], resource: str, about: str = "") -> None:
        """Applies an object from a file, as a user would; an earlier one of its name makes room first."""
        name, namespace = name_of(manifest), namespace_of(manifest)
        file = STATE / "demo" / f"{namespace}-{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(manifest, sort_keys=False))
        self.kubectl.run("delete", resource, name, "-n", namespace, "--ignore-not-found")
        self.step(f"kubectl apply -f {shown(file)}{about}")
        self.say(self.kubectl.run("apply", "-f", str(file)).strip())

    def delete(self, resource: str, name: str, namespace: str) -> None:
        """Deletes an object without waiting; nothing where there is no cluster or no such object."""
        if KUBECONFIG.exists():
            self.kubectl.attempt("delete", resource, name, "-n", namespace, "--ignore-not-found", "--wait=false")

    def down(self) -> None:
        """Stops what `up` started: a cluster that ran before keeps running."""
        if not self._begun:
            return
        self._operator.stop()
        if not self._found_running:
            _devcluster("down")

    def step(self, text: str) -> None:
        """Says what comes next."""
        self.console.print(f"[bold]==>[/bold] {text}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Says a line as it is, whatever brackets are in it."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def say_how_to_look(self, *commands: str) -> None:
        """What a person may type next, with --keep: kubectl with these words."""
        program, option, _ = self.kubectl.command
        kubectl = shlex.join([shown(Path(program)), option, shown(KUBECONFIG)])
        self.say("kept running; look around:")
        for words in commands:
            self.say(f"  {kubectl} {words}")
        self.say("and stop it all: ./hack/devcluster.sh down")


def _devcluster(command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(ROOT / "hack" / "devcluster.sh"), command], check=False, stdout=subprocess.DEVNULL)


def shown(path: Path) -> str:
    """The path as a person would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
