"""The same open-loop load against a RealtimeEndpoint and against a bare vLLM server, in one run, in turns.

The endpoint is as users have it: applied to a dev cluster, one replica, asked through its Service with an API key.
The other side is `python -m vllm.entrypoints.openai.api_server` with the same engine arguments and environment. Both
are up all the time and one is idle while the other is asked: so both share the same minute, and what Ray and the dev
cluster do at rest is beside both; what that costs a bare server that has the machine to itself is measured first.
Goals: TTFT p50 at most 1.10 times, throughput at least 0.95 times that of the bare server.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from bare_server import BareServer
from command_line import Steps, parser
from endpoint_cluster import EndpointCluster
from load import Load, Pace
from load_figures import Figures
from process_cpu import CpuMeter
from realtime_report import Measured, Outcome, Run, report
from realtime_where import TimedEngine, first_token_report
from served_model import add_options, served_model
from traffic import Traffic, read_prompts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    import psutil
    from load import Target

EXAMPLES = """
examples:
  .tidemill/venv/bin/python hack/bench/realtime_overhead.py
      the README's figures, about 8 minutes on 2 cores
  .tidemill/venv/bin/python hack/bench/realtime_overhead.py --where
      the same, and of one request alone how long each part of its way takes
  .tidemill/venv/bin/python hack/bench/realtime_overhead.py --model ~/models/qwen --prompts rows.jsonl --natural
      your model and your prompts

how to read the table:
  load           arrivals a second, as a share of what the bare server can answer; above 1 is saturation: there TTFT is
                 mostly waiting, and tokens/s is the figure
  TTFT           seconds from when a request was due to its first text (p50, p99 of all rounds together)
  ms/token       time of each token after the first, p50
  CPU ms/token   CPU of all processes of the side together, the engine included
  ratio          endpoint by bare; of tokens/s also the range over the rounds
"""

SIDES = ("bare", "endpoint")
WARM_UP_REQUESTS = 8
REST_SECONDS = 5.0
SPIN_SECONDS = 2.0
"""vLLM's scheduler spins for a second after its last step: that is no rest."""


@dataclass(frozen=True)
class Side:
    """One server, whoever it is."""

    name: str
    target: Target
    processes: Callable[[], Iterable[psutil.Process]]

    def measure(self, load: Load, steps: Steps, text: str) -> Run:
        """Answers one load, its processes' CPU counted."""
        steps.begin(text, total=len(load.requests))
        meter = CpuMeter(self.processes)
        meter.start()
        answers = load.run(self.target, steps.at)
        run = Run(answers, meter.stop())
        figures = Figures.of(answers)
        steps.end(f"{text}: TTFT p50 {figures.first_p50 * 1000:.0f} ms, {figures.throughput:.0f} tokens/s")
        return run


def main() -> int:
    """Exit code 0 where both goals are met."""
    options = command_line()
    model = served_model(options)
    traffic = Traffic(model.name, read_prompts(Path(options.prompts)), options.natural)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch, Steps() as steps:
        steps.begin("bare server starts")
        with BareServer(Path(scratch), model) as server:
            bare = Side("bare", server.target, server.processes)
            alone = measure_alone(bare, traffic, options, steps)
            steps.begin("dev cluster, operator and endpoint start")
            timed = TimedEngine(Path(scratch))
            added = (timed.environment, timed.mounts()) if options.where else ({}, {})
            with EndpointCluster(Path(scratch), model, *added) as cluster:
                endpoint = Side("endpoint", cluster.target(), cluster.processes)
                measured = measure((bare, endpoint), traffic, options, alone, steps)
                print(report(measured, SIDES))
                if options.where:
                    print(first_token_report(cluster, server.target, traffic, timed, options.where_requests, steps))
    return 0 if Outcome.of(measured).holds else 1


def command_line() -> argparse.Namespace:
    """The options, those of --quick in their places."""
    line = parser(__doc__, EXAMPLES)
    add_options(line)
    line.add_argument("--loads", default="0.3,0.6,2", help="shares of the bare server's throughput (default 0.3,0.6,2)")
    line.add_argument("--rounds", type=int, default=2, help="times that both sides take each load (default 2)")
    line.add_argument("--seconds", type=float, default=15.0, help="arrivals of each load and round (default 15)")
    line.add_argument("--alone", type=int, default=160, help="requests that find the throughput first (default 160)")
    line.add_argument("--where", action="store_true", help="also where one request's time to its first token goes")
    line.add_argument("--where-requests", type=int, default=20, help="requests of each way of --where (default 20)")
    line.add_argument("--quick", action="store_true", help="numbers too small to mean anything: only whether it works")
    options = line.parse_args()
    if options.quick:
        options.loads, options.rounds, options.seconds, options.alone = "0.5,2", 1, 3.0, 12
        options.where_requests = 3
    try:
        options.loads = [float(share) for share in options.loads.split(",")]
    except ValueError:
        line.error(f"--loads {options.loads}: numbers with commas between them are wanted, such as 0.3,0.6,2")
    return options


def measure_alone(bare: Side, traffic: Traffic, options: argparse.Namespace, steps: Steps) -> Run:
    """The bare server's throughput, with the machine to itself and all requests there at once."""
    warm_up(bare, traffic)
    requests = traffic.requests(options.alone, seed=1)
    return bare.measure(Load(requests), steps, "bare, the machine to itself, all requests at once")


def warm_up(side: Side, traffic: Traffic) -> None:
    """What is made at the first requests is made before any is measured."""
    Load(traffic.requests(WARM_UP_REQUESTS, seed=0), Pace("closed", 4)).run(side.target)


def measure(
    sides: tuple[Side, Side], traffic: Traffic, options: argparse.Namespace, alone: Run, steps: Steps
) -> Measured:
    """All loads on both sides in turns, the one that goes first changing from round to round."""
    capacity = len(alone.answers) / Figures.of(alone.answers).seconds
    warm_up(sides[1], traffic)
    steps.begin("both sides at rest")
    rest = at_rest(sides, REST_SECONDS)
    runs: dict[tuple[float, str], list[Run]] = {}
    seed = 10
    for share in options.loads:
        for number in range(options.rounds):
            seed += 1
            load = Load(traffic.poisson(share * capacity, options.seconds, seed))
            for side in sorted(sides, key=lambda side: side.name, reverse=bool(number % 2)):
                text = f"{share:g} of the throughput, round {number + 1} of {options.rounds}, {side.name}"
                runs.setdefault((share, side.name), []).append(side.measure(load, steps, text))
    return Measured(alone, capacity, rest, runs)


def at_rest(sides: tuple[Side, Side], seconds: float) -> dict[str, dict[str, float]]:
    """Cores that each side's groups of processes take while nobody asks."""
    time.sleep(SPIN_SECONDS)
    meters = {side.name: CpuMeter(side.processes) for side in sides}
    for meter in meters.values():
        meter.start()
    time.sleep(seconds)
    return {name: {group: cpu / seconds for group, cpu in meter.stop().items()} for name, meter in meters.items()}


if __name__ == "__main__":
    sys.exit(main())
