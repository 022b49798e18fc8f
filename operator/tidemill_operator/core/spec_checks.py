"""What the types do not say about a spec: how its URIs fit its mounts, what is reserved, what this operator allows.

The CRD refuses the plain cases of it (`tidemill_api/v1alpha1/reserved.py`); here are all, and objects stored before.

Pure and complete: every problem is named at once, each with its field and what to write instead. Some are asked only
of what has not begun (`entry_problems`): a rule that comes with a release ends no work that an earlier one let in.
Refuses to look at files: whether a path exists is found out by the driver, where the path is mounted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tidemill_api.job_contract import ENGINE_VARIABLE
from tidemill_api.v1alpha1.reserved import (
    OUR_LABELS,
    OUR_PREFIX,
    OUR_VARIABLES,
    OUR_VOLUMES,
    TEST_CODE,
    TEST_PREFIX,
)
from tidemill_api.v1alpha1.uris import public
from tidemill_operator.core.code_guards import hides_the_system, loads_code
from tidemill_operator.core.spec_limits import A_NUL, NUL, job_limit_problems, template_limit_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.common import ModelSpec
    from tidemill_api.v1alpha1.pod_template import PodTemplate, Volume, VolumeMount


@dataclass(frozen=True)
class SpecPolicy:
    """What the platform team allows on this cluster."""

    allow_host_path: bool = False
    service_accounts: tuple[str, ...] = ()
    allow_test_engine: bool = False
    elastic_jobs: bool = False  # RayClusters with a Kueue queue are elastic jobs of Kueue's


def problems(spec: BatchInferenceJobSpec, policy: SpecPolicy) -> tuple[str, ...]:
    """Everything that is wrong with a spec whose fields are right one by one; empty where it may run."""
    return (*lasting_problems(spec, policy), *job_entry_problems(spec, policy))


def lasting_problems(spec: BatchInferenceJobSpec, policy: SpecPolicy) -> tuple[str, ...]:
    """What ends a job also where it has begun."""
    return (*template_problems(spec.template, policy), *_uri_problems(spec))


def job_entry_problems(spec: BatchInferenceJobSpec, policy: SpecPolicy) -> tuple[str, ...]:
    """What keeps a job from beginning, and does not end one that has begun."""
    return (*entry_problems(spec.template, policy), *job_limit_problems(spec))


def template_problems(template: PodTemplate, policy: SpecPolicy) -> tuple[str, ...]:
    """What is wrong with the pods' settings of either kind, also where they run."""
    return (
        *_volume_problems(template, policy),
        *_mount_problems(template),
        *_variable_problems(template, policy),
        *_label_problems(template),
        *_account_problems(template, policy),
    )


def entry_problems(template: PodTemplate, policy: SpecPolicy) -> tuple[str, ...]:
    """What is wrong with the pods' settings of either kind by rules that objects of earlier releases did not meet."""
    return (*_code_problems(template, policy), *template_limit_problems(template))


def local_path(uri: str) -> str | None:
    """The path of a local URI as the driver reads it; None for any other.

    `/x` is taken as it is written, in `file:///x` and `file://localhost/x` %-escapes are decoded (RFC 8089).
    """
    scheme, marked, rest = uri.partition("://")
    if not marked or scheme.lower() != "file":
        return uri if uri.startswith("/") else None
    host, slash, below = rest.partition("/")
    return unquote(slash + below) if slash and host in ("", "localhost") else None


def same_folder(one: str, other: str) -> bool:
    """Whether two URIs name the same folder, however they are written."""
    return _plain_folder(one) == _plain_folder(other)


def _plain_folder(uri: str) -> str:
    path = local_path(uri)
    return uri.rstrip("/") if path is None else str(PurePosixPath(path))


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _volume_problems(template: PodTemplate, policy: SpecPolicy) -> Iterator[str]:
    for volume in template.volumes:
        if volume.name in OUR_VOLUMES:
            yield f"template.volumes: the name {volume.name} is taken by KubeRay; choose another"
        if volume.host_path is not None and not policy.allow_host_path:
            yield (
                f"template.volumes: {volume.name} is a hostPath, which this operator does not allow; use a"
                " persistentVolumeClaim (or set TIDEMILL_ALLOW_HOST_PATH on the operator)"
            )


def _mount_problems(template: PodTemplate) -> Iterator[str]:
    for path in _twice(str(PurePosixPath(mount.mount_path)) for mount in template.volume_mounts):
        yield f"template.volumeMounts: {path} is mounted twice; give each mount its own mountPath"
    for mount in template.volume_mounts:
        if _leads_up(mount.mount_path):
            yield f"template.volumeMounts: mountPath {mount.mount_path} must have neither '..' nor ':'"


