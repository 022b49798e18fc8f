"""The table of the operator's rights is what the chart's roles grant: nothing is missing, nothing is left over."""

from collections import defaultdict

import pytest
from chart_rights import GRANTED, LEADER, WITH_ALERTS

from tidemill_operator.config import Settings
from tidemill_operator.rights import Where, rights

CHART = Settings(
    network_policies=True,
    lease_name="tidemill",
    operator_namespace="tidemill",
    operator_selector=("app.kubernetes.io/name=tidemill",),
)
"""What the chart sets that asks for rights."""


def needed(settings, where):
    found = defaultdict(set)
    for right in rights(settings, ()):
        if right.where is where:
            found[right.resource] |= set(right.verbs)
    return dict(found)


def test_the_operator_needs_what_the_charts_roles_grant_and_nothing_else():
    assert needed(CHART, Where.WATCHED) == GRANTED
    assert needed(CHART, Where.LEASE) == LEADER


def test_with_alerts_it_needs_what_the_chart_adds_then():
    more = {resource: verbs | WITH_ALERTS.get(resource, set()) for resource, verbs in GRANTED.items()}
    assert needed(CHART.model_copy(update={"alerts_port": 9094}), Where.WATCHED) == more


@pytest.mark.parametrize("namespaces", [(), ("team",)])
def test_no_right_is_needed_twice_for_the_same_and_each_says_what_for(namespaces):
    every = rights(CHART.model_copy(update={"alerts_port": 9094}), namespaces)
    asked = [(right.group, right.resource, verb, right.where) for right in every for verb in right.verbs]
    assert len(asked) == len(set(asked))
    assert all(right.purpose for right in every)
