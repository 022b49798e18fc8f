"""Volumes of files, and where volumes are mounted."""

import base64
import os
from pathlib import Path

import pytest
from pod_builders import container, pod

from devcluster.kubelet.environment import ConfigError, PodFacts
from devcluster.kubelet.volumes import File, data_of, files_of, make_volume, mounts_of, references, write_files

FACTS = PodFacts(
    "10.77.1.2",
    "10.77.1.1",
    {"cpu": "4"},
    {("Secret", "tls"): {"key": b"k", "cert": b"c"}, ("ConfigMap", "settings"): {"a.yaml": b"a: 1"}},
    {("", 3607): b"t0ken", ("vault", 3600): b"other"},
)
POD = pod("web", container("main", resources={"limits": {"cpu": "2"}}), labels={"app": "x"})

SHOWN = {
    "a secret": ({"secret": {"secretName": "tls"}}, {"key": (b"k", 0o644), "cert": (b"c", 0o644)}),
    "a mode": ({"configMap": {"name": "settings", "defaultMode": 0o400}}, {"a.yaml": (b"a: 1", 0o400)}),
    "chosen items": (
        {"secret": {"secretName": "tls", "items": [{"key": "key", "path": "deep/key.pem", "mode": 0o600}]}},
        {"deep/key.pem": (b"k", 0o600)},
    ),
    "nothing, if optional": ({"secret": {"secretName": "absent", "optional": True}}, {}),
    "the downward API": (
        {
            "downwardAPI": {
                "items": [
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}},
                ]
            }
        },
        {"name": (b"web", 0o644), "labels": (b'app="x"', 0o644), "cpu": (b"2", 0o644)},
    ),
    "several sources": (
        {"projected": {"sources": [{"secret": {"name": "tls"}}, {"configMap": {"name": "settings"}}]}},
        {"key": (b"k", 0o644), "cert": (b"c", 0o644), "a.yaml": (b"a: 1", 0o644)},
    ),
}


@pytest.mark.parametrize(("volume", "expected"), SHOWN.values(), ids=SHOWN.keys())
def test_a_volume_shows(volume, expected):
    files = files_of({"name": "v", **volume}, POD, FACTS)
    assert {path: (file.content, file.mode) for path, file in files.items()} == expected


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        ({"secret": {"secretName": "absent"}}, 'secret "absent" not found'),
        ({"configMap": {"name": "absent"}}, 'configmap "absent" not found'),
        ({"secret": {"secretName": "tls", "items": [{"key": "no", "path": "x"}]}}, "has no key 'no'"),
        ({"secret": {"secretName": "tls", "items": [{"key": "key", "path": "../x"}]}}, "not a path inside a volume"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "not offered by the dev cluster"),
    ],
)
def test_what_is_missing_or_wrong_is_named(volume, told):
    with pytest.raises(ConfigError, match=told):
        files_of({"name": "v", **volume}, POD, FACTS)


def test_data_is_decoded():
    secret = {"kind": "Secret", "data": {"k": base64.b64encode(b"\xff").decode()}}
    settings = {"kind": "ConfigMap", "data": {"t": "text"}, "binaryData": {"b": base64.b64encode(b"\xfe").decode()}}
    assert data_of(secret) == {"k": b"\xff"}
    assert data_of(settings) == {"t": b"text", "b": b"\xfe"}


def test_references_are_found_in_projected_volumes_too():
    volumes = [
        {"name": "a", "secret": {"secretName": "s"}},
        {"name": "b", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "d"}}]}},
        {"name": "c", "emptyDir": {}},
    ]
    assert set(references(volumes)) == {("Secret", "s"), ("ConfigMap", "c"), ("Secret", "d")}


def shown(folder):
    found = {}
    for path, _, names in os.walk(folder, followlinks=True):
        for name in names:
            relative = str(Path(path, name).relative_to(folder))
            if not relative.startswith(".."):
                found[relative] = (folder / relative).read_bytes()
    return found


def test_an_update_swaps_all_files_at_once_and_removes_old_ones(tmp_path):
    write_files(tmp_path, {"a": File(b"1"), "deep/b": File(b"2", 0o600)})
    before = (tmp_path / "..data").readlink()
    assert shown(tmp_path) == {"a": b"1", "deep/b": b"2"}
    assert (tmp_path / "deep" / "b").stat().st_mode & 0o777 == 0o600
    write_files(tmp_path, {"a": File(b"new")})
    assert shown(tmp_path) == {"a": b"new"}
    assert not (tmp_path / before).exists()


