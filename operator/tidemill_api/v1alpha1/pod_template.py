"""The closed list of pod settings that a user may make: `spec.template` of both kinds.

What is not here cannot be set: no privileged containers, host namespaces, init containers or commands. `hostPath`
is in the schema because the dev cluster uses it; the operator refuses it unless its own setting allows it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tidemill_api.v1alpha1.common import DNS_LABEL, ApiModel


class Toleration(ApiModel):
    """A Kubernetes toleration."""

    key: str = Field(default="", max_length=317, description="key of the taint; empty with Exists matches all.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="operator: Exists or Equal.")
    value: str = Field(default="", max_length=63, description="value of the taint, with Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="effect of the taint; empty matches all."
    )


class KeyRef(ApiModel):
    """One key of a Secret or ConfigMap in the job's namespace."""

    name: str = Field(min_length=1, max_length=253, description="name of the object in the same namespace.")
    key: str = Field(min_length=1, max_length=253, description="key in the object's data.")


class EnvVarSource(ApiModel):
    """Where a variable's value comes from: exactly one of the two."""

    secret_key_ref: KeyRef | None = Field(default=None, description="secretKeyRef names a key of a Secret.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="configMapKeyRef names a key of a ConfigMap.")

    @model_validator(mode="after")
    def _exactly_one(self) -> EnvVarSource:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("set exactly one of secretKeyRef and configMapKeyRef")
        return self


class EnvVar(ApiModel):
    """An environment variable of head and workers. Secrets by reference only."""

    name: str = Field(
        min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="name of the variable."
    )
    value: str | None = Field(default=None, max_length=4096, description="value in plain text, never a secret.")
    value_from: EnvVarSource | None = Field(default=None, description="valueFrom a Secret or ConfigMap.")

    @model_validator(mode="after")
    def _exactly_one(self) -> EnvVar:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(f"env {self.name}: set exactly one of value and valueFrom")
        return self


class ClaimSource(ApiModel):
    """A PersistentVolumeClaim."""

    claim_name: str = Field(min_length=1, max_length=253, description="claimName of a claim in the same namespace.")
    read_only: bool = Field(default=False, description="readOnly mounts the claim for reading only.")


class SecretSource(ApiModel):
    """A Secret as files."""

    secret_name: str = Field(min_length=1, max_length=253, description="secretName in the same namespace.")


class ConfigMapSource(ApiModel):
    """A ConfigMap as files."""

    name: str = Field(min_length=1, max_length=253, description="name of the ConfigMap in the same namespace.")


class EmptyDirSource(ApiModel):
    """Scratch space that goes with the pod."""

    size_limit: str | None = Field(default=None, max_length=20, description="sizeLimit as a quantity, such as 10Gi.")


class HostPathSource(ApiModel):
    """A folder of the node. Refused unless the operator's setting allows it (the dev cluster does)."""

    path: str = Field(min_length=1, max_length=4096, pattern=r"^/", description="path of the folder on the node.")


class Volume(ApiModel):
    """A volume of head and workers: exactly one source."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL, description="name that volumeMounts refer to.")
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
            raise ValueError(
                f"volume {self.name}: set exactly one of persistentVolumeClaim, secret, configMap, emptyDir, hostPath"
            )
        return self


class VolumeMount(ApiModel):
    """Where a volume appears in head and workers."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL, description="name of a volume of this template.")
    mount_path: str = Field(min_length=1, max_length=1024, pattern=r"^/", description="mountPath inside the pods.")
    read_only: bool = Field(default=False, description="readOnly mounts for reading only.")
    sub_path: str = Field(
        default="", max_length=1024, description="subPath inside the volume; neither absolute nor with '..'."
    )


class PodTemplate(ApiModel):
    """What may be said about the pods of a job or endpoint, and nothing else."""

    labels: dict[str, str] = Field(
        default_factory=dict,
        max_length=32,
        description="labels of head and workers; tidemill.dev/ and ray.io/ are ours.",
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        max_length=32,
        description="nodeSelector of the workers, such as the GPU's model.",
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="tolerations of the workers, such as for spot nodes."
    )
    env: tuple[EnvVar, ...] = Field(default=(), max_length=64, description="env of head and workers.")
    volumes: tuple[Volume, ...] = Field(default=(), max_length=16, description="volumes of head and workers.")
    volume_mounts: tuple[VolumeMount, ...] = Field(
        default=(),
        max_length=16,
        description="volumeMounts of head and workers; local URIs must lie under one.",
    )
    service_account_name: str = Field(
        default="",
        max_length=253,
        description="serviceAccountName of head and workers; must be on the operator's list. Default: the namespace's.",
    )