def _leads_up(mount_path: str) -> bool:
    return ".." in PurePosixPath(mount_path).parts or ":" in mount_path


def _variable_problems(template: PodTemplate, policy: SpecPolicy) -> Iterator[str]:
    for name in (variable.name for variable in template.env):
        if name in OUR_VARIABLES:
            yield f"template.env: {name} is set by the operator; remove it"
        elif name.startswith(OUR_PREFIX) and not (policy.allow_test_engine and _for_tests(name)):
            yield f"template.env: {name} begins with {OUR_PREFIX}, which is the operator's own; remove or rename it"


def _code_problems(template: PodTemplate, policy: SpecPolicy) -> Iterator[str]:
    """Mounts and variables that bring other code than the image's; see `code_guards.py`."""
    for path in (mount.mount_path for mount in template.volume_mounts):
        if not _leads_up(path) and hides_the_system(path):
            yield (
                f"template.volumeMounts: {path} is a folder of the image's system; mount the volume at one of your own,"
                " such as /data"
            )
    for name in (variable.name for variable in template.env if variable.name not in OUR_VARIABLES):
        if loads_code(name) and not (policy.allow_test_engine and name == TEST_CODE):
            yield f"template.env: {name} says which code is run or whom it trusts; put that into an image of your own"


def _for_tests(variable: str) -> bool:
    """Whether a variable gives tests another engine than vLLM, or tells that engine what to do."""
    return variable == ENGINE_VARIABLE or variable.startswith(TEST_PREFIX)


def _label_problems(template: PodTemplate) -> Iterator[str]:
    for key in template.labels:
        if key in OUR_LABELS:
            yield f"template.labels: {key} is set by the operator; choose another key"


def _account_problems(template: PodTemplate, policy: SpecPolicy) -> Iterator[str]:
    name = template.service_account_name
    if name and name not in policy.service_accounts:
        allowed = ", ".join(policy.service_accounts) or "none"
        yield (
            f"template.serviceAccountName: {name} is not on the operator's list (allowed: {allowed}); leave it out, or"
            " add it to TIDEMILL_ALLOWED_SERVICE_ACCOUNTS on the operator"
        )


def _uri_problems(spec: BatchInferenceJobSpec) -> Iterator[str]:
    for field, uri in (("input.uri", spec.input.uri), ("output.uri", spec.output.uri)):
        yield from place_problems(field, uri, spec.template)
    yield from model_problems(spec.model, spec.template)


def model_problems(model: ModelSpec, template: PodTemplate) -> Iterator[str]:
    """What is wrong with where the model and its adapters are said to be, of either kind."""
    yield from place_problems("model.source", model.source, template)
    for adapter in model.adapters:
        yield from place_problems(f"model.adapters[{adapter.name}].source", adapter.source, template)


def place_problems(field: str, uri: str, template: PodTemplate) -> Iterator[str]:
    """What is wrong with a path or URI of this field, given the mounts."""
    path = local_path(uri)
    named = uri if path is None else path
    if NUL in named:
        yield f"{field}: {public(uri)!r} has {A_NUL}"
    elif ".." in PurePosixPath(named).parts:
        yield f"{field}: {public(named)} must not have '..' in it"
    elif path is not None:
        yield from _mounting_problems(field, path, template)


def _mounting_problems(field: str, path: str, template: PodTemplate) -> Iterator[str]:
    mount = _mount_of(path, template)
    if mount is None:
        mounts = ", ".join(m.mount_path for m in template.volume_mounts) or "none"
        yield f"{field}: {path} lies under no mount of the template (template.volumeMounts: {mounts})"
    elif field == "output.uri" and (why := _not_for_output(mount, template)):
        yield f"output.uri: {path} lies on {mount.name}, which {why}"


def _mount_of(path: str, template: PodTemplate) -> VolumeMount | None:
    """The innermost mount over this path."""
    holding = [m for m in template.volume_mounts if PurePosixPath(path).is_relative_to(m.mount_path)]
    return max(holding, key=lambda m: len(PurePosixPath(m.mount_path).parts), default=None)


def _not_for_output(mount: VolumeMount, template: PodTemplate) -> str:
    """Why results cannot be written there; empty where they can."""
    if mount.read_only:
        return "is mounted readOnly"
    volume: Volume | None = next((v for v in template.volumes if v.name == mount.name), None)
    if volume is None:
        return ""
    if volume.empty_dir is not None:
        return "is an emptyDir and goes with its pod"
    if volume.secret is not None or volume.config_map is not None:
        return "is a Secret or ConfigMap and cannot be written"
    if volume.persistent_volume_claim is not None and volume.persistent_volume_claim.read_only:
        return "is claimed readOnly"
    return ""
