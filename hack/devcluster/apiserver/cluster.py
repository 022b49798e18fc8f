"""The parts of the API server that every request works on, in one value."""

from dataclasses import dataclass

from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import Store


@dataclass(frozen=True)
class Cluster:
    """The stored objects and the served resources."""

    store: Store
    registry: Registry
