"""The command line of the dev cluster; `hack/devcluster.sh` calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devcluster.supervisor import DEFAULT_NODES, ClusterError, Settings, Supervisor

CHECKOUT = Path(__file__).parents[2]
STATE = CHECKOUT / ".tidemill" / "devcluster"
KUBECONFIG = CHECKOUT / ".tidemill" / "kubeconfig"

_DESCRIPTION = """\
A Kubernetes cluster on this machine, for developing and testing Tidemill: no Docker, no GPU.

It consists of an API server that kubectl, helm and Kopf talk to, a stand-in for KubeRay, and a kubelet that
runs each pod as processes with a network address of its own. Services have addresses that pods and this
machine reach, and names that pods know. Deployments and Jobs work, and images of this project run from the
checkout. It is a development tool: whoever reaches it on this machine's loopback
address is its administrator (pods, and others over TLS, need a token and rights), and it pulls no image (pods
run from this checkout).
"""

_EXAMPLES = f"""\
commands
  up      start what does not run, and wait until it is ready; a second `up` takes a moment
  down    stop everything and remove the pods' namespaces; stored objects stay (--purge removes them too)
  status  show processes, nodes, pods and Services; exit code 1 when something is down

examples
  ./hack/devcluster.sh up
  export KUBECONFIG=.tidemill/kubeconfig
  kubectl get nodes
  ./hack/devcluster.sh up --node name=gpu,cpu=8,memory=32Gi,nvidia.com/gpu=4    # declared, not real
  ./hack/devcluster.sh down --purge

nodes by default
  {" ".join(f"--node {node}" for node in DEFAULT_NODES)}

Pods need root and network namespaces (Linux).
"""


def main() -> int:
    """Read the command line, act, and return the exit code: 0, 1 (something is down or failed), 2 (usage)."""
    arguments = _parser().parse_args()
    settings = Settings(
        state=arguments.state.absolute(),
        kubeconfig=(arguments.kubeconfig or _kubeconfig_of(arguments.state)).absolute(),
        nodes=tuple(arguments.node or DEFAULT_NODES),
    )
    supervisor = Supervisor(settings)
    try:
        if arguments.command == "up":
            supervisor.up()
            print(_next_commands(settings))
        elif arguments.command == "down":
            supervisor.down(purge=arguments.purge)
        else:
            from devcluster.overview import show  # a second `up` must not pay for this import

            return show(supervisor)
    except ClusterError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./hack/devcluster.sh",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["up", "down", "status"])
    parser.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="default: .tidemill/devcluster")
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="default: .tidemill/kubeconfig, or DIR/kubeconfig with --state"
    )
    parser.add_argument(
        "--node", action="append", metavar="SPEC", help="a node to declare instead of the default ones; repeatable"
    )
    parser.add_argument("--purge", action="store_true", help="down: remove the stored objects and the state folder")
    return parser


def _kubeconfig_of(state: Path) -> Path:
    return KUBECONFIG if state == STATE else state / "kubeconfig"


def _next_commands(settings: Settings) -> str:
    return f"""\
The cluster is ready. Next:
  export KUBECONFIG={settings.kubeconfig}
  kubectl get nodes,pods --all-namespaces
Logs are in {settings.state / "logs"}; ./hack/devcluster.sh down stops it."""


if __name__ == "__main__":
    sys.exit(main())
