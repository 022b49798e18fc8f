"""The fields of a committed CRD, for tests that walk all of them."""

from pathlib import Path

import yaml

CRDS = Path(__file__).parents[3] / "crds"


def leaves(plural, part):
    """The paths of all fields of spec or status that have no fields of their own; a list is one."""
    crd = yaml.safe_load((CRDS / f"tidemill.dev_{plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(_below(schema["properties"][part]))


def _below(schema, path=""):
    for name, child in schema["properties"].items():
        if "properties" in child:
            yield from _below(child, f"{path}{name}.")
        else:
            yield path + name


def written(value, path=""):
    """The paths of the fields in a status that say something."""
    for name, child in value.items():
        if isinstance(child, dict):
            yield from written(child, f"{path}{name}.")
        elif child not in (None, 0, "", "0.00", [], False):
            yield path + name
