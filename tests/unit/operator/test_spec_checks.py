"""Specs whose fields are right one by one and wrong together: each problem names its field and the fix."""

import pytest
from unit.operator.builders import MINIMAL, make_spec

from tidemill_operator.core.spec_checks import SpecPolicy, local_path, problems
from tidemill_operator.manifests.pods import COMMON_ENV, HEAD_ENV, WORKER_ENV
from tidemill_operator.views import read_job

CLAIM = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
MOUNT = {"name": "data", "mountPath": "/data"}


LONG = [{"name": f"a{n}", "source": "/" + "\U0001f30a" * 1000} for n in range(64)]


def template(**fields):
    return {"template": {"volumes": [CLAIM], "volumeMounts": [MOUNT], **fields}}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (template(volumes=[{"name": "data", "hostPath": {"path": "/x"}}]), "data is a hostPath"),
        (template(volumes=[CLAIM, {"name": "shared-mem", "emptyDir": {}}]), "shared-mem is taken by KubeRay"),
        (template(volumeMounts=[MOUNT, {**MOUNT, "mountPath": "/data/"}]), "/data is mounted twice"),
        (template(volumeMounts=[MOUNT, {"name": "data", "mountPath": "/a/../b"}]), "must have neither '..'"),
        (template(env=[{"name": "RAY_AUTH_TOKEN", "value": "x"}]), "RAY_AUTH_TOKEN is set by the operator"),
        (template(env=[{"name": "RAY_worker_niceness", "value": "9"}]), "RAY_worker_niceness is set by the operator"),
        (template(env=[{"name": "TIDEMILL_JOB", "value": "{}"}]), "TIDEMILL_JOB begins with TIDEMILL_"),
        (template(env=[{"name": "TIDEMILL_ENGINE", "value": "a:b"}]), "TIDEMILL_ENGINE begins with TIDEMILL_"),
        (template(env=[{"name": "TIDEMILL_TEST_FOLDER", "value": "/x"}]), "TIDEMILL_TEST_FOLDER begins with TIDEMILL_"),
        (template(env=[{"name": "X", "value": "a\0b"}]), "template.env: the value of X has a NUL character"),
        (template(env=[{"name": f"X{n}", "value": "ü" * 4096} for n in range(33)]), "bytes in all, more than 262144"),
        (template(volumeMounts=[{**MOUNT, "mountPath": "/da\0ta"}]), "template.volumeMounts: '/da\\x00ta' has a NUL"),
        (template(volumeMounts=[{**MOUNT, "subPath": "a\0b"}]), "template.volumeMounts: '/data' has a NUL character"),
        ({"model": {"name": "m", "source": "org/m", "adapters": LONG}}, "model.adapters: names and sources have"),
        (template(labels={"app.kubernetes.io/managed-by": "me"}), "managed-by is set by the operator"),
        (template(serviceAccountName="admin"), "admin is not on the operator's list (allowed: reader)"),
        ({"input": {"uri": "/elsewhere/in.jsonl"}}, "input.uri: /elsewhere/in.jsonl lies under no mount"),
        ({"input": {"uri": "/data/../etc/passwd"}}, "must not have '..'"),
        ({"input": {"uri": "file:///data/%2e%2e/etc/passwd"}}, "input.uri: /data/../etc/passwd must not have '..'"),
        ({"input": {"uri": "file:///data/a%00b"}}, "input.uri: 'file:///data/a%00b' has a NUL character"),
        ({"input": {"uri": "/data/a\0b"}}, "input.uri: '/data/a\\x00b' has a NUL character"),
        ({"input": {"uri": "//[data/in.jsonl"}}, "input.uri: //[data/in.jsonl lies under no mount"),
        ({"output": {"uri": "/database/"}}, "output.uri: /database/ lies under no mount"),
        ({"model": {"name": "m", "source": "/models/m"}}, "model.source: /models/m lies under no mount"),
        (
            {"model": {"name": "m", "source": "org/m", "adapters": [{"name": "a", "source": "/models/a"}]}},
            "model.adapters[a].source: /models/a lies under no mount",
        ),
        (template(volumeMounts=[{**MOUNT, "readOnly": True}]), "lies on data, which is mounted readOnly"),
        (template(volumes=[{"name": "data", "emptyDir": {}}]), "is an emptyDir and goes with its pod"),
        (template(volumes=[{"name": "data", "secret": {"secretName": "s"}}]), "is a Secret or ConfigMap"),
        (
            template(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}]),
            "is claimed readOnly",
        ),
    ],
)
def test_a_spec_that_cannot_run_is_told_why(fields, said):
    found = problems(make_spec(**fields), SpecPolicy(service_accounts=("reader",)))
    assert [problem for problem in found if said in problem], found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": {"uri": "file:///data/in.jsonl"}},
        {"input": {"uri": "file:///%64ata/my%20rows.jsonl"}},
        {"input": {"uri": "/data/100%25.jsonl"}},
        {"model": {"name": "m", "source": "org/model"}},
        template(serviceAccountName="reader"),
        template(labels={"team": "support", "example.com/cost": ""}),
        template(env=[{"name": "RAY_DATA_PUSH_BASED_SHUFFLE", "value": "1"}, {"name": "HF_HOME", "value": "/models"}]),
    ],
)
def test_a_spec_that_can_run_has_no_problem(fields):
    assert problems(make_spec(**fields), SpecPolicy(service_accounts=("reader",))) == ()


