"""Faults of a pod template that no schema sees."""

import pytest

from devcluster.apiserver.workload_rules import workload_causes


def workload(kind="Deployment", *, labels=None, policy="Always", **selector):
    template = {"metadata": {"labels": {"app": "web"} if labels is None else labels}, "spec": {"restartPolicy": policy}}
    return {"kind": kind, "spec": {"selector": selector or {"matchLabels": {"app": "web"}}, "template": template}}


EXISTS = {"key": "app", "operator": "Exists"}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (workload(), []),
        (workload(matchExpressions=[EXISTS, {"key": "app", "operator": "In", "values": ["web"]}]), []),
        (workload("Job", policy="Never"), []),
        (workload("StatefulSet", labels={}), []),
        (workload(labels={}),
         ["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"]),
        (workload(matchExpressions=[{**EXISTS, "operator": "DoesNotExist"}]),
         ['spec.template.metadata.labels: Invalid value: {"app": "web"}: `selector` does not match template `labels`']),
        (workload(matchExpressions=[{**EXISTS, "operator": "Is"}]),
         ['spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator']),
        (workload(matchLabels={}), ['spec.selector: Invalid value: {"matchLabels": {}}: empty selector is invalid']),
        (workload("Job"),
         ['spec.template.spec.restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never"']),
        (workload(policy="Never"),
         ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ],
)  # fmt: skip
def test_a_template_is_judged_with_its_workload(document, told):
    assert [str(cause) for cause in workload_causes(document)] == told
