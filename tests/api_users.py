"""Users of a dev API server beside its administrator: ServiceAccounts with a token, used over TLS."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster_fixtures import KUBECTL

from devcluster.apiserver.kubeconfig import token_kubeconfig


@dataclass(frozen=True)
class Account:
    """A ServiceAccount as kubectl and other clients use it: its `token`, and the `kubeconfig` with it."""

    namespace: str
    name: str
    token: str
    kubeconfig: Path

    @property
    def user(self):
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def serving(data: Path):
    """Where the server whose data folder this is serves TLS: `url`, `tls_port` and `ca`."""
    return json.loads((data / "serving.json").read_text())


def account(administrator: Path, data: Path, folder: Path, namespace: str, name: str) -> Account:
    """Make a ServiceAccount and a kubeconfig of its own. `administrator` is the kubeconfig to make it with."""
    _kubectl(administrator, "-n", namespace, "create", "serviceaccount", name)
    token = _kubectl(administrator, "-n", namespace, "create", "token", name).strip()
    path = folder / f"{name}.kubeconfig"
    found = serving(data)
    path.write_text(json.dumps(token_kubeconfig(found["url"], found["ca"], token, namespace)))
    path.chmod(0o600)
    return Account(namespace, name, token, path)


def _kubectl(kubeconfig: Path, *words: str) -> str:
    command = [str(KUBECTL), "--kubeconfig", str(kubeconfig), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
