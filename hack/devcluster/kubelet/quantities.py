"""What a Pod asks for, in exact numbers: Kubernetes quantities and the requests of whole Pods. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils import parse_quantity

Amounts = dict[str, Decimal]
"""An amount for each resource name: CPUs, bytes, or pieces."""


def parse(text: str | float) -> Decimal:
    """The number that a quantity such as `500m` or `16Gi` stands for. Raises ValueError for anything else."""
    amount: Decimal = parse_quantity(text)  # type: ignore[no-untyped-call]  # the client is not annotated
    return amount


def parse_all(quantities: Mapping[str, Any] | None) -> Amounts:
    """The numbers of a `limits`, `requests`, `capacity` or `allocatable` map."""
    return {name: parse(text) for name, text in (quantities or {}).items()}


def add(left: Mapping[str, Decimal], right: Mapping[str, Decimal]) -> Amounts:
    """The sum, resource by resource."""
    return {name: left.get(name, Decimal(0)) + right.get(name, Decimal(0)) for name in {*left, *right}}


def requests_of_container(container: Mapping[str, Any]) -> Amounts:
    """What one container asks for; a limit without a request counts as the request, as the API defaults it."""
    resources = container.get("resources") or {}
    return parse_all(resources.get("limits")) | parse_all(resources.get("requests"))


def requests_of_pod(pod: Mapping[str, Any]) -> Amounts:
    """What a Pod occupies on its node, itself counted in `pods`.

    The containers together, or the largest init container where that is more, and the overhead:
    https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers.
    An init container that restarts always (a sidecar) runs beside the others, so it is added to them.
    """
    spec = pod["spec"]
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or []:
        asked = requests_of_container(container)
        if container.get("restartPolicy") == "Always":
            sidecars = add(sidecars, asked)
            asked = {}
        largest = _larger(largest, add(sidecars, asked))
    running = _sum(requests_of_container(container) for container in spec["containers"])
    total = _larger(add(running, sidecars), largest)
    return add(add(total, parse_all(spec.get("overhead"))), {"pods": Decimal(1)})


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for each in amounts:
        total = add(total, each)
    return total


def _larger(left: Amounts, right: Amounts) -> Amounts:
    return {name: max(left.get(name, Decimal(0)), right.get(name, Decimal(0))) for name in {*left, *right}}
