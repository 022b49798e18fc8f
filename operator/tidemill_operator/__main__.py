"""The operator's command line: `python -m tidemill_operator`, `tidemill-operator`, and its `check`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_operator import logs, metrics
from tidemill_operator.check import check
from tidemill_operator.config import PREFIX, Settings
from tidemill_operator.errors import ConfigError, LeadershipLostError
from tidemill_operator.startup import Options, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USAGE = 2
EXIT_LOST = 3
RUN, CHECK = "run", "check"
IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the operator until it is stopped, or checks an installation: exit code 1 where something is wrong with it.

    Exit code 2 with one message where its settings are wrong, 3 where it lost its Lease: it is to be started again.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        options = _options(given, settings)
        if given.command == CHECK:
            return check(options.kubeconfig, settings, options.namespaces)
        logs.set_up(settings.log_level)
        with metrics.served(settings.metrics_port):
            asyncio.run(serve(options, settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # it ends already; one more signal must not make that a failure
    except ConfigError as error:
        parser.exit(EXIT_USAGE, f"tidemill-operator: {error}\n")
    except LeadershipLostError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a traceback would say nothing
        return EXIT_LOST
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("interrupted")
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {PREFIX}{name.upper()}\n      {field.description}." for name, field in Settings.model_fields.items()]
    parser = argparse.ArgumentParser(
        prog="tidemill-operator",
        description="Runs BatchInferenceJobs on Ray clusters that KubeRay keeps.",
        epilog="settings, read from the environment once:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=(RUN, CHECK), default=RUN, help="run (the default), or check what is installed"
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--namespace", action="append", default=[], metavar="NAME", help="watch it; may be repeated")
    scope.add_argument("--all-namespaces", action="store_true", help="watch all namespaces (the default)")
    parser.add_argument("--kubeconfig", type=Path, help="default: $KUBECONFIG, or inside a pod its service account")
    parser.add_argument("--health-port", type=int, help="port of /healthz, 0 for none; default: TIDEMILL_HEALTH_PORT")
    return parser


def _options(given: argparse.Namespace, settings: Settings) -> Options:
    namespaces = () if given.all_namespaces else tuple(given.namespace) or settings.namespaces
    kubeconfig = given.kubeconfig
    if kubeconfig is None and not IN_CLUSTER_TOKEN.exists():
        kubeconfig = Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    if kubeconfig is not None and not kubeconfig.is_file():
        raise ConfigError(f"there is no kubeconfig at {kubeconfig}; give --kubeconfig or set KUBECONFIG")
    port = settings.health_port if given.health_port is None else given.health_port
    return Options(kubeconfig=kubeconfig, namespaces=namespaces, health_port=port)


if __name__ == "__main__":
    sys.exit(main())
