"""The Pod Security Standards, in Kubernetes' words."""

import pytest

from devcluster.apiserver.pod_security import violations

SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def spec(*contexts, volumes=(), **fields):
    names = "abc"
    containers = [{"name": names[index], "securityContext": context} for index, context in enumerate(contexts)]
    return {"containers": containers, "volumes": list(volumes), **fields}


def test_a_restricted_pod_breaks_nothing():
    volumes = [{"name": "v", kind: {}} for kind in ("emptyDir", "secret", "configMap", "projected")]
    assert violations("restricted", spec(SAFE, SAFE, volumes=volumes)) == []


def test_all_that_a_plain_pod_lacks_is_told_as_kubernetes_tells_it():
    assert ", ".join(violations("restricted", spec({}))) == (
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )
    assert violations("baseline", spec({})) == []


def test_the_pods_own_context_serves_for_its_containers():
    pod = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}}
    ours = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert violations("restricted", spec(ours, ours, securityContext=pod)) == []


BASELINE = {
    "host namespaces": (spec(SAFE, hostNetwork=True, hostPID=True),
                        "host namespaces (hostNetwork=true, hostPID=true)"),
    "privileged": (spec(SAFE, {**SAFE, "privileged": True}),
                   'privileged (container "b" must not set securityContext.privileged=true)'),
    "host ports": (
        {"containers": [{"name": "a", "securityContext": SAFE, "ports": [{"hostPort": 80}, {"hostPort": 443}]}]},
        'hostPort (container "a" uses hostPorts 443, 80)'),
    "sysctls": (spec(SAFE, securityContext={"sysctls": [{"name": "kernel.msgmax"}]}),
                "forbidden sysctls (kernel.msgmax)"),
    "seLinux": (spec({**SAFE, "seLinuxOptions": {"type": "spc_t", "user": "u"}}),
                'seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: type "spc_t"; '
                "user may not be set)"),
    "probes": ({"containers": [{"name": "a", "securityContext": SAFE,
                                "livenessProbe": {"httpGet": {"host": "169.254.169.254"}}}]},
               'probe or lifecycle host (container "a" uses probe or lifecycle host "169.254.169.254")'),
    "seccomp": (spec({**SAFE, "seccompProfile": {"type": "Unconfined"}}),
                'seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")'),
}  # fmt: skip


@pytest.mark.parametrize(("pod", "told"), BASELINE.values(), ids=BASELINE)
def test_what_breaks_the_baseline_breaks_restricted_too(pod, told):
    assert violations("baseline", pod) == [told]
    assert violations("restricted", pod) == [told]
    assert violations("privileged", pod) == []


@pytest.mark.parametrize(
    ("pod", "baseline", "restricted"),
    [
        (spec(SAFE, volumes=[{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}]),
         ['hostPath volumes (volume "h")'],
         ['restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs")']),
        (spec({**SAFE, "capabilities": {"drop": ["ALL"], "add": ["SYS_TIME", "NET_BIND_SERVICE"]}}),
         ['non-default capabilities (container "a" must not include "SYS_TIME" in securityContext.capabilities.add)'],
         ['unrestricted capabilities (container "a" must not include "SYS_TIME" in securityContext.capabilities.add)']),
        (spec(SAFE, {**SAFE, "runAsNonRoot": False}), [],
         ['runAsNonRoot != true (container "b" must not set securityContext.runAsNonRoot=false)']),
        (spec({**SAFE, "runAsUser": 0}, securityContext={"runAsUser": 0}), [],
         ['runAsUser=0 (pod and container "a" must not set runAsUser=0)']),
    ],
)  # fmt: skip
def test_restricted_says_the_stricter_of_two_rules(pod, baseline, restricted):
    assert violations("baseline", pod) == baseline
    assert violations("restricted", pod) == restricted


def test_an_unknown_level_is_an_error():
    with pytest.raises(ValueError, match="'strict' is no level of Pod Security: privileged, baseline, restricted"):
        violations("strict", {})
