"""Specs that use what is reserved or lead nowhere: refused by the CRD's rules, and by the operator where they stand.

One table for both, of each kind: an object that was stored before there was a rule meets the operator alone.
"""

from __future__ import annotations

from api_specs import Case
from unit.api.endpoint_specs import EndpointCase


def _env(name: str) -> list[dict[str, str]]:
    return [{"name": name, "value": "x"}]


def _mounted(path: str, volume: str = "data") -> dict[str, object]:
    claim = {"claimName": "data"}
    mounts = [{"name": volume, "mountPath": path}, {"name": volume, "mountPath": "/data"}]
    return {"volumes": [{"name": volume, "persistentVolumeClaim": claim}], "volumeMounts": mounts}


NAME, MOUNT = "template.env[0].name", "template.volumeMounts[0].mountPath"
OURS = "env: this name is set by the operator itself"
CODE = "env: this name says which code is run or whom it trusts"
NOWHERE = "is a path under no mount of the template: add one to template.volumeMounts"

JOBS: tuple[Case, ...] = (
    Case("a variable of the operator", "template.env", _env("RAY_AUTH_MODE"), NAME, OURS),
    Case(
        "a variable by which the driver is told", "template.env", _env("TIDEMILL_JOB"), NAME, "env: a name that begins"
    ),
    Case("a variable that loads a library", "template.env", _env("LD_PRELOAD"), NAME, CODE),
    Case("a variable that loads a plugin", "template.env", _env("VLLM_PLUGINS"), NAME, CODE),
    Case("a cache that compiled code is loaded from", "template.env", _env("TRITON_CACHE_DIR"), NAME, CODE),
    Case("a home that code is loaded from", "template.env", _env("HOME"), NAME, CODE),
    Case("another API server", "template.env", _env("KUBERNETES_SERVICE_HOST"), NAME, CODE),
    Case("a variable that starts Python otherwise", "template.env", _env("PYTHONSTARTUP"), NAME, CODE),
    Case("a volume of KubeRay", "template", _mounted("/x", "ray-logs"), "template.volumes[0].name", "KubeRay takes"),
    Case("a mount that leads up", "template", _mounted("/data/../etc"), MOUNT, "mountPath must not have '..' in it"),
    Case(
        "a label of the operator",
        "template.labels",
        {"app.kubernetes.io/managed-by": "me"},
        "",
        "labels: app.kubernetes.io/managed-by is set by the operator",
    ),
    Case("an input that leads up", "input.uri", "/data/../etc/passwd", "", "input.uri must not have '..' in it"),
    Case("an object that leads up", "input.uri", "s3://in-bucket/a/../b", "", "input.uri must not have '..' in it"),
    Case("an output that leads up", "output.uri", "/data/..", "", "output.uri must not have '..' in it"),
    Case("a model that leads up", "model.source", "/data/../m", "", "model.source must not have '..' in it"),
    Case(
        "an adapter that leads up",
        "model.adapters",
        [{"name": "a", "source": "/data/../a"}],
        "model.adapters[0].source",
        "source must not have '..' in it",
    ),
    Case("an input beside the mount", "input.uri", "/data2/rows.jsonl", "", f"input.uri {NOWHERE}"),
    Case("an output under no mount", "output.uri", "/out/", "", f"output.uri {NOWHERE}"),
    Case("a model under no mount", "model.source", "/models/m", "", f"model.source {NOWHERE}"),
    Case("paths without any mount", "template", {}, "input.uri", f"input.uri {NOWHERE}"),
)

ENDPOINTS: tuple[EndpointCase, ...] = (
    EndpointCase(
        "a variable of Serve", "template.env", _env("RAY_SERVE_HTTP_PORT"), "template", "begin with RAY_SERVE_"
    ),
    EndpointCase("a variable of Redis", "template.env", _env("RAY_REDIS_ADDRESS"), "template", "begin with RAY_SERVE_"),
    EndpointCase("a variable of the operator", "template.env", _env("RAY_ADDRESS"), NAME, OURS),
    EndpointCase(
        "the volume of the keys",
        "template",
        _mounted("/x", "tidemill-api-keys"),
        "template",
        "tidemill-api-keys is the",
    ),
    EndpointCase("a model under no mount", "model.source", "/models/m", "", f"model.source {NOWHERE}"),
)

ALLOWED: tuple[Case, ...] = (
    Case("a variable of the user's own", "template.env", _env("HF_HUB_OFFLINE")),
    Case("what tests run instead of vLLM", "template.env", _env("TIDEMILL_ENGINE")),
    Case("where tests have it from", "template.env", _env("PYTHONPATH")),
    Case("a harmless variable", "template.env", _env("PYTHONHASHSEED")),
    Case("an encoding", "template.env", _env("PYTHONIOENCODING")),
    Case("a stage that a program knows", "template.env", _env("ENV")),
    Case("the namespace by the downward API's usual name", "template.env", _env("KUBERNETES_NAMESPACE")),
    Case("an own authority", "template.env", _env("SSL_CERT_FILE")),
    Case("two dots in a name", "input.uri", "/data/rows..jsonl"),
    Case("the mount itself", "output.uri", "/data"),
    Case("a mount with a slash at its end", "template.volumeMounts", [{"name": "data", "mountPath": "/data/"}]),
    Case("a path with two slashes", "input.uri", "/data//rows.jsonl"),
)
"""Taken by the API server. What of it a setting of the operator allows, the operator judges."""
