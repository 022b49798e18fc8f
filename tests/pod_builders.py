"""Small Pods, Nodes and containers for the kubelet's tables."""


def container(name="main", **fields):
    return {"name": name, "image": "any", "command": ["true"], **fields}


def asking(name="main", limits=None, requests=None):
    resources = ({"limits": limits} if limits else {}) | ({"requests": requests} if requests else {})
    return container(name, resources=resources)


def pod(name="pod", *containers, labels=None, status=None, **spec):
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels or {}}
    metadata["creationTimestamp"] = spec.pop("created", "2026-01-01T00:00:00Z")
    if "deletionTimestamp" in spec:
        metadata["deletionTimestamp"] = spec.pop("deletionTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": list(containers) or [container()], **spec},
        "status": status or {},
    }


def node(name="a", *, labels=None, taints=(), ready=True, unschedulable=False, **allocatable):
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110"} | allocatable.pop("more", {}) | allocatable
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"allocatable": amounts, "conditions": conditions},
    }
