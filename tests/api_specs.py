"""Specs of a BatchInferenceJob, good and bad: one table for the types (pydantic) and for the CRD on an API server.

A case changes one field of `SPEC`, so that its name says what is wrong, and its message what the user is told.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]

SPEC: Spec = {
    "model": {"name": "smollm2", "source": "/data/models/smollm2"},
    "input": {"uri": "/data/input/rows.jsonl"},
    "output": {"uri": "/data/output/tickets/"},
    "template": {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    },
}
"""The smallest spec that is of use."""

ABSENT = object()
"""As a value: the field is left out."""


@dataclass(frozen=True)
class Case:
    """`SPEC` with the field at `path` (dotted) set to `value`; for a bad one, where the fault is and what is said.

    `field` is the path in an API error, `path` where it is empty. `message` is what types and CRD say alike; empty
    for plain bounds, which each of them words in its own way.
    """

    name: str
    path: str
    value: Any
    field: str = ""
    message: str = ""

    @property
    def spec(self) -> Spec:
        """The changed spec; of a job that may wait where its hours are the matter, and not that it has them."""
        waits = self.path == "cheaperHours" and self.message != HOURS
        return changed(SPEC | ({"schedule": "LatestSafe"} if waits else {}), self.path, self.value)

    @property
    def at(self) -> str:
        """Path of the fault below spec, as in `workers.min` or `template.env[0]`."""
        return self.field or self.path


def changed(spec: Spec, path: str, value: Any) -> Spec:
    """A copy with the field at the dotted path set, or taken away for ABSENT."""
    result = deepcopy(spec)
    *parents, last = path.split(".")
    target = result
    for name in parents:
        target = target.setdefault(name, {})
    if value is ABSENT:
        target.pop(last, None)
    else:
        target[last] = value
    return result


NIGHT: Spec = {"start": "22:00", "end": "06:00", "priceFactor": "0.40"}


def _adapter(name: str, source: str = "/models/adapter") -> Spec:
    return {"name": name, "source": source}


def _volume(**source: Any) -> list[Spec]:
    return [{"name": "data", **source}]


WINDOW = "completionWindow must be 5m to 14d, such as 30m, 4h or 1d12h"
TARGET = "targetCompletion must be 1m to 14d, such as 30m, 4h or 1d12h"
HOURS = "cheaperHours needs schedule: LatestSafe"
LATE_TARGET = "targetCompletion must not be longer than completionWindow"
INPUT = "input.uri must be a file"
OUTPUT = "output.uri must be a folder"
SOURCE = "model.source must be a path such as /models/smollm2 or a hub id"
ADAPTER = "model.adapters: source must be a path such as /adapters/support or a hub id"
ADAPTER_NAME = "model.adapters: an adapter must have another name than the model"
VOLUME = "volumes: set exactly one of persistentVolumeClaim, secret, configMap, emptyDir and hostPath"
SUB_PATH = "volumeMounts: subPath must be relative and without '..'"
ENV = "env: set exactly one of value and valueFrom"
LABELS = "labels keys must be label keys"
OURS = "labels of tidemill.dev/ and ray.io/ are set by the operator"

BAD: tuple[Case, ...] = (
    Case("a model is missing", "model", ABSENT),
    Case("an input is missing", "input", ABSENT),
    Case("an output is missing", "output", ABSENT),
    Case("a model without a source", "model", {"name": "m"}, "model.source"),
    Case("a model name of odd characters", "model.name", "smol lm"),
    Case("a model name that is too long", "model.name", "m" * 254),
    Case("a source in an object store", "model.source", "s3://models/smollm2", "", SOURCE),
    Case("a relative source", "model.source", "./smollm2", "", SOURCE),
    Case("a hub id of three parts", "model.source", "a/b/c", "", SOURCE),
    Case("an adapter without a source", "model.adapters", [{"name": "a"}], "model.adapters[0].source"),
    Case("an adapter of odd characters", "model.adapters", [_adapter("a b")], "model.adapters[0].name"),
    Case("an adapter in a bucket", "model.adapters", [_adapter("a", "s3://a/b")], "model.adapters[0].source", ADAPTER),
    Case("an adapter of the model's name", "model.adapters", [_adapter("smollm2")], "model", ADAPTER_NAME),
    Case("too many adapters", "model.adapters", [_adapter(f"a{n}") for n in range(65)]),
    Case("an unknown dtype", "model.engineArgs.dtype", "int3"),
    Case("no sequences at all", "model.engineArgs.maxNumSeqs", 0),
    Case("more GPU memory than there is", "model.engineArgs.gpuMemoryUtilizationPercent", 99),
    Case("an unknown parser of tool calls", "model.engineArgs.toolCallParser", "magic"),
    Case("an unknown quantization", "model.engineArgs.quantization", "magic"),
    Case("an input that is a bucket", "input.uri", "s3://in-bucket", "", INPUT),
    Case("an input that is the root of a bucket", "input.uri", "s3://in-bucket/", "", INPUT),
    Case("an input in a prefix", "input.uri", "gs://in-bucket/rows/", "", INPUT),
    Case("an input in a bucket with capitals", "input.uri", "s3://InBucket/rows.jsonl", "", INPUT),
    Case("an input with an empty first part of its key", "input.uri", "s3://in-bucket//rows.jsonl", "", INPUT),
    Case("an input of a scheme in capitals", "input.uri", "S3://in-bucket/rows.jsonl", "", INPUT),
    Case("an input of an unknown scheme", "input.uri", "ftp://host/rows.jsonl", "", INPUT),
    Case("an input of a host alone", "input.uri", "https://example.com", "", INPUT),
    Case("an input with a password", "input.uri", "https://me:secret@example.com/rows.jsonl", "", INPUT),
    Case("an input of no host", "input.uri", "http:///rows.jsonl", "", INPUT),
    Case("a word about bad lines that is none", "input.onInvalid", "Ignore"),
    Case("an input that is a folder", "input.uri", "/data/input/", "", INPUT),
    Case("a relative input", "input.uri", "rows.jsonl", "", INPUT),
    Case("an input of another host", "input.uri", "file://host/rows.jsonl", "", INPUT),
    Case("a compressed input", "input.uri", "/data/rows.jsonl.gz", "", "decompress it to plain JSONL first"),
    Case("a compressed object", "input.uri", "s3://in-bucket/rows.tgz", "", "decompress it to plain JSONL first"),
    Case(
        "a compressed download", "input.uri", "https://example.com/rows.jsonl.zst?sig=1", "", "decompress it to plain"
    ),
    Case("an input with an endless path", "input.uri", "/" + "a" * 2048),
    Case("a relative output", "output.uri", "out/", "", OUTPUT),
    Case("an output that is a whole bucket", "output.uri", "gs://out-bucket/", "", OUTPUT),
    Case("an output on a web server", "output.uri", "https://example.com/out/", "", OUTPUT),
    Case("no try at all", "retry.maxAttempts", 0),
    Case("eleven tries", "retry.maxAttempts", 11),
    Case("a wait below zero", "retry.backoffSeconds", -1),
    Case("a wait of more than five minutes", "retry.backoffSeconds", 301),
    Case("fewer failed rows than none", "maxFailedRows", -1),
    Case("a share of the rows", "maxFailedRows", "5%"),
    Case("suspended by a word", "suspend", "true"),
    Case("cancelled by a number", "cancel", 1),
    Case("a job of another namespace", "resubmitOf", "team-b/tickets"),
    Case("a job's name in capitals", "resubmitOf", "Tickets"),
    Case("a job's name that is too long", "resubmitOf", "t" * 254),
    Case("a window of a word", "completionWindow", "soon"),
    Case("a window without a unit", "completionWindow", "24"),
    Case("an empty window", "completionWindow", ""),
    Case("a window of seconds", "completionWindow", "3600s"),
    Case("a window below five minutes", "completionWindow", "4m", "", WINDOW),
    Case("a window of nothing", "completionWindow", "0h"),
    Case("a window above fourteen days", "completionWindow", "15d", "", WINDOW),
    Case("a window just above fourteen days", "completionWindow", "336h1m", "", WINDOW),
    Case("a window of days and too many hours", "completionWindow", "1d24h", "", WINDOW),
    Case("a window of days and too many minutes", "completionWindow", "1d60m", "", WINDOW),
    Case("a target of seconds", "targetCompletion", "90s"),
    Case("a target of no time", "targetCompletion", "0m"),
    Case("a target above fourteen days", "targetCompletion", "14d1h", "", TARGET),
    Case("a target beyond the window of eight hours", "targetCompletion", "9h", "", LATE_TARGET),
    Case("a target beyond the window by a minute", "targetCompletion", "481m", "", LATE_TARGET),
    Case("a target of days beyond the window", "targetCompletion", "1d", "", LATE_TARGET),
    Case("a schedule of another word", "schedule", "Nightly"),
    Case("a word for the deadline that is none", "onDeadline", "Ignore"),
    Case("cheaper hours of a job that does not wait", "cheaperHours", [NIGHT], "", HOURS),
    Case("cheaper hours without a price", "cheaperHours", [NIGHT | {"priceFactor": ""}], "cheaperHours[0].priceFactor"),
    Case("hours that cost more", "cheaperHours", [NIGHT | {"priceFactor": "1.2"}], "cheaperHours[0].priceFactor"),
    Case("hours that cost nothing", "cheaperHours", [NIGHT | {"priceFactor": "0.00"}], "cheaperHours[0].priceFactor"),
    Case("a price as a number", "cheaperHours", [NIGHT | {"priceFactor": 0.4}], "cheaperHours[0].priceFactor"),
    Case("cheaper hours from 24:00", "cheaperHours", [NIGHT | {"start": "24:00"}], "cheaperHours[0].start"),
    Case("cheaper hours to six", "cheaperHours", [NIGHT | {"end": "6:00"}], "cheaperHours[0].end"),
    Case(
        "cheaper hours of no length",
        "cheaperHours",
        [NIGHT | {"end": "22:00"}],
        "cheaperHours[0]",
        "cheaperHours: end must be another time than start",
    ),
    Case("a zone with a blank", "cheaperHours", [NIGHT | {"timeZone": "My Town"}], "cheaperHours[0].timeZone"),
    Case("too many cheaper hours", "cheaperHours", [NIGHT] * 9),
    Case("more workers at least than at most", "workers", {"min": 3, "max": 2}, "", "workers.min must not be above"),
    Case("more workers at least than by default at most", "workers", {"min": 2}, "", "workers.min must not be above"),
    Case("less than no worker", "workers.min", -1),
    Case("no worker at all", "workers.max", 0),
    Case("too many workers", "workers.max", 1001),
    Case("a share of a worker", "workers.max", 1.5),
    Case("too many GPUs", "resources.gpu", 17),
    Case("a device that is none", "resources.gpuResourceName", "gpu"),
    Case("no CPU", "resources.cpu", "0"),
    Case("no CPU as a number", "resources.cpu", 0),
    Case("a CPU of a word", "resources.cpu", "two"),
    Case("milli-bytes of memory", "resources.memory", "4000m"),
    Case("memory without a number", "resources.memory", "Gi"),
    Case("a head of no memory", "head.memory", "0Gi"),
    Case("an image with a blank", "image", "registry/image :1"),
    Case("a time to live below zero", "ttlSecondsAfterFinished", -1),
    Case("a time to live of a year and a day", "ttlSecondsAfterFinished", 31_622_400),
    Case("a variable with a dash", "template.env", [{"name": "A-B", "value": "1"}], "template.env[0].name"),
    Case("a variable without a value", "template.env", [{"name": "A"}], "template.env[0]", ENV),
    Case(
        "a variable with two values",
        "template.env",
        [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "template.env[0]",
        ENV,
    ),
    Case(
        "a variable from nowhere",
        "template.env",
        [{"name": "A", "valueFrom": {}}],
        "template.env[0].valueFrom",
        "valueFrom: set exactly one of secretKeyRef and configMapKeyRef",
    ),
    Case("a volume without a source", "template.volumes", _volume(), "template.volumes[0]", VOLUME),
    Case(
        "a volume of two sources",
        "template.volumes",
        _volume(emptyDir={}, secret={"secretName": "s"}),
        "template.volumes[0]",
        VOLUME,
    ),
    Case(
        "a volume with a capital",
        "template.volumes",
        [*SPEC["template"]["volumes"], {"name": "Data", "emptyDir": {}}],
        "template.volumes[1].name",
    ),
    Case(
        "a claim with an odd name",
        "template.volumes",
        _volume(persistentVolumeClaim={"claimName": "My_Claim"}),
        "template.volumes[0].persistentVolumeClaim.claimName",
    ),
    Case(
        "a node's folder by a relative path",
        "template.volumes",
        _volume(hostPath={"path": "data"}),
        "template.volumes[0].hostPath.path",
    ),
    Case(
        "a mount of no volume",
        "template.volumeMounts",
        [{"name": "models", "mountPath": "/models"}],
        "template",
        "volumeMounts: each name must be the name of a volume in template.volumes",
    ),
    Case("mounts without any volume", "template.volumes", ABSENT, "template", "volumeMounts: each name must be"),
    Case(
        "a mount over everything",
        "template.volumeMounts",
        [{"name": "data", "mountPath": "/"}],
        "template.volumeMounts[0].mountPath",
    ),
    Case(
        "a mount that climbs out",
        "template.volumeMounts",
        [{"name": "data", "mountPath": "/data", "subPath": "a/../../b"}],
        "template.volumeMounts[0].subPath",
        SUB_PATH,
    ),
    Case(
        "a mount of an absolute path of the volume",
        "template.volumeMounts",
        [{"name": "data", "mountPath": "/data", "subPath": "/etc"}],
        "template.volumeMounts[0].subPath",
        SUB_PATH,
    ),
    Case("a label that is ours", "template.labels", {"tidemill.dev/role": "head"}, "", OURS),
    Case("a label that is Ray's", "template.labels", {"ray.io/cluster": "mine"}, "", OURS),
    Case("a label key with a blank", "template.labels", {"my team": "a"}, "", LABELS),
    Case("a label key that is too long", "template.labels", {"k" * 64: "a"}, "", LABELS),
    Case("a label value with a blank", "template.labels", {"team": "a b"}, "template.labels.team"),
    Case("a label value that is too long", "template.labels", {"team": "a" * 64}, "template.labels.team"),
    Case("a selector key that is none", "template.nodeSelector", {"-gpu": "a"}, "", "nodeSelector keys must be"),
    Case(
        "a toleration of no key",
        "template.tolerations",
        [{"value": "spot"}],
        "template.tolerations[0]",
        "tolerations: with operator Equal, set key",
    ),
    Case(
        "a toleration of any value with a value",
        "template.tolerations",
        [{"key": "spot", "operator": "Exists", "value": "true"}],
        "template.tolerations[0]",
        "tolerations: with Exists, leave value out",
    ),
    Case("an odd service account", "template.serviceAccountName", "Me!"),
)

UNKNOWN: tuple[Case, ...] = (
    Case("an unknown field", "priority", 3),
    Case("an unknown engine argument", "model.engineArgs.trustRemoteCode", True),
    Case("a privileged pod", "template.privileged", True),
)
"""Refused by the types, and by an API server under strict field validation, which is kubectl's own default."""

