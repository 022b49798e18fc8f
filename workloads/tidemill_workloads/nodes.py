"""What Ray knows of its nodes: which are dead, which are on their way out, how many could run an engine."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from tidemill_api.job_contract import ENGINE_RESOURCE


@dataclass(frozen=True, slots=True)
class Nodes:
    """Node ids; `engines` counts live nodes that offer an engine's place."""

    dead: frozenset[str] = frozenset()
    draining: frozenset[str] = frozenset()
    engines: int = 0


def nodes_now() -> Nodes:
    """The nodes as the GCS sees them. A pod that got SIGTERM drains its node until its drain time-out."""
    every = ray.nodes()  # type: ignore[no-untyped-call] # Ray leaves it so
    alive = [node for node in every if node["Alive"]]
    return Nodes(
        dead=frozenset(node["NodeID"] for node in every if not node["Alive"]),
        draining=frozenset(ray._private.state.state.get_draining_nodes()),
        engines=sum(ENGINE_RESOURCE in node["Resources"] for node in alive),
    )
