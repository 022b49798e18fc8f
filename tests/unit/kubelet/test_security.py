"""As whom a container runs, and when `runAsNonRoot` forbids it."""

import pytest
from pod_builders import container, pod

from devcluster.kubelet.credentials import CAPABILITIES, USUAL, Credentials
from devcluster.kubelet.environment import ConfigError
from devcluster.kubelet.images import Image
from devcluster.kubelet.security import credentials_of, owner_of_tokens

IMAGE = Image(entrypoint=("serve",), user="65532:65533")
BIND = CAPABILITIES.index("NET_BIND_SERVICE")


def credentials(of_container=None, of_pod=None, image=None, command=("true",)):
    spec = container(command=list(command), securityContext=of_container or {})
    return credentials_of(spec, pod("web", spec, securityContext=of_pod or {}), image)


@pytest.mark.parametrize(
    ("of_container", "of_pod", "expected"),
    [
        ({}, {}, Credentials()),
        ({"runAsUser": 5}, {"runAsUser": 6, "runAsGroup": 7}, Credentials(5, 7)),
        ({}, {"fsGroup": 8, "supplementalGroups": [9, 8]}, Credentials(groups=(9, 8))),
        ({"allowPrivilegeEscalation": False}, {}, Credentials(no_new_privileges=True)),
        ({"capabilities": {"drop": ["ALL"]}}, {}, Credentials(capabilities=())),
        ({"capabilities": {"drop": ["ALL"], "add": ["CAP_NET_BIND_SERVICE"]}}, {}, Credentials(capabilities=(BIND,))),
        ({"capabilities": {"drop": ["NET_RAW"]}}, {}, Credentials(capabilities=tuple(
            number for number in USUAL if CAPABILITIES[number] != "NET_RAW"))),
    ],
)  # fmt: skip
def test_the_containers_context_goes_before_the_pods(of_container, of_pod, expected):
    assert credentials(of_container, of_pod) == expected


def test_what_an_image_starts_runs_as_its_user():
    assert credentials(image=IMAGE, command=()) == Credentials(65532, 65533)
    assert credentials({"runAsUser": 5}, image=IMAGE, command=()).user == 5


def test_a_command_of_the_checkout_does_not():
    assert credentials({"runAsNonRoot": True}, image=IMAGE).user == 0


@pytest.mark.parametrize(
    ("context", "image", "message"),
    [
        ({"runAsUser": 0}, IMAGE, "container's runAsUser breaks non-root policy"),
        ({}, Image(), "container has runAsNonRoot and image will run as root"),
        ({}, Image(user="tidemill"), r"image has non-numeric user \(tidemill\), cannot verify user is non-root"),
        ({}, None, "the user of image 'any' is not known to the dev cluster"),
    ],
)
def test_root_is_refused_where_the_spec_forbids_it(context, image, message):
    with pytest.raises(ConfigError, match=message) as raised:
        credentials({"runAsNonRoot": True, **context}, image=image)
    assert raised.value.reason == "CreateContainerConfigError"


def test_tokens_belong_to_the_user_that_all_containers_name():
    ours, theirs = (container(name, securityContext={"runAsUser": user}) for name, user in (("a", 5), ("b", 6)))
    assert owner_of_tokens(pod("web", ours)) == 5
    assert owner_of_tokens(pod("web", ours, theirs)) is None
    assert owner_of_tokens(pod("web", container())) is None