DOUBLED: tuple[Case, ...] = (
    Case("an adapter that stands twice", "model.adapters", [_adapter("a"), _adapter("a", "/b")], "model.adapters[1]"),
    Case(
        "a variable that stands twice",
        "template.env",
        [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        "template.env[1]",
    ),
    Case(
        "a volume that stands twice",
        "template.volumes",
        [*_volume(emptyDir={}), *_volume(emptyDir={})],
        "template.volumes[1]",
    ),
    Case(
        "two volumes in one place",
        "template.volumeMounts",
        [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/data", "subPath": "a"}],
        "template.volumeMounts[1]",
    ),
)
"""Refused by the types, and by an API server as duplicates in a list of `listType: map`."""

GOOD: tuple[Case, ...] = (
    Case("the smallest spec", "workers", ABSENT),
    *(Case(f"a window of {text}", "completionWindow", text) for text in ("5m", "90m", "4h", "1d12h", "14d", "336h")),
    *(Case(f"a window of {text}", "completionWindow", text) for text in ("13d23h59m", "20160m", "2h90m")),
    *(Case(f"a target of {text}", "targetCompletion", text) for text in ("1m", "90m", "8h", "7h60m", "480m")),
    Case("work at the latest safe hour", "schedule", "LatestSafe"),
    Case("work past the window", "onDeadline", "Continue"),
    Case("no cheaper hours", "cheaperHours", []),
    Case("cheaper nights", "cheaperHours", [NIGHT, NIGHT | {"timeZone": "Europe/Berlin", "priceFactor": "0.5"}]),
    Case("a file by its URL", "input.uri", "file:///data/input/rows.jsonl"),
    Case("an object", "input.uri", "s3://in-bucket.eu/2026/rows of today.jsonl"),
    Case("an object of another store", "input.uri", "gs://in_bucket/rows.jsonl"),
    Case("a download with a port and a query", "input.uri", "http://files.team-a.svc:8080/rows.jsonl?day=1"),
    Case("a secure download", "input.uri", "https://example.com/rows.jsonl"),
    Case("a path with a question mark", "input.uri", "/data/rows.gz?/rows.jsonl"),
    Case("an output in a prefix", "output.uri", "s3://out-bucket/tickets/"),
    Case("an output in a prefix of another store without a slash", "output.uri", "gs://out-bucket/tickets"),
    Case("bad lines skipped", "input.onInvalid", "Skip"),
    Case("one try and no wait", "retry", {"maxAttempts": 1, "backoffSeconds": 0}),
    Case("no failed row allowed", "maxFailedRows", 0),
    Case("suspended from the start", "suspend", True),
    Case("cancelled from the start", "cancel", True),
    Case("the rest of another job", "resubmitOf", "tickets.of-january"),
    Case("the rest of no job", "resubmitOf", ""),
    Case("an output without a slash at its end", "output.uri", "/data/output"),
    Case("a hub id", "model.source", "Qwen/Qwen3-8B"),
    Case("a hub id without an owner", "model.source", "gpt2"),
    Case("adapters", "model.adapters", [_adapter("a"), _adapter("team/b.v1", "org/adapter")]),
    Case("a parser of tool calls", "model.engineArgs.toolCallParser", "qwen3_coder"),
    Case("an old model name with slashes", "model.name", "org/model.v1"),
    Case("as many workers at least as at most", "workers", {"min": 4, "max": 4}),
    Case("a slice of a GPU", "resources", {"gpu": 1, "gpuResourceName": "nvidia.com/mig-1g.10gb"}),
    Case("CPUs as a number", "resources.cpu", 4),
    Case("half a CPU", "resources.cpu", "500m"),
    Case("half a CPU as a fraction", "resources.cpu", "0.5"),
    Case("memory as bytes", "resources.memory", 8_589_934_592),
    Case("memory in decimal units", "head.memory", "1.5G"),
    Case("a job deleted at once", "ttlSecondsAfterFinished", 0),
    Case("an image by its digest", "image", "registry.example.com/team/image@sha256:" + "a" * 64),
    Case("labels", "template.labels", {"team": "search", "example.com/cost-centre": "4410", "empty": ""}),
    Case(
        "variables of every source",
        "template.env",
        [
            {"name": "A", "value": ""},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "hub.token"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "proxies", "key": "https"}}},
        ],
    ),
    Case(
        "volumes of every source",
        "template.volumes",
        [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
            {"name": "b", "secret": {"secretName": "keys"}},
            {"name": "c", "configMap": {"name": "settings"}},
            {"name": "d", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "e", "hostPath": {"path": "/mnt/models"}},
        ],
    ),
    Case(
        "one volume in two places",
        "template.volumeMounts",
        [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/models", "subPath": "a/..b/c"}],
    ),
    Case(
        "tolerations",
        "template.tolerations",
        [{"operator": "Exists"}, {"key": "spot", "value": "true", "effect": "NoSchedule"}],
    ),
    Case("a service account", "template.serviceAccountName", "batch.reader"),
)
