"""Plain, short logs for the job log: one line a fact, without Ray's and vLLM's chatter."""

from __future__ import annotations

import logging
import sys

from tidemill_workloads.discretion import DiscreetFormatter


def set_up_logging() -> None:
    """Our own messages from INFO on to stderr; those of libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(DiscreetFormatter())
    ours = logging.getLogger("tidemill_workloads")
    ours.handlers = [handler]
    ours.propagate = False
    ours.setLevel(logging.INFO)
    for name in ("ray.data", "ray.serve", "ray"):
        logging.getLogger(name).setLevel(logging.WARNING)
