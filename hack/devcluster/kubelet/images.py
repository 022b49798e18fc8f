"""What the images of this project would run, read from the checkout's Dockerfile: the dev cluster pulls none.

A container whose image has `tidemill-<target>` in its name is taken for that target. Only what a start needs is
read: ENTRYPOINT, CMD, USER, ENV and WORKDIR. PATH is left out, since the commands are the checkout's own. The
parser knows the exec form alone, and no build arguments. Pure, but for `images_of`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

TARGETS = ("operator", "workloads")


@dataclass(frozen=True)
class Image:
    """What an image says of a start. `user` is as in USER: a name or an id, with or without a group; empty is root."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"


def images_of(checkout: Path) -> dict[str, Image]:
    """The images of a checkout by target; none where it has no Dockerfile."""
    file = checkout / "Dockerfile"
    stages = parse(file.read_text()) if file.exists() else {}
    return {target: stages[target] for target in TARGETS if target in stages}


def find(name: str, images: Mapping[str, Image]) -> Image | None:
    """The image that a name such as `registry.example/team/tidemill-operator:0.1.0` means; None if it is not ours."""
    repository = name.partition("@")[0].rpartition("/")[2]
    return next((image for target, image in images.items() if f"tidemill-{target}" in repository), None)


def parse(dockerfile: str) -> dict[str, Image]:
    """Each named stage of a Dockerfile. Raises ValueError for an ENTRYPOINT or CMD that is not in the exec form."""
    stages: dict[str, Image] = {}
    name, image = "", Image()
    for instruction, rest in _instructions(dockerfile):
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            image = stages.get(base.strip(), Image())
        else:
            image = _after(image, instruction, rest)
        if name:
            stages[name.strip()] = image
    return stages


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for statement in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = statement.strip().partition(" ")
        yield instruction.upper(), rest.strip()


def _after(image: Image, instruction: str, rest: str) -> Image:
    """The image with one more instruction."""
    if instruction == "ENTRYPOINT":
        return replace(image, entrypoint=_words(rest), command=())
    if instruction == "CMD":
        return replace(image, command=_words(rest))
    if instruction == "USER":
        return replace(image, user=rest)
    if instruction == "WORKDIR":
        return replace(image, working_directory=rest)
    if instruction == "ENV":
        pairs = (word.partition("=") for word in shlex.split(rest))
        added = {key: value for key, _, value in pairs if key != "PATH"}
        return replace(image, environment={**image.environment, **added})
    return image


def _words(rest: str) -> tuple[str, ...]:
    if not rest.startswith("["):
        raise ValueError(f"not in the exec form: {rest}")
    return tuple(json.loads(rest))
