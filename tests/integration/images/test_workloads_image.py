"""The image of head and workers without a GPU: looked through, and run as one of Ray's nodes and as one job."""

import json
import re
import time

import pytest
from image_contents import files
from workload_builders import job, request, write_lines

from tidemill_api.job_contract import CONFIG_VARIABLE, ENGINE_RESOURCE
from tidemill_api.v1alpha1.common import ModelSpec

pytestmark = [pytest.mark.all, pytest.mark.timeout(1200)]

STRICT = ("--cap-drop=ALL", "--security-opt=no-new-privileges")
"""What the pods of our RayClusters have. Their root file system is writable: Ray keeps sessions and logs there."""


@pytest.fixture(scope="module")
def held(docker, workloads_image):
    """The files of the image."""
    return files(docker, workloads_image[0])


def test_alone_it_says_what_it_is(docker, workloads_image, figure):
    image, seconds = workloads_image
    said = docker("run", "--rm", "--network=none", *STRICT, image, seconds=180)
    assert said.split()[::2] == ["ray", "vllm"]
    assert said.split()[1] == "2.60.0"
    figure("the CPU image is built in", seconds)
    figure("the CPU image has", docker.inspect(image)["Size"] / 1e9, "GB")


def test_it_holds_no_compiler_no_pip_and_no_way_to_more_rights(held):
    unwanted = re.compile(r"(^|/)s?bin/(gcc|cc|g\+\+|ld|as|make|pip\d?[\d.]*|git|curl)$")
    assert [name for name in held if unwanted.search(name)] == []
    assert [name for name in held if re.search(r"(site|dist)-packages/pip/", name)] == []
    assert [name for name, (mode, *_, digest, _) in held.items() if digest and int(mode, 8) & 0o6000] == []


def test_who_runs_it_cannot_change_what_it_runs(docker, workloads_image, held):
    assert docker.inspect(workloads_image[0])["Config"]["User"] == "1000:1000"
    owners = {(uid, gid) for name, (_, uid, gid, *_) in held.items() if name.startswith("opt/tidemill")}
    assert owners == {(0, 0)}


def test_its_labels_name_the_engine(docker, workloads_image):
    labels = docker.inspect(workloads_image[0])["Config"]["Labels"]
    assert "(cpu)" in labels["org.opencontainers.image.description"]
    assert re.fullmatch(r"[0-9a-f]{40}(-changed)?", labels["org.opencontainers.image.revision"])


@pytest.fixture
def head(container, workloads_image, model, tmp_path):
    """A head of Ray that is its own worker, with no network but its own loopback; sees the model and a folder."""
    tmp_path.chmod(0o777)  # its user is not this one
    variables = {"RAY_AUTH_MODE": "disabled", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    words = [f"--env={name}={value}" for name, value in variables.items()]
    words += [f"--volume={model}:/model:ro", f"--volume={tmp_path}:{tmp_path}", "--shm-size=1g"]
    resources = json.dumps({ENGINE_RESOURCE: 1})
    start = (
        "ray",
        "start",
        "--head",
        "--node-ip-address=127.0.0.1",
        "--num-cpus=0",
        f"--resources={resources}",
        "--block",
    )
    return container(*STRICT, *words, workloads_image[0], *start, network="none")


def test_a_whole_job_runs_in_it_with_the_real_engine(docker, head, healthy, tmp_path, figure):
    """As on a cluster: Ray's node becomes healthy by the image's own check, and the driver answers every row."""
    figure("a head of Ray is healthy after", healthy(head, 120))
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    rows = [request(f"row-{number}", body=body | {"max_tokens": 12, "temperature": 0}) for number in range(3)]
    write_lines(tmp_path / "input.jsonl", rows)
    engine = {"dtype": "float32", "maxModelLen": 256}
    model = ModelSpec.model_validate({"name": "smollm2", "source": "/model", "engineArgs": engine})
    config = job(tmp_path, model=model, mounts=(str(tmp_path), "/model"))
    variables = (f"--env={CONFIG_VARIABLE}={config.model_dump_json()}", "--env=RAY_ADDRESS=auto")
    begun = time.monotonic()
    done = docker.run("exec", *variables, head, "python", "-m", "tidemill_workloads", seconds=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figure("a job of three rows takes in it", time.monotonic() - begun)
    results = [json.loads(line) for line in (tmp_path / "output" / "results.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in results] == ["row-0", "row-1", "row-2"]
    for line in results:
        assert "Paris" in line["response"]["body"]["choices"][0]["message"]["content"]


def test_a_driver_without_a_job_says_so_in_one_line(docker, workloads_image):
    words = ("run", "--rm", "--network=none", *STRICT, workloads_image[0], "python", "-m", "tidemill_workloads")
    done = docker.run(*words, seconds=120)
    assert done.returncode == 1
    assert f"{CONFIG_VARIABLE} is not set" in done.stderr
    assert "Traceback" not in done.stderr
