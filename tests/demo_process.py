"""`./hack/demo.sh` as a process whose lines are timed, told to stop when it takes too long."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster_fixtures import CHECKOUT

DEMO = str(CHECKOUT / "hack" / "demo.sh")


@dataclass
class Run:
    """A demo that has ended: its exit code, what it printed, and when each line came, in seconds from the command."""

    returncode: int
    lines: list[tuple[float, str]]

    @property
    def output(self) -> str:
        """All that it printed."""
        return "".join(line for _, line in self.lines)

    def seconds_to(self, start: str) -> float:
        """When the first line that starts so came."""
        return next(seconds for seconds, line in self.lines if line.startswith(start))


def demo(*arguments: object, seconds: float = 280, stop_at: Callable[[str], bool] = lambda _: False) -> Run:
    """Runs the demo; one that takes too long is told to stop, so that it cleans up, and fails the test.

    A line for which `stop_at` is true makes the demo be told to stop too, as by its user.
    """
    command = [DEMO, *map(str, arguments)]
    started = time.monotonic()
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        alarm = threading.Timer(seconds, running.terminate)
        alarm.start()
        for line in running.stdout or ():
            lines.append((time.monotonic() - started, line))
            if stop_at(line):
                running.terminate()
        alarm.cancel()
        done = Run(running.wait(timeout=60), lines)
    assert time.monotonic() - started < seconds, f"the demo took too long:\n{done.output}"
    return done


def devcluster_runs() -> bool:
    """Whether the checkout's dev cluster is up."""
    status = subprocess.run([str(CHECKOUT / "hack" / "devcluster.sh"), "status"], capture_output=True, check=False)
    return status.returncode == 0
