"""The API types as CustomResourceDefinitions: `python -m tidemill_api.crdgen [--check] [--out FOLDER]`.

Writes one file per kind, to be committed, into `crds/` and into the Helm chart, whose template adds Helm's own marks.
`--check` writes nothing and fails where a file differs. Refuses to be imported by the operator: it is a tool of
developers, and the only module of the contract that touches files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tidemill_api import GROUP
from tidemill_api.definitions import RESOURCES, crd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTPUT_FOLDERS = ("crds", "charts/tidemill/files/crds")
_HEADER = "# Generated from operator/tidemill_api by `python -m tidemill_api.crdgen`; do not edit.\n"


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
