"""The image of head and workers without a GPU: looked through, and run as Ray's nodes and as one job."""

import pytest
from image_contents import files

pytestmark = [pytest.mark.all, pytest.mark.timeout(1200)]

STRICT = ("--cap-drop=ALL", "--security-opt=no-new-privileges")


def test_alone_it_says_what_it_is(docker, workloads_image, figure):
    image, seconds = workloads_image
    said = docker("run", "--rm", "--network=host", *STRICT, image, seconds=120)
    assert said.split()[::2] == ["ray", "vllm"]
    assert said.split()[1] == "2.60.0"
    figure("the CPU image is built in", seconds)
    figure("the CPU image has", docker.inspect(image)["Size"] / 1e9, "GB")
