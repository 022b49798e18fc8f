"""What our images would run, read from a Dockerfile."""

import pytest
from cluster_fixtures import CHECKOUT

from devcluster.kubelet.images import TARGETS, Image, find, images_of, parse

TEXT = """\
# A comment.
FROM base AS first
ENV PATH=/opt/bin:$PATH A=1 B="two words"
USER build

FROM first AS tool
ENTRYPOINT ["tool", \\
  "--flag"]
CMD ["serve"]
USER 7:8
WORKDIR /data
"""


def test_a_stage_is_what_its_instructions_say_over_its_base():
    tool = Image(("tool", "--flag"), ("serve",), "7:8", {"A": "1", "B": "two words"}, "/data")
    assert parse(TEXT) == {"first": Image(user="build", environment={"A": "1", "B": "two words"}), "tool": tool}


def test_a_shell_form_is_refused():
    with pytest.raises(ValueError, match="not in the exec form: tool --flag"):
        parse("FROM base AS a\nENTRYPOINT tool --flag\n")


def test_the_images_of_this_checkout_are_known():
    images = images_of(CHECKOUT)
    assert set(images) == set(TARGETS)
    assert images["operator"].entrypoint == ("tidemill-operator",)
    assert all(image.user.partition(":")[0].isdigit() for image in images.values())


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tidemill-operator:0.1.0", "operator"),
        ("registry.example:5000/team/tidemill-workloads:0.1.0-cpu", "workloads"),
        ("my-tidemill-operator@sha256:00", "operator"),
        ("tidemill-operator/nginx:1", None),
        ("nginx", None),
    ],
)
def test_an_image_is_known_by_its_name(name, target):
    images = {one: Image((one,)) for one in TARGETS}
    assert find(name, images) == (images[target] if target else None)
