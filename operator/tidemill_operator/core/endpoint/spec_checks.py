"""What neither the CRD nor the types say about an endpoint's spec: its mounts, and what this operator allows.

Pure and complete: every problem is named at once, each with its field and what to write instead.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tidemill_api.endpoint_contract import API_KEYS_FOLDER
from tidemill_api.v1alpha1.realtime_endpoint import NAME_MESSAGE, valid_name
from tidemill_api.v1alpha1.reserved import ENDPOINT_VARIABLES, ENDPOINT_VOLUMES
from tidemill_operator.core.spec_checks import entry_problems, model_problems, template_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_api.v1alpha1.pod_template import PodTemplate
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
    from tidemill_operator.core.spec_checks import SpecPolicy


def endpoint_problems(name: str, spec: RealtimeEndpointSpec, policy: SpecPolicy) -> tuple[str, ...]:
    """Everything that is wrong with a spec whose fields are right one by one; empty where it may run."""
    return (*lasting_endpoint_problems(name, spec, policy), *entry_problems(spec.template, policy))


def lasting_endpoint_problems(name: str, spec: RealtimeEndpointSpec, policy: SpecPolicy) -> tuple[str, ...]:
    """What is wrong also with a revision that was let in by an earlier release."""
    return (
        *(() if valid_name(name) else (NAME_MESSAGE,)),
        *template_problems(spec.template, policy),
        *model_problems(spec.model, spec.template),
        *_ours(spec.template),
    )


def secrets_of(spec: RealtimeEndpointSpec) -> tuple[str, ...]:
    """The names of the Secrets that have to be there before a pod can start, each once."""
    names: list[str] = []
    if spec.auth is not None:
        names.append(spec.auth.secret_ref.name)
    tolerance = spec.gcs_fault_tolerance
    if tolerance is not None and tolerance.password_secret_ref is not None:
        names.append(tolerance.password_secret_ref.name)
    names += [volume.secret.secret_name for volume in spec.template.volumes if volume.secret is not None]
    sources = [variable.value_from for variable in spec.template.env]
    names += [s.secret_key_ref.name for s in sources if s is not None and s.secret_key_ref is not None]
    return tuple(dict.fromkeys(names))


def _ours(template: PodTemplate) -> Iterator[str]:
    for volume in template.volumes:
        if volume.name in ENDPOINT_VOLUMES:
            yield f"template.volumes: the name {volume.name} is the operator's own; choose another"
    for mount in template.volume_mounts:
        if PurePosixPath(mount.mount_path).is_relative_to(PurePosixPath(API_KEYS_FOLDER).parent):
            yield f"template.volumeMounts: {mount.mount_path} lies where the API keys are mounted; choose another path"
    for variable in template.env:
        if variable.name.startswith(ENDPOINT_VARIABLES):
            yield f"template.env: {variable.name} is set by the operator; remove it"
