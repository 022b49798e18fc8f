"""Every metric that Tidemill serves, read from the code that serves it."""

from prometheus_client import Counter, Histogram

from tidemill_api import endpoint_contract, job_contract
from tidemill_operator.collector import QueueCollector
from tidemill_operator.metrics import PROCESS_FAMILIES


def operator_families():
    """Name as PromQL has it -> (type, labels)."""
    found = {family.name: ("gauge", family._labelnames) for family in QueueCollector({}).describe()}
    for family in PROCESS_FAMILIES:
        kind = {Counter: "counter", Histogram: "histogram"}.get(type(family), "gauge")
        name = family._name + ("_total" if kind == "counter" else "")
        found[name] = (kind, family._labelnames)
    return found


def pod_metrics():
    """The names that drivers, ingresses and engines serve on their pods."""
    contracts = (job_contract, endpoint_contract)
    return {
        value
        for contract in contracts
        for name, value in vars(contract).items()
        if name.startswith("METRIC_") and isinstance(value, str)
    }


def every_series():
    """Every name that a query may use: a histogram has three."""
    names = set(pod_metrics())
    histograms = {endpoint_contract.METRIC_FIRST_TOKEN_SECONDS, endpoint_contract.METRIC_REQUEST_SECONDS}
    for name, (kind, _) in operator_families().items():
        names.add(name)
        histograms |= {name} if kind == "histogram" else set()
    return (names - histograms) | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
