"""Small Services, Pods behind them and EndpointSlices for tables."""

from pod_builders import container, pod

LATER = "2026-01-02T00:00:00Z"


def service(name="web", *ports, selector=None, labels=None, **spec):
    """A Service of team `team` that selects `app: web` on port 80, unless told otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "labels": labels or {}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.10",
            "selector": {"app": "web"} if selector is None else selector,
            "ports": list(ports) or [{"port": 80, "targetPort": 8000}],
            **spec,
        },
    }


def backend(name, address, *, ready=True, phase="Running", ports=(), **more):
    """A Pod of `app: web`; `ports` are those of its container."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": phase, "podIP": address, "conditions": conditions}
    more.setdefault("labels", {"app": "web"})
    return pod(name, container(ports=list(ports)), status=status, nodeName="node-a", **more)


def endpoint(address, **conditions):
    """One endpoint of a slice; conditions that are not given are left unsaid."""
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints, service="web", port=8000, name="", **more):
    return {
        "metadata": {
            "name": f"{service}-1",
            "namespace": "team",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **more,
    }