def test_host_paths_are_allowed_by_a_setting_only():
    spec = make_spec(**template(volumes=[{"name": "data", "hostPath": {"path": "/x"}}]))
    assert problems(spec, SpecPolicy(allow_host_path=True)) == ()


@pytest.mark.parametrize("name", ["TIDEMILL_ENGINE", "TIDEMILL_TEST_FOLDER"])
def test_a_test_engine_is_allowed_by_a_setting_only(name):
    spec = make_spec(**template(env=[{"name": name, "value": "engines:echo"}]))
    assert problems(spec, SpecPolicy(allow_test_engine=True)) == ()


def test_the_drivers_own_configuration_is_refused_even_where_test_engines_are_allowed():
    spec = make_spec(**template(env=[{"name": "TIDEMILL_JOB", "value": "{}"}]))
    assert len(problems(spec, SpecPolicy(allow_test_engine=True))) == 1


def test_every_variable_that_we_set_on_a_pod_is_refused_in_a_template():
    ours = COMMON_ENV | HEAD_ENV | WORKER_ENV
    spec = make_spec(**template(env=[{"name": name, "value": ""} for name in ours]))
    found = problems(spec, SpecPolicy())
    assert len(found) == len(ours), found


def test_the_innermost_mount_decides_whether_output_can_be_written():
    inner = {"name": "out", "mountPath": "/data/out"}
    volumes = [CLAIM, {"name": "out", "emptyDir": {}}]
    found = problems(make_spec(**template(volumes=volumes, volumeMounts=[MOUNT, inner])), SpecPolicy())
    assert found == ("output.uri: /data/out/ lies on out, which is an emptyDir and goes with its pod",)


def body(spec):
    metadata = {"namespace": "team", "name": "j", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": metadata, "spec": spec}


def test_all_problems_are_named_at_once():
    wrong = MINIMAL | {"input": {"uri": "/a.jsonl"}, "output": {"uri": "/b/"}}
    job = read_job(body(wrong), SpecPolicy())
    assert job.spec is None
    assert job.spec_problem.startswith("input.uri: /a.jsonl lies under no mount")
    assert "; output.uri: /b/ lies under no mount" in job.spec_problem
    assert job.spec_problem.endswith(".")


def test_a_field_that_this_operator_does_not_know_is_named():
    job = read_job(body(MINIMAL | {"priority": 3}), SpecPolicy())
    assert job.spec_problem.startswith("priority: ")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/a%20b", "/data/a%20b"),
        ("file:///data/a%20b", "/data/a b"),
        ("file://localhost/data/a", "/data/a"),
        ("file://elsewhere/data/a", None),
        ("file://[broken/a", None),
        ("s3://bucket/a", None),
        ("org/model", None),
    ],
)
def test_a_uri_is_the_path_that_the_driver_will_read(uri, path):
    assert local_path(uri) == path
