"""The API types as CustomResourceDefinitions: what is installed, and what an operator compares with it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill_api import GROUP, VERSION
from tidemill_api.markers import VALIDATIONS
from tidemill_api.structural import structural_schema
from tidemill_api.v1alpha1.batch_inference_job import BATCH_INFERENCE_JOB
from tidemill_api.v1alpha1.realtime_endpoint import REALTIME_ENDPOINT

if TYPE_CHECKING:
    from tidemill_api.custom_resource import CustomResource, PrinterColumn, ScaleSubresource

RESOURCES: tuple[CustomResource, ...] = (BATCH_INFERENCE_JOB, REALTIME_ENDPOINT)


def crd(resource: CustomResource) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["tidemill"],
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "shortNames": list(resource.short_names),
                "singular": resource.singular,
            },
            "scope": "Namespaced",
            "versions": [_version(resource)],
        },
    }


def _version(resource: CustomResource) -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
        "schema": {"openAPIV3Schema": _root_schema(resource)},
        "subresources": {"status": {}} | ({"scale": _scale(resource.scale)} if resource.scale else {}),
    }


def _scale(scale: ScaleSubresource) -> dict[str, Any]:
    return {
        "specReplicasPath": scale.spec_replicas_path,
        "statusReplicasPath": scale.status_replicas_path,
        "labelSelectorPath": scale.label_selector_path,
    }


def _column(column: PrinterColumn) -> dict[str, Any]:
    shown = {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.json_path,
    }
    return shown | ({"priority": column.priority} if column.priority else {})


def _root_schema(resource: CustomResource) -> dict[str, Any]:
    spec = structural_schema(resource.spec, defaults=True)
    status = structural_schema(resource.status, defaults=False)
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec | {"description": "spec is what the user asks for."},
            "status": status | {"description": "status is what the operator observes."},
        },
    } | _whole_object_rules(resource)


def _whole_object_rules(resource: CustomResource) -> dict[str, Any]:
    found = [{"rule": of.rule, "message": of.message, "fieldPath": of.field_path} for of in resource.rules]
    return {VALIDATIONS: found} if found else {}
