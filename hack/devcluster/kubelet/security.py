"""A container's `securityContext`, as far as the dev cluster can honour it. Pure.

Honoured: `runAsUser`, `runAsGroup`, `supplementalGroups` and `fsGroup` (for volumes of files, emptyDir and claims, of
the latter two the top folder alone), `runAsNonRoot`, `allowPrivilegeEscalation`, `capabilities` and
`readOnlyRootFilesystem`. A container of one of our images without a `command` runs as the image's USER.

Not honoured: `seccompProfile`, `appArmorProfile`, `seLinuxOptions`, `procMount`, `privileged` (it gives nothing), and
the image's USER where the container has a `command`: that comes from the checkout, and writes to hostPath folders of
the developer's own, which another user could not. `runAsNonRoot` is then judged by the image and the command runs as
root, with the capabilities that the spec leaves it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from devcluster.kubelet.credentials import CAPABILITIES, USUAL, Credentials
from devcluster.kubelet.environment import ConfigError
from devcluster.kubelet.images import Image

Object = Mapping[str, Any]


def context_of(container: Object, pod: Object) -> dict[str, Any]:
    """The fields in force for a container: its own go before the Pod's."""
    spoken = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    return {field: value for field, value in spoken.items() if value is not None}


def credentials_of(container: Object, pod: Object, image: Image | None) -> Credentials:
    """As whom a container's command runs. Raises `ConfigError`, in kubelet's words, where `runAsNonRoot` forbids it."""
    context = context_of(container, pod)
    if context.get("runAsNonRoot"):
        _verify_not_root(container, pod, context, image)
    of_image = image.user if image is not None and not container.get("command") else ""
    user, _, group = of_image.partition(":")
    groups = [*(context.get("supplementalGroups") or []), *([context["fsGroup"]] if "fsGroup" in context else [])]
    asked = context.get("capabilities") or {}
    return Credentials(
        user=int(context.get("runAsUser", _number(user))),
        group=int(context.get("runAsGroup", _number(group))),
        groups=tuple(dict.fromkeys(int(one) for one in groups)),
        capabilities=_capabilities(asked.get("add") or [], asked.get("drop") or []),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
    )


def owner_of_tokens(pod: Object) -> int | None:
    """The user whose the Pod's tokens are: the one that all its containers name, if they name one."""
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    users = {context_of(container, pod).get("runAsUser") for container in containers}
    return users.pop() if len(users) == 1 else None


def _verify_not_root(container: Object, pod: Object, context: Object, image: Image | None) -> None:
    metadata = pod["metadata"]
    where = f'(pod: "{metadata["name"]}_{metadata.get("namespace", "")}", container: {container["name"]})'
    if "runAsUser" in context:
        if context["runAsUser"] == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image is None:
        raise ConfigError(
            f"container has runAsNonRoot and the user of image {container.get('image', '')!r} is not known to the dev "
            f"cluster, cannot verify user is non-root; set runAsUser {where}"
        )
    user = image.user.partition(":")[0]
    if user in {"", "0", "root"}:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not user.isdigit():
        told = f"container has runAsNonRoot and image has non-numeric user ({user})"
        raise ConfigError(f"{told}, cannot verify user is non-root {where}")


def _number(name: str) -> int:
    """A numeric id of an image; names mean nothing here, where the image's /etc/passwd is not."""
    return int(name) if name.isdigit() else 0


def _capabilities(add: Iterable[str], drop: Iterable[str]) -> tuple[int, ...]:
    """The usual ones without `drop`, and with `add`."""
    dropped, added = {_plain(name) for name in drop}, {_plain(name) for name in add}
    kept = [] if "ALL" in dropped else [number for number in USUAL if CAPABILITIES[number] not in dropped]
    every = range(len(CAPABILITIES))
    more = every if "ALL" in added else [number for number in every if CAPABILITIES[number] in added]
    return tuple(sorted({*kept, *more}))


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
