"""vLLM's own batch runner, unchanged but for a clock: `timed_run_batch.py <times.json> <its own arguments>`.

Notes when the first and the last row was answered, by vLLM's own progress tracker, and when the process began.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

STARTED = time.time()


def main() -> None:
    """Runs the batch and writes the times, in seconds since 1970."""
    target = Path(sys.argv.pop(1))
    from vllm.entrypoints.launchers import run_batch

    answered: list[float] = []

    class Timed(run_batch.BatchProgressTracker):
        def completed(self) -> None:
            answered.append(time.time())
            super().completed()  # type: ignore[no-untyped-call]  # vLLM gives this method no types

    run_batch.BatchProgressTracker = Timed  # type: ignore[misc]  # the runner makes its tracker by this name
    arguments = run_batch.parse_args()  # type: ignore[no-untyped-call]  # nor this function
    asyncio.run(run_batch.main(arguments))
    times = {"started": STARTED, "first": answered[0], "last": answered[-1], "ended": time.time()}
    target.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
