"""The demo's rendering: whose folder a volume leads to."""

from pathlib import Path
from typing import Any

import pytest

from demo.batch.job import KIND, Folders, on_this_machine, render
from demo.errors import DemoError
from demo.manifests import load_manifest

FOLDERS = Folders(
    models=Path("/checkout/models"), default_input=Path("/checkout/examples/t.jsonl"), default_output=Path("/runs/1")
)


def manifest(**template: Any) -> dict[str, Any]:
    return {
        "kind": "BatchInferenceJob",
        "metadata": {"name": "tickets"},
        "spec": {
            "input": {"uri": "/data/input/t.jsonl"},
            "output": {"uri": "/data/output/"},
            "template": template,
        },
    }


def claims() -> dict[str, Any]:
    """Volumes as the shipped example has them: claims, for a real cluster."""
    names = {"models": "/models", "input": "/data/input", "output": "/data/output"}
    return {
        "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in names.items()],
    }


def test_claims_of_the_example_become_folders_of_this_machine() -> None:
    job = render(manifest(**claims()), FOLDERS)
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in job.manifest["spec"]["template"]["volumes"]}
    assert volumes == {"models": "/checkout/models", "input": "/checkout/examples", "output": "/runs/1"}
    assert (job.input, job.output) == (Path("/checkout/examples/t.jsonl"), Path("/runs/1"))


def test_a_manifest_without_volumes_gets_all_three() -> None:
    job = render(manifest(), FOLDERS)
    mounts = {mount["name"]: mount["mountPath"] for mount in job.manifest["spec"]["template"]["volumeMounts"]}
    assert mounts == {"models": "/models", "input": "/data/input", "output": "/data/output"}


def test_a_host_path_of_the_manifest_is_kept() -> None:
    template = {
        "volumes": [{"name": "input", "hostPath": {"path": "/mine"}}],
        "volumeMounts": [{"name": "input", "mountPath": "/data/input"}],
    }
    assert render(manifest(**template), FOLDERS).input == Path("/mine/t.jsonl")


def test_input_and_output_of_the_command_line_win() -> None:
    folders = Folders(
        models=FOLDERS.models,
        default_input=FOLDERS.default_input,
        default_output=FOLDERS.default_output,
        input=Path("/rows/mine.jsonl"),
        output=Path("/out"),
    )
    template = {
        "volumes": [{"name": "input", "hostPath": {"path": "/theirs"}}],
        "volumeMounts": [{"name": "input", "mountPath": "/elsewhere"}],
    }
    job = render(manifest(**template), folders)
    assert job.manifest["spec"]["input"]["uri"] == "/data/input/mine.jsonl"
    assert (job.input, job.output) == (Path("/rows/mine.jsonl"), Path("/out"))


def test_the_manifest_given_is_left_as_it_was() -> None:
    given = manifest()
    render(given, FOLDERS)
    assert given == manifest()


def test_the_deepest_mount_serves_a_uri() -> None:
    template = {
        "volumes": [{"name": "a", "hostPath": {"path": "/a"}}, {"name": "b", "hostPath": {"path": "/b"}}],
        "volumeMounts": [{"name": "a", "mountPath": "/data"}, {"name": "b", "mountPath": "/data/deep", "subPath": "s"}],
    }
    assert on_this_machine(template, "file:///data/deep/x.jsonl") == Path("/b/s/x.jsonl")


@pytest.mark.parametrize("uri", ["s3://bucket/x.jsonl", "/nowhere/x.jsonl", "/data-other/x"])
def test_a_uri_under_no_folder_is_said_plainly(uri: str) -> None:
    template = {
        "volumes": [{"name": "a", "hostPath": {"path": "/a"}}],
        "volumeMounts": [{"name": "a", "mountPath": "/data"}],
    }
    with pytest.raises(DemoError, match="hostPath volume"):
        on_this_machine(template, uri)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "found 0"),
        ("a: [", "expected"),
        ("kind: BatchInferenceJob\n---\nkind: BatchInferenceJob", "found 2"),
    ],
)
def test_a_file_without_exactly_one_job_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(DemoError, match=message):
        load_manifest(path, KIND)
