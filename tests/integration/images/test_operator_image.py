"""The operator's image: built twice, looked through, and run as a cluster with strict rules would."""

import re
import tarfile
import time

import pytest
from image_contents import files, saved_image_has
from integration.images.conftest import TAG
from pip_sources import PASSWORD

pytestmark = [pytest.mark.all, pytest.mark.timeout(900)]


def test_built_anew_it_holds_the_same_files(docker, build, operator_image, figure):
    """Every path, mode, owner and digest; and the times of what is ours."""
    image, seconds = operator_image
    again, seconds_again = build("operator", f"{TAG}-again", "--no-cache")
    one, other = files(docker, image), files(docker, again)
    assert len([name for name in one if name.startswith("opt/tidemill/")]) > 1000
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    assert [(name, one.get(name), other.get(name)) for name in differing[:5]] == [], f"{len(differing)} differ"
    figure("the operator's image is built in", max(seconds, seconds_again))
    figure("the operator's image has", docker.inspect(image)["Size"] / 1e6, "MB")


def test_it_holds_no_compiler_no_pip_and_no_way_to_more_rights(docker, operator_image):
    held = files(docker, operator_image[0])
    unwanted = re.compile(r"(^|/)s?bin/(gcc|cc|g\+\+|ld|as|make|pip\d?[\d.]*|git|curl)$")
    assert [name for name in held if unwanted.search(name)] == []
    assert [name for name in held if re.search(r"(site|dist)-packages/(pip|setuptools)/", name)] == []
    assert [name for name, (mode, *_, kind, _, digest, _) in held.items() if digest and int(mode, 8) & 0o6000] == []


def test_who_runs_it_cannot_change_what_it_runs(docker, operator_image):
    """So a fault in the operator cannot change the operator, even without a read-only file system."""
    assert docker.inspect(operator_image[0])["Config"]["User"] == "65532:65532"
    ours = {name: facts for name, facts in files(docker, operator_image[0]).items() if name.startswith("opt/tidemill")}
    assert {(uid, gid) for _, uid, gid, *_ in ours.values()} == {(0, 0)}
    kept = {name: int(mode, 8) for name, (mode, _, _, kind, *_) in ours.items() if kind != tarfile.SYMTYPE}
    assert [name for name, mode in kept.items() if mode & 0o022] == []


def test_the_password_of_an_index_is_in_no_layer_and_in_no_history(docker, operator_image):
    image = operator_image[0]
    assert saved_image_has(docker, image, b"org.opencontainers.image.revision"), "the search itself finds what is there"
    assert not saved_image_has(docker, image, PASSWORD.encode())
    assert PASSWORD not in docker("history", "--no-trunc", image)


def test_its_labels_say_what_it_is_made_of(docker, operator_image):
    labels = docker.inspect(operator_image[0])["Config"]["Labels"]
    given = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert re.fullmatch(r"[0-9a-f]{40}(-changed)?", given["revision"])
    assert time.strptime(given["created"], "%Y-%m-%dT%H:%M:%SZ")
    assert given["licenses"] == "Apache-2.0"
    assert given["title"] == "tidemill-operator"
