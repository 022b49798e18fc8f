"""The closed list of pod settings that a user may make: `spec.template` of both kinds.

What is not here cannot be set: no privileged containers, host namespaces, init containers or commands. `hostPath`
is in the schema because the dev cluster uses it; the operator refuses it unless its own setting allows it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from tidemill_api.markers import MemoryQuantity, list_map, rules
from tidemill_api.v1alpha1.common import DNS_LABEL, DNS_SUBDOMAIN, ApiModel
from tidemill_api.v1alpha1.reserved import OUR_LABELS, OUR_VOLUMES, VARIABLE_RULES, no_way_up, not_one_of

LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_LABEL_KEY_MESSAGE = "keys must be label keys such as team or example.com/team"
_OUR_PREFIXES = ("tidemill.dev/", "ray.io/")

LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]


def _require_label_keys(field: str, labels: dict[str, str]) -> None:
    for key in labels:
        if not re.fullmatch(_LABEL_KEY, key):
            raise ValueError(f"{field} {_LABEL_KEY_MESSAGE}, not {key!r}")


def _require_unique(field: str, keys: list[str]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{field}: {key!r} stands more than once")


def _label_keys_rule(field: str) -> tuple[str, str]:
    return f"self.all(key, key.matches('{_LABEL_KEY}'))", f"{field} {_LABEL_KEY_MESSAGE}"


_TOLERATION_RULES = (
    ("self.operator == 'Exists' || (has(self.key) && self.key != '')", "tolerations: with operator Equal, set key"),
    ("self.operator == 'Equal' || !has(self.value) || self.value == ''", "tolerations: with Exists, leave value out"),
)


class Toleration(ApiModel):
    """A Kubernetes toleration."""

    model_config = ConfigDict(json_schema_extra=rules(*_TOLERATION_RULES))

    key: str = Field(default="", max_length=317, description="key of the taint; empty with Exists matches all.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="operator: Exists or Equal.")
    value: str = Field(default="", max_length=63, description="value of the taint, with Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="effect of the taint; empty matches all."
    )

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> Toleration:
        if self.operator == "Equal" and not self.key:
            raise ValueError(_TOLERATION_RULES[0][1])
        if self.operator == "Exists" and self.value:
            raise ValueError(_TOLERATION_RULES[1][1])
        return self


class KeyRef(ApiModel):
    """One key of a Secret or ConfigMap in the job's namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="name of the object in the same namespace."
    )
    key: str = Field(
        min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="key in the object's data."
    )


_VALUE_FROM_MESSAGE = "valueFrom: set exactly one of secretKeyRef and configMapKeyRef"
_ENV_MESSAGE = "env: set exactly one of value and valueFrom"


class EnvVarSource(ApiModel):
    """Where a variable's value comes from: exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.secretKeyRef) != has(self.configMapKeyRef)", _VALUE_FROM_MESSAGE))
    )

    secret_key_ref: KeyRef | None = Field(default=None, description="secretKeyRef names a key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="configMapKeyRef names a key of a ConfigMap.")

    @model_validator(mode="after")
    def _exactly_one(self) -> EnvVarSource:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError(_VALUE_FROM_MESSAGE)
        return self


class EnvVar(ApiModel):
    """An environment variable of head and workers. Secrets by reference only."""

    model_config = ConfigDict(json_schema_extra=rules(("has(self.value) != has(self.valueFrom)", _ENV_MESSAGE)))

    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="name of the variable.",
        json_schema_extra=rules(*VARIABLE_RULES),
    )
    value: str | None = Field(default=None, max_length=4096, description="value in plain text, never a secret.")
    value_from: EnvVarSource | None = Field(default=None, description="valueFrom a Secret or ConfigMap.")

    @model_validator(mode="after")
    def _exactly_one(self) -> EnvVar:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(f"{_ENV_MESSAGE} of {self.name}")
        return self


class ClaimSource(ApiModel):
    """A PersistentVolumeClaim."""

    claim_name: str = Field(
        min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="claimName of a claim in the same namespace."
    )
    read_only: bool = Field(default=False, description="readOnly mounts the claim for reading only.")


class SecretSource(ApiModel):
    """A Secret as files."""

    secret_name: str = Field(
        min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="secretName in the same namespace."
    )


class ConfigMapSource(ApiModel):
    """A ConfigMap as files."""

    name: str = Field(
        min_length=1, max_length=253, pattern=DNS_SUBDOMAIN, description="name of the ConfigMap in the same namespace."
    )


class EmptyDirSource(ApiModel):
    """Scratch space that goes with the pod."""

    size_limit: MemoryQuantity | None = Field(default=None, description="sizeLimit as a quantity, such as 10Gi.")


class HostPathSource(ApiModel):
    """A folder of the node. Refused unless the operator's setting allows it (the dev cluster does)."""

    path: str = Field(min_length=1, max_length=4096, pattern=r"^/", description="path of the folder on the node.")


_VOLUME_MESSAGE = "volumes: set exactly one of persistentVolumeClaim, secret, configMap, emptyDir and hostPath"
_VOLUME_RULE = (
    "[has(self.persistentVolumeClaim), has(self.secret), has(self.configMap), has(self.emptyDir), has(self.hostPath)]"
    ".exists_one(present, present)"
)