def test_an_empty_volume_keeps_its_files_over_restarts(tmp_path):
    folder = tmp_path / "v"
    for _ in range(2):
        make_volume({"name": "v", "emptyDir": {}}, folder, tmp_path, POD, FACTS)
        (folder / "kept").touch()
    assert (folder / "kept").exists()


def test_a_host_path_is_the_path_itself(tmp_path):
    (tmp_path / "data").mkdir()
    volume = {"name": "v", "hostPath": {"path": str(tmp_path / "data"), "type": "Directory"}}
    make_volume(volume, tmp_path / "volumes" / "v", tmp_path, POD, FACTS)
    assert (tmp_path / "volumes" / "v").resolve() == tmp_path / "data"


@pytest.mark.parametrize("kind", ["Directory", "File", "Socket"])
def test_a_host_path_that_is_not_what_it_should_be_is_refused(tmp_path, kind):
    volume = {"name": "v", "hostPath": {"path": str(tmp_path / "absent"), "type": kind}}
    with pytest.raises(ConfigError, match="hostPath type check failed"):
        make_volume(volume, tmp_path / "v", tmp_path, POD, FACTS)


def test_a_claim_that_is_not_bound_is_waited_for(tmp_path):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    with pytest.raises(ConfigError, match='persistentvolumeclaim "data" not found'):
        make_volume(volume, tmp_path / "v", tmp_path / "claims", POD, FACTS)
    (tmp_path / "claims" / "data").mkdir(parents=True)
    make_volume(volume, tmp_path / "v", tmp_path / "claims", POD, FACTS)
    assert (tmp_path / "v").resolve() == tmp_path / "claims" / "data"


def test_a_kind_of_volume_that_is_not_offered_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\['nfs'\] is not offered"):
        make_volume({"name": "v", "nfs": {}}, tmp_path / "v", tmp_path, POD, FACTS)


def test_mounts_follow_sub_paths(tmp_path):
    (tmp_path / "v").mkdir()
    spec = container(
        volumeMounts=[
            {"name": "v", "mountPath": "/data", "readOnly": True},
            {"name": "v", "mountPath": "/one", "subPath": "a/b"},
            {"name": "v", "mountPath": "/two", "subPathExpr": "$(NAME)"},
        ]
    )
    mounts = mounts_of(spec, tmp_path, {"NAME": "web"})
    assert [(mount.source, mount.target, mount.read_only) for mount in mounts] == [
        (f"{tmp_path}/v", "/data", True),
        (f"{tmp_path}/v/a/b", "/one", False),
        (f"{tmp_path}/v/web", "/two", False),
    ]
    assert (tmp_path / "v" / "a" / "b").is_dir()


@pytest.mark.parametrize("sub_path", ["../../etc", "/etc", "link"])
def test_a_sub_path_cannot_leave_its_volume(tmp_path, sub_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "link").symlink_to("/etc")
    spec = container(volumeMounts=[{"name": "v", "mountPath": "/data", "subPath": sub_path}])
    with pytest.raises(ConfigError):
        mounts_of(spec, tmp_path, {})


def test_a_mount_of_an_unknown_volume_is_named(tmp_path):
    spec = container(volumeMounts=[{"name": "other", "mountPath": "/data"}])
    with pytest.raises(ConfigError, match="no volume 'other'"):
        mounts_of(spec, tmp_path, {})


TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}


def test_a_token_is_the_one_asked_for():
    other = {"serviceAccountToken": {"path": "vault", "audience": "vault"}}
    assert files_of({"name": "v", "projected": {"sources": [TOKEN, other]}}, POD, FACTS) == {
        "token": File(b"t0ken"),
        "vault": File(b"other"),
    }


def test_a_token_is_readable_by_the_pods_user_and_group_alone():
    spec = {"name": "v", "projected": {"sources": [TOKEN]}}
    one = pod("web", securityContext={"runAsUser": 65532, "fsGroup": 1000})
    assert files_of(spec, one, FACTS)["token"] == File(b"t0ken", 0o640, 65532, 1000)


def test_the_pods_group_may_read_files_and_write_to_folders(tmp_path):
    one = pod("web", securityContext={"fsGroup": os.getgid() or 1000})
    spec = {"name": "v", "secret": {"secretName": "tls", "defaultMode": 0o400}}
    assert {file.mode for file in files_of(spec, one, FACTS).values()} == {0o440}
    make_volume({"name": "v", "emptyDir": {}}, tmp_path / "v", tmp_path, one, FACTS)
    assert (tmp_path / "v").stat().st_mode & 0o7070 == 0o2070 or os.getgid()
