"""The definition of RayCluster that is loaded into an API server."""

import gzip

import pytest
import yaml

from devcluster.kuberay import definition

FOREIGN = {"kind": "CustomResourceDefinition", "metadata": {"name": "theirs"}}


@pytest.mark.parametrize("compress", [True, False])
def test_kuberays_own_definition_wins_where_a_folder_is_named(tmp_path, monkeypatch, compress):
    text = yaml.safe_dump(FOREIGN).encode()
    name = f"ray.io_rayclusters.yaml{'.gz' if compress else ''}"
    (tmp_path / name).write_bytes(gzip.compress(text) if compress else text)
    monkeypatch.setenv("TIDEMILL_KUBERAY_CRDS", str(tmp_path))
    assert definition.ray_cluster_definition() == FOREIGN


def test_a_named_folder_without_it_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEMILL_KUBERAY_CRDS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="TIDEMILL_KUBERAY_CRDS"):
        definition.ray_cluster_definition()


def test_without_it_the_small_definition_is_loaded(tmp_path, monkeypatch):
    monkeypatch.delenv("TIDEMILL_KUBERAY_CRDS", raising=False)
    monkeypatch.setattr(definition, "_BESIDE_CHECKOUT", tmp_path)
    assert definition.ray_cluster_definition() == definition.own_definition()


def fields(schema, path=""):
    """Paths of all fields, not looking into what is preserved as it is."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(child, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


def schema_of(found):
    (version,) = [entry for entry in found["spec"]["versions"] if entry["name"] == "v1"]
    return version["schema"]["openAPIV3Schema"]


@pytest.mark.skipif(definition.definition_file() is None, reason="KubeRay's own definition is not at hand")
def test_every_field_of_the_small_definition_is_one_of_kuberays_with_the_same_default():
    own, theirs = definition.own_definition(), definition.ray_cluster_definition()
    assert own["metadata"]["name"] == theirs["metadata"]["name"]
    assert set(fields(schema_of(own))) <= set(fields(schema_of(theirs)))
    assert defaults(schema_of(own)) == {
        path: value for path, value in defaults(schema_of(theirs)).items() if path in set(fields(schema_of(own)))
    }


def defaults(schema, path=""):
    found = {path: schema["default"]} if "default" in schema else {}
    for name, child in schema.get("properties", {}).items():
        found |= defaults(child, f"{path}.{name}")
    if "items" in schema:
        found |= defaults(schema["items"], f"{path}[]")
    return found