class Volume(ApiModel):
    """A volume of head and workers: exactly one source."""

    model_config = ConfigDict(json_schema_extra=rules((_VOLUME_RULE, _VOLUME_MESSAGE)))

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=DNS_LABEL,
        description="name that volumeMounts refer to.",
        json_schema_extra=rules(
            not_one_of(OUR_VOLUMES, "volumes: KubeRay takes this name for its own: choose another")
        ),
    )
    persistent_volume_claim: ClaimSource | None = Field(default=None, description="persistentVolumeClaim to mount.")
    secret: SecretSource | None = Field(default=None, description="secret to mount as files.")
    config_map: ConfigMapSource | None = Field(default=None, description="configMap to mount as files.")
    empty_dir: EmptyDirSource | None = Field(default=None, description="emptyDir for scratch space.")
    host_path: HostPathSource | None = Field(
        default=None, description="hostPath of the node; refused unless the operator allows it."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Volume:
        sources = (self.persistent_volume_claim, self.secret, self.config_map, self.empty_dir, self.host_path)
        if sum(source is not None for source in sources) != 1:
            raise ValueError(f"{_VOLUME_MESSAGE} in {self.name}")
        return self


_SUB_PATH_MESSAGE = "volumeMounts: subPath must be relative and without '..'"
_SUB_PATH_RULE = "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')"


class VolumeMount(ApiModel):
    """Where a volume appears in head and workers."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL, description="name of a volume of this template.")
    mount_path: str = Field(
        min_length=2,
        max_length=1024,
        pattern=r"^/[^:]+$",
        description="mountPath inside the pods, absolute, not / itself.",
        json_schema_extra=rules(no_way_up("volumeMounts: mountPath")),
    )
    read_only: bool = Field(default=False, description="readOnly mounts for reading only.")
    sub_path: str = Field(
        default="",
        max_length=1024,
        description="subPath inside the volume; neither absolute nor with '..'.",
        json_schema_extra=rules((_SUB_PATH_RULE, _SUB_PATH_MESSAGE)),
    )

    @field_validator("sub_path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{_SUB_PATH_MESSAGE}, not {path!r}")
        return path


_OUR_LABELS_MESSAGE = "labels of tidemill.dev/ and ray.io/ are set by the operator: use another key"
_OUR_LABELS_RULE = "!self.exists(key, key.startsWith('tidemill.dev/') || key.startsWith('ray.io/'))"
_MANAGED_BY_RULE = (f"!('{OUR_LABELS[0]}' in self)", f"labels: {OUR_LABELS[0]} is set by the operator: use another key")
_MOUNTS_MESSAGE = "volumeMounts: each name must be the name of a volume in template.volumes"
_MOUNTS_RULE = (
    "!has(self.volumeMounts) || self.volumeMounts.all(mount,"
    " has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))"
)


class PodTemplate(ApiModel):
    """What may be said about the pods of a job or endpoint, and nothing else."""

    model_config = ConfigDict(json_schema_extra=rules((_MOUNTS_RULE, _MOUNTS_MESSAGE)))

    labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="labels of head and workers; tidemill.dev/ and ray.io/ are ours.",
        json_schema_extra=rules(_label_keys_rule("labels"), (_OUR_LABELS_RULE, _OUR_LABELS_MESSAGE), _MANAGED_BY_RULE),
    )
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="nodeSelector of the workers, such as the GPU's model.",
        json_schema_extra=rules(_label_keys_rule("nodeSelector")),
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="tolerations of the workers, such as for spot nodes."
    )
    env: tuple[EnvVar, ...] = Field(
        default=(), max_length=64, description="env of head and workers.", json_schema_extra=list_map("name")
    )
    volumes: tuple[Volume, ...] = Field(
        default=(), max_length=16, description="volumes of head and workers.", json_schema_extra=list_map("name")
    )
    volume_mounts: tuple[VolumeMount, ...] = Field(
        default=(),
        max_length=16,
        description="volumeMounts of head and workers; local URIs must lie under one.",
        json_schema_extra=list_map("mountPath"),
    )
    service_account_name: str = Field(
        default="",
        max_length=253,
        pattern=rf"^$|{DNS_SUBDOMAIN}",
        description="serviceAccountName of head and workers; must be on the operator's list. Default: the namespace's.",
    )

    @field_validator("labels")
    @classmethod
    def _labels_of_the_user(cls, labels: dict[str, str]) -> dict[str, str]:
        _require_label_keys("labels", labels)
        if any(key.startswith(_OUR_PREFIXES) for key in labels):
            raise ValueError(_OUR_LABELS_MESSAGE)
        return labels

    @field_validator("node_selector")
    @classmethod
    def _selector_of_labels(cls, selector: dict[str, str]) -> dict[str, str]:
        _require_label_keys("nodeSelector", selector)
        return selector

    @model_validator(mode="after")
    def _names_told_apart(self) -> PodTemplate:
        _require_unique("env", [variable.name for variable in self.env])
        _require_unique("volumes", [volume.name for volume in self.volumes])
        _require_unique("volumeMounts", [mount.mount_path for mount in self.volume_mounts])
        unknown = {mount.name for mount in self.volume_mounts} - {volume.name for volume in self.volumes}
        if unknown:
            raise ValueError(f"{_MOUNTS_MESSAGE}, not {', '.join(sorted(unknown))}")
        return self
