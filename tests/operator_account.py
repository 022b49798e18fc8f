"""The operator's own account on an API server: the chart's ServiceAccount and roles, as helm renders them, and a token.

For operators that tests start as processes: with this kubeconfig one may do what the chart grants, and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rendered_chart import render

from devcluster.apiserver.kubeconfig import token_kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

    from cluster_fixtures import Cluster, Kubectl

NAMESPACE = "tidemill"
RELEASE = "tide"
RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Lease"}
WATCHING = {
    "fullnameOverride": "tide-watching",
    "watchNamespaces": [NAMESPACE],
    "serviceAccount": {"create": False, "name": "tide-tidemill"},
    "rbac": {"aggregateToDefaultRoles": False},
    "crds": {"install": False},
}
"""What comes to it where namespaces are named, as each test names its own."""

ALERTS_PORT = 9095
"""Any port: that there is one gives the operator the rights that alerts need."""

TOKEN_SECONDS = 4 * 3600


@dataclass(frozen=True)
class OperatorAccount:
    """Who the operator is: the user's name in the audit log, the kubeconfig, and the server's data folder."""

    user: str
    kubeconfig: Path
    data: Path


def operator_account(cluster: Cluster, kubectl: Kubectl, folder: Path) -> OperatorAccount:
    """Applies the chart's account and roles; returns the account with a token in a kubeconfig in `folder`."""
    assert cluster.state is not None, "the audit log of another cluster is out of reach"
    data = cluster.state / "apiserver"
    values = {
        "crds": {"install": False},
        "settings": {"alertsPort": ALERTS_PORT},
        "alertWebhook": {"credentialsSecret": "x"},
    }
    objects = [manifest for manifest in render(**values) if manifest["kind"] in RIGHTS]
    objects += [
        manifest for manifest in render(**WATCHING) if manifest["kind"] in {"ClusterRole", "ClusterRoleBinding"}
    ]
    (account,) = [manifest["metadata"]["name"] for manifest in objects if manifest["kind"] == "ServiceAccount"]
    kubectl("create", "namespace", NAMESPACE, check=False)
    kubectl("apply", "-f", "-", given="\n---\n".join(json.dumps(manifest) for manifest in objects))
    token = kubectl("create", "token", account, "-n", NAMESPACE, f"--duration={TOKEN_SECONDS}s").strip()
    serving = json.loads((data / "serving.json").read_text())
    path = folder / "operator.kubeconfig"
    path.write_text(json.dumps(token_kubeconfig(serving["url"], serving["ca"], token, NAMESPACE)))
    path.chmod(0o600)
    return OperatorAccount(f"system:serviceaccount:{NAMESPACE}:{account}", path, data)
