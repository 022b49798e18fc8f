"""Golden manifests: what stands in the cluster for a job, by kind of hardware."""

import gzip
from pathlib import Path

import pytest
import yaml
from golden.render import children, expected_file, names, render
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[3] / "shared" / "kuberay" / "v1.7.0" / "ray.io_rayclusters.yaml.gz"
"""KubeRay's own CRD. It is not copied into this repository."""


@pytest.fixture(scope="module")
def ray_cluster_schema():
    if not SCHEMA.exists():
        pytest.skip("KubeRay's CRD is not at hand beside this checkout (../shared/kuberay/v1.7.0)")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with gzip.open(SCHEMA) as file:
        definition = yaml.load(file, Loader=loader)
    version = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")
    return version["schema"]["openAPIV3Schema"]


@pytest.mark.parametrize("name", names())
def test_the_children_of_a_job_are_as_committed(name):
    assert render(name) == expected_file(name).read_text(), "regenerate with: python -m golden.render"


@pytest.mark.parametrize("name", names())
def test_kuberays_own_schema_takes_the_cluster_and_drops_nothing_of_it(name, ray_cluster_schema):
    cluster = children(name)[1]
    Draft202012Validator(ray_cluster_schema).validate(cluster)
    assert list(unknown_fields(cluster["spec"], ray_cluster_schema["properties"]["spec"], "spec")) == []


def test_every_kind_of_hardware_and_of_queue_has_its_case():
    hardware = ["cpu", "four-gpus", "full-template", "mig", "one-gpu", "other-vendor"]
    assert names() == sorted([*hardware, "kueue-elastic", "kueue-fixed"])


def unknown_fields(value, schema, path):
    """Fields that the schema does not know: the API server would drop them in silence."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key not in schema["properties"]:
                yield f"{path}.{key}"
            else:
                yield from unknown_fields(item, schema["properties"][key], f"{path}.{key}")
