"""A Docker engine for a test session and the images of this checkout, built there as a user builds them."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from docker_engine import NoEngineError, docker_engine, still_checkout
from pip_sources import has_torch_for_cpus, pip_settings

TAG = "under-test"


@pytest.fixture(scope="session")
def docker():
    """The engine, or a skip that says why there is none."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(docker_engine())
        except NoEngineError as error:
            pytest.skip(f"no Docker engine can run here: {error}")
        yield engine


@pytest.fixture(scope="session")
def build(docker, tmp_path_factory):
    """Builds an image by hack/images.sh: `build("operator", tag, *docker_options)` gives its name and the seconds."""
    checkout = still_checkout(tmp_path_factory.mktemp("images"))
    with pip_settings(tmp_path_factory.mktemp("pip")) as settings:

        def run(image, tag, *options):
            variables = {"TAG": tag, "PIP_CONFIG_FILE": str(settings)}
            if image == "workloads-cpu" and has_torch_for_cpus():
                variables["TORCH_INDEX"] = ""
            begun = time.monotonic()
            name = docker.build(checkout, image, *options, seconds=900, **variables)
            return name, time.monotonic() - begun

        yield run


@pytest.fixture(scope="session")
def operator_image(build):
    """The operator's image and the seconds that its build took."""
    return build("operator", TAG)


@pytest.fixture(scope="session")
def workloads_image(build):
    """The image of head and workers without a GPU, and the seconds that its build took."""
    return build("workloads-cpu", TAG)


@pytest.fixture
def container(docker):
    """Starts containers and removes them when the test is over."""
    started = []

    def start(*words, network="host"):
        started.append(docker("run", "--detach", f"--network={network}", *words).strip())
        return started[-1]

    yield start
    for name in started:
        docker("rm", "--force", name)


@pytest.fixture
def healthy(docker):
    """Waits until a container is healthy by its image's own check; returns the seconds that took."""

    def wait(name, seconds):
        begun = time.monotonic()
        while (state := docker.inspect(name)["State"])["Health"]["Status"] != "healthy":
            logs = docker.run("logs", name)
            assert state["Running"], f"it ended\n{logs.stdout}{logs.stderr}"
            waited = time.monotonic() - begun
            assert waited < seconds, f"not healthy in {seconds} s: {state['Health']}\n{logs.stdout}{logs.stderr}"
            time.sleep(0.5)
        return time.monotonic() - begun

    return wait


@pytest.fixture
def figure(record_property):
    """Tells a measured figure; the end-to-end tests print those of the whole run at its end."""

    def tell(what, value, unit="s"):
        record_property("figure", f"{what} {value:.2f} {unit}")

    return tell


@pytest.fixture
def model():
    """The folder of the demo's chat model, made by hack/setup.sh."""
    return Path(__file__).parents[3] / ".tidemill" / "models" / "smollm2"
