"""The API types as CustomResourceDefinitions: `python -m tidemill_api.crdgen [--check] [--out FOLDER]`.

Writes one file per kind, to be committed, into `crds/` and into the Helm chart, whose template adds Helm's own marks.
`--check` writes nothing and fails where a file differs. Refuses to be imported by the operator: it is a tool of
developers, and the only module of the contract that touches files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tidemill_api import GROUP, VERSION
from tidemill_api.markers import VALIDATIONS
from tidemill_api.structural import structural_schema
from tidemill_api.v1alpha1.batch_inference_job import BATCH_INFERENCE_JOB
from tidemill_api.v1alpha1.realtime_endpoint import REALTIME_ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill_api.custom_resource import CustomResource, PrinterColumn, ScaleSubresource

RESOURCES: tuple[CustomResource, ...] = (BATCH_INFERENCE_JOB, REALTIME_ENDPOINT)
OUTPUT_FOLDERS = ("crds", "charts/tidemill/files/crds")
_HEADER = "# Generated from operator/tidemill_api by `python -m tidemill_api.crdgen`; do not edit.\n"


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


class _Dumper(yaml.SafeDumper):
    """YAML with list items indented below their key, and without anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def rendered() -> dict[str, str]:
    """File name -> text of each CRD."""
    return {
        f"{GROUP}_{resource.plural}.yaml": _HEADER
        + yaml.dump(crd(resource), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for resource in RESOURCES
    }


def stale_files(folder: Path, wanted: Mapping[str, str]) -> list[Path]:
    """Files of the folder that are missing, differ, or are generated no more."""
    missing = [folder / name for name, text in wanted.items() if _text_of(folder / name) != text]
    return missing + [path for path in sorted(folder.glob(f"{GROUP}_*.yaml")) if path.name not in wanted]


def _text_of(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the CRDs, or with --check say which are stale; the exit code is 1 where one is."""
    parser = argparse.ArgumentParser(prog="python -m tidemill_api.crdgen", description="Write the CRDs from the types.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    parser.add_argument("--out", action="append", metavar="FOLDER", help=f"default: {' and '.join(OUTPUT_FOLDERS)}")
    options = parser.parse_args(arguments)
    wanted = rendered()
    stale = [path for folder in options.out or OUTPUT_FOLDERS for path in stale_files(Path(folder), wanted)]
    for path in stale:
        if options.check:
            sys.stderr.write(f"{path} is not what the types say: run python -m tidemill_api.crdgen\n")
        elif path.name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path.name], encoding="utf-8")
        else:
            path.unlink()
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
