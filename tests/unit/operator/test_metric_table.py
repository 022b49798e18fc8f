"""One table documents every metric: what is served stands in it, and what stands in it is served."""

import re
from pathlib import Path

from metric_names import every_series, operator_families, pod_metrics
from prometheus_client import CollectorRegistry

from tidemill_operator.metrics import ERRORS, PROCESS_FAMILIES, RECONCILE_SECONDS

TABLE = Path(__file__).parents[3] / "charts" / "tidemill" / "METRICS.md"
ROW = re.compile(r"^\| `(?P<name>tidemill_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<meaning>[^|]+) \|$")


def rows():
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [match for match in map(ROW.match, lines) if match is not None]


def test_the_table_is_what_is_served_and_nothing_else():
    documented = {
        row["name"]: (row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"])))
        for row in rows()
        if row["name"] not in pod_metrics()
    }
    assert documented == {name: (kind, tuple(labels)) for name, (kind, labels) in operator_families().items()}


def test_the_table_has_every_metric_of_the_pods():
    assert {row["name"] for row in rows()} == operator_families().keys() | pod_metrics()
    assert len(rows()) == len(operator_families()) + len(pod_metrics())


def test_a_scrape_has_no_series_beside_those_of_the_table():
    registry = CollectorRegistry()
    for family in PROCESS_FAMILIES:
        registry.register(family)
    ERRORS.labels("Bug").inc()
    RECONCILE_SECONDS.labels("written").observe(1)
    served = {sample.name for family in registry.collect() for sample in family.samples}
    assert served
    assert served <= every_series()


def test_names_follow_prometheus_convention():
    for name, (kind, _) in operator_families().items():
        assert re.fullmatch(r"tidemill(_[a-z0-9]+)+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent)\b", name), f"{name} is not in base units"
