"""The Dockerfile, read line by line: what each stage is made of, who runs it, and that what it copies exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = ("operator", "workloads")


@dataclass
class Stage:
    """One FROM and the instructions below it, continuation lines joined."""

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == word]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def parsed() -> tuple[dict[str, str], dict[str, Stage]]:
    """Arguments before the first FROM, and the stages by name."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for word, rest in instructions():
        if word == "FROM":
            base, name = rest.split(" AS ")
            stage = stages[name] = Stage(base, name)
        elif stage is None:
            arguments[rest.partition("=")[0]] = rest.partition("=")[2]
        else:
            stage.instructions.append((word, rest))
    return arguments, stages


ARGUMENTS, STAGES = parsed()


def lineage(stage: Stage) -> list[str]:
    """The stage's name and those that it is built from, nearest first."""
    return [stage.name, *(lineage(STAGES[stage.base]) if stage.base in STAGES else [])]


def test_the_targets_are_there_and_the_base_is_an_argument() -> None:
    assert set(TARGETS) <= STAGES.keys()
    known = {"${BASE_IMAGE}", *STAGES}
    assert {stage.base for stage in STAGES.values()} <= known


def test_the_base_is_pinned_to_one_python_by_its_digest() -> None:
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", ARGUMENTS["BASE_IMAGE"])


def test_the_linter_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_no_stage_ends_as_root(stage: Stage) -> None:
    """By number, since Kubernetes cannot tell from a name that it is not root's."""
    user = next(user[-1] for user in (STAGES[name].all("USER") for name in lineage(stage)) if user)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), user


def test_pods_and_images_agree_on_the_group_of_files() -> None:
    assert STAGES["workloads"].all("USER")[-1] == "1000:1000", "FILE_GROUP of the pod templates"


def ignored(path: str) -> bool:
    """By .dockerignore's rule: the last pattern that matches decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and (pattern in ("*", path) or path.startswith(f"{pattern}/")):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_what_is_copied_exists_and_is_in_the_context(stage: Stage) -> None:
    for copy in stage.all("COPY"):
        words = shlex.split(copy)
        options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
        if "from" in options:
            assert options["from"] in STAGES
            continue
        for source in [word for word in words if not word.startswith("--")][:-1]:
            assert (ROOT / source).exists(), source
            assert not ignored(source), f"{source} is kept out by .dockerignore"


def test_the_context_is_a_closed_list() -> None:
    assert ignored(".git")
    assert ignored(".tidemill/venv")
    assert ignored("hack/examples/tickets.jsonl")
    assert not ignored("operator/tidemill_operator/config.py")


@pytest.mark.parametrize("target", TARGETS)
def test_images_say_what_they_are_and_shield_the_standard_library(target: str) -> None:
    stage = STAGES[target]
    for label in ("title", "description", "version", "licenses", "revision", "source", "created"):
        assert f"org.opencontainers.image.{label}=" in stage.all("LABEL")[0]
    assert "PYTHONSAFEPATH=1" in " ".join(STAGES["runtime"].all("ENV"))
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f'image.version="{version[1]}"' in stage.all("LABEL")[0]


def test_the_operator_adds_nothing_to_the_base_but_its_environment() -> None:
    assert STAGES["operator"].all("RUN") == []
    assert [shlex.split(copy)[-1] for copy in STAGES["operator"].all("COPY")] == ["/opt/tidemill"]


def test_the_engine_finds_a_driver_that_a_device_plugin_mounts() -> None:
    """Google's plugin mounts it there and has images name the folder, which no job's template may."""
    assert "LD_LIBRARY_PATH=/usr/local/nvidia/lib64" in " ".join(STAGES["workloads"].all("ENV")).split()
    assert "LD_LIBRARY_PATH" not in " ".join(word for s in ("runtime", "operator") for word in STAGES[s].all("ENV"))


@pytest.mark.parametrize("target", TARGETS)
def test_no_image_has_pip_or_files_that_change_their_user(target: str) -> None:
    assert STAGES[target].base == "runtime"
    (cleaned,) = STAGES["runtime"].all("RUN")
    assert "chmod a-s" in cleaned
    assert {"pip", "setuptools", "ensurepip"} <= set(re.findall(r'"(\w+)"', cleaned))
    assert "--without-pip" in STAGES[f"{target}-environment"].all("RUN")[-1]


@pytest.mark.parametrize("target", TARGETS)
def test_who_runs_an_image_cannot_change_what_it_runs(target: str) -> None:
    (copy,) = STAGES[target].all("COPY")
    assert "--chown=0:0" in copy


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_package_comes_by_digest_or_by_a_locked_version(stage: Stage) -> None:
    for run in stage.all("RUN"):
        for install in re.findall(r"pip (?:install|wheel)[^&;]*", run):
            assert re.search(r"--require-hashes|--constraint hack/locks/|--no-index|--no-deps .*==[\d.]+", install), (
                install
            )


def test_byte_code_and_times_are_the_same_each_time() -> None:
    for target in TARGETS:
        assert "hack/bytecode.py /opt/tidemill/lib" in STAGES[f"{target}-environment"].all("RUN")[-1]
        assert "touch --no-dereference --date=2020-02-02" in STAGES[f"{target}-environment"].all("RUN")[-1]


def test_a_user_id_without_a_name_does_not_stop_the_operator() -> None:
    """Kopf calls getpass.getuser(), which fails for an id that is not in /etc/passwd, unless a variable names it."""
    assert "LOGNAME=" in " ".join(STAGES["operator"].all("ENV"))


def test_every_image_tells_its_health() -> None:
    (check,) = STAGES["operator"].all("HEALTHCHECK")
    assert "/healthz" in check
    assert "TIDEMILL_HEALTH_PORT" in check
    (check,) = STAGES["workloads"].all("HEALTHCHECK")
    assert ":52365/api/local_raylet_healthz" in check, "the port and path of Ray's agent, as in KubeRay's own probes"


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_pips_settings_are_a_secret_of_the_build_and_no_argument(stage: Stage) -> None:
    """An argument stays in the image's history; a secret is mounted for one RUN."""
    assert not [argument for argument in stage.all("ARG") if argument.startswith("PIP_")]
    for run in stage.all("RUN"):
        asks = [install for install in re.findall(r"pip install[^&;]*", run) if "--no-index" not in install]
        assert bool(asks) == run.startswith("--mount=type=secret,id=pip.conf,target=/etc/pip.conf"), run


def test_no_target_knows_of_an_index() -> None:
    for target in TARGETS:
        assert not [argument for argument in STAGES[target].all("ARG") if argument.startswith(("PIP_", "TORCH"))]


def test_an_unknown_engine_stops_the_build() -> None:
    (build,) = [run for run in STAGES["workloads-environment"].all("RUN") if "ENGINE" in run]
    assert "ENGINE must be cpu or gpu" in build
    assert "torchvision" in build.split("gpu)")[0]
