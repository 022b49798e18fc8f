"""The life of one container: prepared, started, probed, restarted in place with a back-off, stopped.

The plan of a start (environment, mounts, command) is made anew each time, so a Secret that appears heals a
container that waits for it. What must outlive the kubelet is in the container's folder: `record.json` here,
`process.json` and `exit.json` by the launcher.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from devcluster.kubelet import devices, environment, images, probes, security, volumes
from devcluster.kubelet.context import PodContext
from devcluster.kubelet.credentials import Credentials
from devcluster.kubelet.environment import ConfigError
from devcluster.kubelet.images import Image
from devcluster.kubelet.launch import LaunchPlan, write_json
from devcluster.kubelet.logs import last_words, log_file, turn_over
from devcluster.kubelet.pod_volumes import PodVolumes
from devcluster.kubelet.probing import Probing, run_hook
from devcluster.kubelet.process import ContainerProcess, launch
from devcluster.kubelet.root import Mount, RootPlan, closed_folders, own_code
from devcluster.kubelet.states import ContainerView, Running, Terminated, Waiting, policy_of, starts_again

logger = logging.getLogger(__name__)

Object = dict[str, Any]

CODE = (str(Path(__file__).resolve().parents[3]), sys.prefix, sys.base_prefix)
"""The checkout, its virtual environment and the interpreter behind it: what containers run."""

LOOK_AGAIN_SECONDS = 10.0
"""A container that waits for something looks again after this, even if no watched object changed."""


class Container:
    """Runs one container of a Pod. `view` is what the Pod's status says of it; `started` is set once it has been."""

    def __init__(self, context: PodContext, pod_volumes: PodVolumes, spec: Object, *, init: bool) -> None:
        self.spec = spec
        self.view = ContainerView(spec["name"], spec.get("image", ""))
        self.policy = policy_of(spec, context.pod["spec"], init=init)
        self._context = context
        self._volumes = pod_volumes
        self._probed = not init or spec.get("restartPolicy") == "Always"
        self.started = asyncio.Event()
        self._crashes = 0
        self._counted = ""
        self._process: ContainerProcess | None = None
        self._launching: asyncio.Task[ContainerProcess] | None = None

    @property
    def _folder(self) -> Path:
        return self._context.sandbox.container(self.spec["name"])

    @property
    def _container_id(self) -> str:
        return f"devcluster://{self._context.sandbox.uid}/{self.spec['name']}/{self.view.restarts}"

    def recall(self) -> None:
        """Take up what an earlier kubelet left: a running process, an ended one, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            record = json.loads((self._folder / "record.json").read_text())
            self._crashes, self._counted = record["crashes"], record["counted"]
            last = Terminated(**record["last"]) if record["last"] else None
            self.view = replace(self.view, restarts=record["restarts"], last=last)
        self._process = ContainerProcess.load(self._folder, self._container_id)
        if self._process is not None and not self._process.running():
            self._show(state=self._process.outcome())

    async def run(self) -> None:
        """Run the container until it has ended for good. Cancelling leaves the process alone: see `stop`."""
        while True:
            if self._process is None:
                self._process = await self._start()
            ended = await self._with_message(await self._live(self._process))
            self._process = None
            self._count(ended)
            self._show(state=ended, ready=not self._probed and ended.exit_code == 0, started=False)
            self._save()
            if not starts_again(self.policy, ended):
                return
            await self._wait_before_restart(ended)

    async def _with_message(self, ended: Terminated) -> Terminated:
        """With the end of its log as its message, where it failed without one and the spec wishes so."""
        wished = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not wished or ended.message or ended.exit_code == 0:
            return ended
        log = log_file(self._context.settings.state, self._context.pod, self.spec["name"])
        return replace(ended, message=await asyncio.to_thread(last_words, log))

    def _count(self, ended: Terminated) -> None:
        """Count an end towards the back-off, once, even if the kubelet is restarted before the next start."""
        if self._counted != ended.container_id:
            self._crashes = self._context.settings.back_off.count(self._crashes, ended)
            self._counted = ended.container_id

    def _show(self, **changes: Any) -> None:
        self.view = replace(self.view, **changes)
        if self.view.started:
            self.started.set()
        self._context.changed()

    def _save(self) -> None:
        last = asdict(self.view.last) if self.view.last else None
        record = {"restarts": self.view.restarts, "crashes": self._crashes, "counted": self._counted, "last": last}
        write_json(self._folder / "record.json", record)

    async def _start(self) -> ContainerProcess:
        """Start the container, waiting as long as something it needs is not there."""
        with self._context.lookup.changes() as changed:
            while True:
                changed.clear()
                try:
                    self._launching = asyncio.create_task(launch(await self._plan(), self._container_id))
                    process = await asyncio.shield(self._launching)
                    break
                except (ConfigError, OSError) as error:
                    reason = error.reason if isinstance(error, ConfigError) else "CreateContainerError"
                    self._show(state=Waiting(reason, str(error)))
                    told = "FailedMount" if reason == "ContainerCreating" else "Failed"
                    self._context.tell("Warning", told, str(error), self.spec["name"])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), LOOK_AGAIN_SECONDS)
        self._save()
        self._tell_started(process)
        return process

    def _tell_started(self, process: ContainerProcess) -> None:
        name, image = self.spec["name"], self.view.image
        told = f"Container image {image!r} is not pulled: the dev cluster runs what it would from the checkout"
        self._context.tell("Normal", "Pulled", told, name)
        self._context.tell("Normal", "Created", f"Created container {name}", name)
        failure = "" if process.running() else process.start_failure()
        if failure:
            self._context.tell("Warning", "Failed", f"Error: {failure}", name)
        else:
            self._context.tell("Normal", "Started", f"Started container {name}", name)

    async def _plan(self) -> LaunchPlan:
        context, spec, sandbox = self._context, self.spec, self._context.sandbox
        problem = probes.unsupported(spec)
        if problem:
            raise ConfigError(problem)
        image = images.find(self.view.image, context.settings.images)
        credentials = security.credentials_of(spec, context.pod, image)
        facts = await self._volumes.make(environment.references(spec))
        variables = environment.resolve(spec, context.pod, facts, await self._base_environment(image))
        command = environment.command_line(spec, variables, image)
        root = await self._root(volumes.mounts_of(spec, sandbox.volumes, variables), credentials)
        log = log_file(context.settings.state, context.pod, spec["name"])
        await asyncio.to_thread(turn_over, log)
        return LaunchPlan(
            folder=str(self._folder),
            log=str(log),
            log_bytes=context.settings.log_bytes,
            network_namespace=sandbox.network_namespace,
            hostname=sandbox.name[:63],
            root=root,
            command=command,
            environment=variables,
            working_directory=spec.get("workingDir") or variables["HOME"],
            credentials=credentials,
        )

    async def _base_environment(self, image: Image | None) -> dict[str, str]:
        """What the container starts with; that of the image only where it runs the image's command."""
        context, sandbox = self._context, self._context.sandbox
        base = environment.base_environment(sandbox.name, context.settings.search_path)
        base |= environment.api_server_environment(await context.lookup.api_server())
        if image is not None and not self.spec.get("command"):
            base |= {"HOME": "/", **image.environment}
        return base | devices.visible(sandbox.devices)

    async def _root(self, mounts: list[Mount], credentials: Credentials) -> RootPlan:
        context = self._context
        layer = await asyncio.to_thread(_fresh_layer, self._folder, credentials)
        emptied = closed_folders(CODE) if credentials.user else ()
        return RootPlan(
            root=str(self._folder / "root"),
            layer=str(layer),
            mounts=(*own_code(CODE, emptied), *self._own_files(mounts), *mounts),
            hidden=(str(context.settings.state),),
            devices=devices.files(context.sandbox.devices),
            emptied=emptied,
            read_only=bool(security.context_of(self.spec, context.pod).get("readOnlyRootFilesystem")),
        )

    def _own_files(self, mounts: list[Mount]) -> list[Mount]:
        """The Pod's own hosts, hostname, resolv.conf and /dev/shm, but where a volume takes that place."""
        sandbox = self._context.sandbox
        taken = {mount.target.rstrip("/") for mount in mounts}
        own = [Mount(str(sandbox.etc / name), f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")]
        own.append(Mount(str(sandbox.shared_memory), "/dev/shm"))  # noqa: S108 - the container's own
        return [mount for mount in own if mount.target not in taken]

    async def _live(self, process: ContainerProcess) -> Terminated:
        """Watch a started container until it ends, probing it meanwhile."""
        if not process.running():
            return await process.ended()
        self._show(state=Running(process.started_at, process.container_id), ready=False, started=False)
        probing = Probing(self._context, self.spec, process, self._show_probes)
        asking = asyncio.create_task(self._probe(probing, process))
        try:
            return await process.ended()
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    def _show_probes(self, **changes: bool) -> None:
        self._show(**changes)

    async def _probe(self, probing: Probing, process: ContainerProcess) -> None:
        if not self._probed:  # an init container has no probes; it is ready when it is done
            return
        try:
            failed = await probing.until_it_must_die()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception(
                "a bug ended the probing of %s", process.container_id
            )  # loud: it would look ready for ever
            return
        told = f"Container {self.spec['name']} {failed.what}, will be restarted"
        self._context.tell("Normal", "Killing", told, self.spec["name"])
        until = time.time() + (self._context.grace_seconds() if failed.grace is None else failed.grace)
        await self._end(process, lambda: until)

    async def _wait_before_restart(self, ended: Terminated) -> None:
        restarts = self.view.restarts + 1
        delay = self._context.settings.back_off.delay(self._crashes)
        left = delay - (time.time() - ended.finished_at)
        if left > 0:
            pod = f"pod {self._context.sandbox.name}"
            told = f"back-off {delay:g}s restarting failed container={self.spec['name']} {pod}"
            self._context.tell("Warning", "BackOff", f"Back-off restarting failed container: {told}", self.spec["name"])
            self._show(state=Waiting("CrashLoopBackOff", told), last=ended)
            await asyncio.sleep(left)
        self._show(last=ended, restarts=restarts)

    async def stop(self, deadline: Callable[[], float]) -> None:
        """End the container for good, gracefully until `deadline()` (seconds since 1970, asked again and again)."""
        if self._launching is not None and self._process is None:
            with contextlib.suppress(OSError):
                launched = await self._launching
                self._process = launched if launched.running() else None
        if self._process is not None and self._process.running():
            self._context.tell("Normal", "Killing", f"Stopping container {self.spec['name']}", self.spec["name"])
            await self._end(self._process, deadline)
        if self._process is not None:
            self._show(state=await self._process.ended(), ready=False, started=False)
            self._process = None

    async def _end(self, process: ContainerProcess, deadline: Callable[[], float]) -> None:
        """PreStop hook, SIGTERM, and SIGKILL at the deadline; returns when the container has ended."""
        ended = asyncio.create_task(process.ended())
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook:
            asking = asyncio.create_task(run_hook(hook, self.spec, self._context, process, "PreStop"))
            await _until(asking, deadline)
            asking.cancel()
        process.send(signal.SIGTERM)
        await _until(ended, deadline)
        process.send(signal.SIGKILL)
        await ended


async def _until(task: "asyncio.Task[Any]", deadline: Callable[[], float]) -> None:
    """Wait for a task, at most until a deadline that may be moved forward."""
    while not task.done():
        left = deadline() - time.time()
        if left <= 0:
            return
        await asyncio.wait([task], timeout=min(left, 0.5))


def _fresh_layer(folder: Path, credentials: Credentials) -> Path:
    """An empty writable layer for the next start; the one before is kept for looking at."""
    (folder / "root").mkdir(parents=True, exist_ok=True)
    layer, before = folder / "layer", folder / "layer.previous"
    if layer.exists():
        shutil.rmtree(before, ignore_errors=True)
        layer.replace(before)
    home = layer / "tmp" / "home"
    home.mkdir(parents=True)
    os.chown(home, credentials.user, credentials.group)
    return layer
