"""Small RayClusters and pods for the tables of the KubeRay stand-in."""

from copy import deepcopy

from devcluster.kuberay import constants as c

NOW = "2026-01-02T03:04:05Z"


def worker_group(name="workers", **fields):
    return {
        "groupName": name,
        "replicas": 1,
        "minReplicas": 0,
        "maxReplicas": 4,
        "numOfHosts": 1,
        "rayStartParams": {},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "ray-worker",
                        "image": "tidemill:dev",
                        "resources": {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "2"}},
                    }
                ]
            }
        },
        **fields,
    }


def cluster(name="demo", *, metadata=None, status=None, head=None, groups=None, **spec):
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": "0b5c",
            "generation": 3,
            "resourceVersion": "7",
            **(metadata or {}),
        },
        "spec": {
            "rayVersion": "2.60.0",
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0"},
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "ray-head",
                                "image": "tidemill:dev",
                                "resources": {"limits": {"cpu": "1", "memory": "4Gi"}},
                            }
                        ]
                    }
                },
                **(head or {}),
            },
            "workerGroupSpecs": [worker_group()] if groups is None else groups,
            **spec,
        },
        "status": status or {},
    }


def pod(name, *, group="workers", phase="Running", ready=True, **fields):
    head = group == c.HEAD_GROUP
    body = {
        "metadata": {
            "name": name,
            "namespace": "team",
            "labels": {
                c.LABEL_CLUSTER: "demo",
                c.LABEL_GROUP: group,
                c.LABEL_NODE_TYPE: c.HEAD if head else c.WORKER,
                **({} if head else {c.LABEL_REPLICA_INDEX: name[-1]}),
            },
            "annotations": {},
        },
        "spec": {"restartPolicy": "Always", "containers": [{"name": "ray"}]},
        "status": {"phase": phase, "podIP": "10.77.0.5"},
    }
    if phase == "Running":
        body["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    for key, value in fields.items():
        body[key] = {**body[key], **value}
    return body


def head_pod(name="demo-head-x1", **fields):
    return pod(name, group=c.HEAD_GROUP, **fields)


def ended(body, exit_code=1, restart_policy="Always"):
    """The pod with its Ray container terminated."""
    body = deepcopy(body)
    body["spec"]["restartPolicy"] = restart_policy
    body["status"]["containerStatuses"] = [{"name": "ray", "state": {"terminated": {"exitCode": exit_code}}}]
    return body


def condition(kind, status="True", **fields):
    return {"type": kind, "status": status, "reason": kind, "message": "", "lastTransitionTime": NOW, **fields}
