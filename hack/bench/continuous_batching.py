"""What continuous batching buys on your model and your prompts: an endpoint at 1 to 32 concurrent requests.

The same requests go to a RealtimeEndpoint (dev cluster, one replica, by its Service) twice at each concurrency: so that
always as many are unanswered, which the engine batches continuously; and as static batches of that size, all sent
together and the next only when all of them are done. Answers differ in length as real ones do, so a static batch waits
for its longest. One request at a time is the yardstick.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from batching_report import Point, report
from command_line import Steps, parser
from endpoint_cluster import EndpointCluster
from load import Load, Pace
from load_figures import Figures, released_by_batch
from served_model import add_options, served_model
from traffic import Traffic, read_prompts

if TYPE_CHECKING:
    import argparse

    from load import Request, Target

EXAMPLES = """
examples:
  .tidemill/venv/bin/python hack/bench/continuous_batching.py
      the README's figures, about 5 minutes on 2 cores
  .tidemill/venv/bin/python hack/bench/continuous_batching.py --model ~/models/qwen --prompts rows.jsonl --natural
      your model and your prompts; answers end where the model ends them
  .tidemill/venv/bin/python hack/bench/continuous_batching.py --concurrency 1,4,64 --max-sequences 64
      other sizes of batches

how to read the table:
  tokens/s   of all answers, from the first request to the last answer
  gain       tokens/s by those of one request at a time; 1 / gain is what an answer costs
  TTFT       milliseconds from sending a request to its first text
  latency    seconds from sending a request to its end; an answer of a static batch comes when the whole batch is done
  by static  tokens/s of continuous batching by those of static batches of the same size
"""

WARM_UP_REQUESTS = 8
LEAST_REQUESTS = 24
SEED = 1
BATCHES = 6
"""Requests of a concurrency are so many times it, so that the last ones, which run out of company, weigh little."""


def main() -> int:
    """Exit code 0: there is no goal, the figures are yours."""
    options = command_line()
    model = served_model(options)
    traffic = Traffic(model.name, read_prompts(Path(options.prompts)), options.natural)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch, Steps() as steps:
        steps.begin("dev cluster, operator and endpoint start")
        with EndpointCluster(Path(scratch), model) as cluster:
            target = cluster.target()
            Load(traffic.requests(WARM_UP_REQUESTS, seed=0), Pace("closed", 4)).run(target)
            points = [measure(target, traffic, width, options, steps) for width in options.concurrency]
    print(report(points))
    return 0


def command_line() -> argparse.Namespace:
    """The options, those of --quick in their places."""
    line = parser(__doc__, EXAMPLES)
    add_options(line)
    line.add_argument("--concurrency", default="1,2,4,8,16,32", help="unanswered requests (default 1,2,4,8,16,32)")
    line.add_argument("--batches", type=int, default=BATCHES, help=f"requests by concurrency (default {BATCHES})")
    line.add_argument("--quick", action="store_true", help="numbers too small to mean anything: only whether it works")
    options = line.parse_args()
    if options.quick:
        options.concurrency, options.batches = "1,4", 2
    try:
        options.concurrency = sorted({1, *(int(width) for width in options.concurrency.split(","))})
    except ValueError:
        line.error(f"--concurrency {options.concurrency}: whole numbers with commas between them, such as 1,8,32")
    return options


def measure(target: Target, traffic: Traffic, width: int, options: argparse.Namespace, steps: Steps) -> Point:
    """One concurrency in both ways; one at a time is both at once."""
    count = options.batches * width if options.quick else max(options.batches * width, LEAST_REQUESTS)
    continuous = ask(target, traffic.requests(count, SEED, f"c{width}."), Pace("closed", width), steps)
    if width == 1:
        return Point(width, continuous, continuous)
    static = ask(target, traffic.requests(count, SEED, f"s{width}."), Pace("static", width), steps)
    return Point(width, continuous, static)


def ask(target: Target, requests: list[Request], pace: Pace, steps: Steps) -> Figures:
    """What one load came to."""
    how = {"closed": "always so many unanswered", "static": "static batches"}[pace.kind]
    text = f"{pace.width} at once, {how}"
    steps.begin(text, total=len(requests))
    answers = Load(requests, pace).run(target, steps.at)
    found = Figures.of(released_by_batch(answers, pace.width) if pace.kind == "static" else answers)
    steps.end(f"{text}: {found.throughput:.1f} tokens/s")
    return found


if __name__ == "__main__":
    sys.exit(main())
