"""What is refused, with KubeRay's words: one row for each rule."""

import pytest
from unit.kuberay.builders import cluster, condition, worker_group

from devcluster.kuberay.offered import not_offered
from devcluster.kuberay.validation import METADATA, SPEC, STATUS, validate

NO_CONTAINERS = {"template": {"spec": {"containers": []}}}


def with_head_variable(name, value):
    head = cluster()["spec"]["headGroupSpec"]
    head["template"]["spec"]["containers"][0]["env"] = [{"name": name, "value": value}]
    return cluster(head=head)


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (cluster("a" * 54), METADATA, "no more than 53 characters"),
        (cluster("1demo"), METADATA, "DNS1035"),
        (cluster("demo-"), METADATA, "DNS1035"),
        (cluster("de.mo"), METADATA, "DNS1035"),
        (cluster(head=NO_CONTAINERS), SPEC, "headGroupSpec should have at least one container"),
        (cluster(groups=[worker_group(**NO_CONTAINERS)]), SPEC, "workerGroupSpec should have at least one container"),
        (cluster(groups=[worker_group(minReplicas=None)]), SPEC, "must set both minReplicas and maxReplicas"),
        (cluster(groups=[worker_group(maxReplicas=None)]), SPEC, "must set both minReplicas and maxReplicas"),
        (cluster(groups=[worker_group(minReplicas=-1)]), SPEC, "negative minReplicas -1"),
        (cluster(groups=[worker_group(maxReplicas=-1)]), SPEC, "negative maxReplicas -1"),
        (cluster(groups=[worker_group(minReplicas=5)]), SPEC, "minReplicas 5 greater than maxReplicas 4"),
        (cluster(head={"resources": {"CPU": "1"}}), SPEC, "both rayStartParams and Resources for Head group"),
        (cluster(head={"rayStartParams": {"labels": "a=b"}}), SPEC, "rayStartParams['labels'] is not supported"),
        (cluster(groups=[worker_group(labels={"a b": "c"})]), SPEC, "invalid label key for workers group: 'a b'"),
        (cluster(groups=[worker_group(labels={"a": "c d"})]), SPEC, "invalid label value"),
        (cluster(groups=[worker_group(idleTimeoutSeconds=60)]), SPEC, "autoscaler v2 is not enabled"),
        (cluster(groups=[worker_group(priority=5)]), SPEC, "autoscaler v2 is not enabled"),
        (with_head_variable("RAY_REDIS_ADDRESS", "r:1"), SPEC, "implicitly enables GCS fault tolerance"),
        (with_head_variable("RAY_enable_autoscaler_v2", "1"), SPEC, "when enableInTreeAutoscaling is false"),
        (cluster(authOptions={"mode": "token"}, rayVersion=""), SPEC, "RayVersion was not specified"),
        (cluster(authOptions={"mode": "token"}, rayVersion="new"), SPEC, "format is invalid: new"),
        (cluster(authOptions={"mode": "token"}, rayVersion="2.51.1"), SPEC, "minimum Ray version is 2.52.0"),
        (cluster(networkPolicy={"mode": "DenyAll"}), SPEC, "RayClusterNetworkPolicy feature gate"),
        (cluster(tlsOptions={"enabled": True}), SPEC, "RayClusterMTLS feature gate"),
        (cluster(upgradeStrategy={"type": "Sometimes"}), SPEC, "valid options are Recreate or None"),
        (
            cluster(status={"conditions": [condition("RayClusterSuspending"), condition("RayClusterSuspended")]}),
            STATUS,
            "should not be both true",
        ),
    ],
)
def test_a_broken_rule_is_named(given, reason, words):
    violation = validate(given)
    assert violation is not None
    assert violation.reason == reason
    assert words in violation.message
    assert f"team/{given['metadata']['name']}" in violation.message


@pytest.mark.parametrize(
    "given",
    [
        cluster(),
        cluster("a" * 53),
        cluster(groups=[]),
        cluster(authOptions={"mode": "token"}, rayVersion="2.60.0"),
        cluster(authOptions={}, rayVersion=""),
        cluster(groups=[worker_group(minReplicas=None, maxReplicas=None)], enableInTreeAutoscaling=True),
        cluster(groups=[worker_group(priority=0)]),
        cluster(upgradeStrategy={"type": "Recreate"}),
    ],
)
def test_a_sound_cluster_is_accepted(given):
    assert validate(given) is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (cluster(enableInTreeAutoscaling=True), "spec.enableInTreeAutoscaling"),
        (cluster(metadata={"annotations": {"ray.io/ft-enabled": "true"}}), "ray.io/ft-enabled"),
        (cluster(head={"enableIngress": True}), "enableIngress"),
        (cluster(authOptions={"mode": "token", "enableK8sTokenAuth": True}), "enableK8sTokenAuth"),
        (cluster(groups=[worker_group(numOfHosts=2)]), "spec.workerGroupSpecs[0].numOfHosts above 1"),
        (cluster(metadata={"labels": {"ray.io/originated-from-crd": "RayJob"}}), "RayJob"),
    ],
)
def test_what_only_real_kuberay_does_is_refused_by_name(given, field):
    violation = not_offered(given)
    assert violation is not None
    assert violation.reason == SPEC
    assert field in violation.message
    assert "stand-in" in violation.message


def test_an_ordinary_cluster_needs_nothing_more():
    assert not_offered(cluster()) is None
