"""The Pod Security Standards: what in a pod's spec breaks the levels `baseline` and `restricted`. Pure.

Rules, order and words are those of k8s.io/pod-security-admission at its latest version, so that a message here reads
as on a real cluster; policies pinned to an older version are judged by the latest all the same.
`violations(level, spec, annotations)` may be asked about any pod template, rendered manifests included.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
Check = Callable[["Subject"], str]
"""What is wrong, as `reason (detail)`; empty where nothing is."""

LEVELS = ("privileged", "baseline", "restricted")

_USUAL_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SAFE_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat",
})  # fmt: skip
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


class Subject:
    """A pod as the checks look at it: its spec, its annotations and all its containers."""

    def __init__(self, spec: Object, annotations: Mapping[str, str]) -> None:
        self.spec = spec
        self.annotations = annotations
        self.context: Object = spec.get("securityContext") or {}
        kinds = ("initContainers", "containers", "ephemeralContainers")
        self.containers: list[Object] = [one for kind in kinds for one in spec.get(kind) or []]
        self.contexts = [self.context, *(one.get("securityContext") or {} for one in self.containers)]
        self.windows = (spec.get("os") or {}).get("name") == "windows"
        self.own_users = spec.get("hostUsers") is False

    def bad(self, wrong: Callable[[Object], bool]) -> list[str]:
        """The names of the containers whose security context is wrong."""
        return [one["name"] for one in self.containers if wrong(one.get("securityContext") or {})]

    def setters(self, wrong: Callable[[Object], bool]) -> str:
        """Who sets something wrong: the pod, containers, or both, in words."""
        names = self.bad(wrong)
        return " and ".join([*(["pod"] if wrong(self.context) else []), *([_containers(names)] if names else [])])

    def values(self, value: Callable[[Object], str | None]) -> list[str]:
        """What the pod and its containers set, without repetition."""
        return sorted({found for context in self.contexts if (found := value(context)) is not None})


def violations(level: str, spec: Object, annotations: Mapping[str, str] | None = None) -> list[str]:
    """What breaks a level, each as `reason (detail)`, in the order in which Kubernetes tells it."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level of Pod Security: {', '.join(LEVELS)}")
    subject = Subject(spec, annotations or {})
    checks = {"privileged": (), "baseline": _BASELINE, "restricted": _RESTRICTED}[level]
    return [told for check in checks if (told := check(subject))]


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def _counted(noun: str, items: Sequence[object]) -> str:
    return noun if len(items) == 1 else f"{noun}s"


def _containers(names: Sequence[str]) -> str:
    return f"{_counted('container', names)} {_quoted(names)}"


def _app_armor(subject: Subject) -> str:
    def bad_type(context: Object) -> str | None:
        profile = context.get("appArmorProfile")
        return str(profile.get("type")) if profile and profile.get("type") not in _PROFILES else None

    noted = sorted(
        f'{key}="{value}"'
        for key, value in subject.annotations.items()
        if key.startswith(_APPARMOR) and value and value != "runtime/default" and not value.startswith("localhost/")
    )
    setters = [subject.setters(lambda context: bad_type(context) is not None)]
    setters += [_counted("annotation", noted)] if noted else []
    values = [*subject.values(bad_type), *noted]
    if not values:
        return ""
    who = " and ".join(filter(None, setters))
    what = _counted("forbidden AppArmor profile", values)
    return f"{what} ({who} must not set AppArmor profile type to {_quoted(values)})"


def _added(context: Object) -> list[str]:
    return list((context.get("capabilities") or {}).get("add") or [])


def _no_unusual_capabilities(subject: Subject) -> str:
    names = subject.bad(lambda context: not set(_added(context)) <= _USUAL_CAPABILITIES)
    return f"non-default capabilities ({_forbidden(subject, names, _USUAL_CAPABILITIES)})" if names else ""


def _forbidden(subject: Subject, names: Sequence[str], allowed: frozenset[str]) -> str:
    added = {name for one in subject.containers for name in _added(one.get("securityContext") or {})} - allowed
    return f"{_containers(names)} must not include {_quoted(sorted(added))} in securityContext.capabilities.add"


def _host_namespaces(subject: Subject) -> str:
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(name)]
    return f"host namespaces ({', '.join(shared)})" if shared else ""


def _host_paths(subject: Subject) -> str:
    names = [volume["name"] for volume in subject.spec.get("volumes") or [] if volume.get("hostPath") is not None]
    return f"hostPath volumes ({_counted('volume', names)} {_quoted(names)})" if names else ""


def _host_ports(subject: Subject) -> str:
    used = {one["name"]: [port["hostPort"] for port in one.get("ports") or [] if port.get("hostPort")]
            for one in subject.containers}  # fmt: skip
    names = [name for name, ports in used.items() if ports]
    ports = sorted({str(port) for each in used.values() for port in each})
    verb = "uses" if len(names) == 1 else "use"
    return f"hostPort ({_containers(names)} {verb} {_counted('hostPort', ports)} {', '.join(ports)})" if names else ""


def _hosts_of(container: Object) -> Iterator[str]:
    """The hosts that a container has the kubelet ask, by probes and hooks."""
    hooks = container.get("lifecycle") or {}
    probes = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    for action in (*probes, hooks.get("postStart"), hooks.get("preStop")):
        for kind in ("httpGet", "tcpSocket"):
            host = ((action or {}).get(kind) or {}).get("host")
            if host:
                yield str(host)


def _host_probes(subject: Subject) -> str:
    names = sorted(one["name"] for one in subject.containers if list(_hosts_of(one)))
    hosts = sorted({host for one in subject.containers for host in _hosts_of(one)})
    verb = "uses" if len(names) == 1 else "use"
    what = "probe or lifecycle host"
    return f"{what} ({_containers(names)} {verb} {_counted(what, hosts)} {_quoted(hosts)})" if names else ""


def _privileged(subject: Subject) -> str:
    names = subject.bad(lambda context: bool(context.get("privileged")))
    return f"privileged ({_containers(names)} must not set securityContext.privileged=true)" if names else ""


def _proc_mount(subject: Subject) -> str:
    names = subject.bad(lambda context: context.get("procMount", "Default") != "Default")
    kinds = sorted({(one.get("securityContext") or {})["procMount"] for one in subject.containers
                    if one["name"] in names})  # fmt: skip
    told = f"{_containers(names)} must not set securityContext.procMount to {_quoted(kinds)}"
    return f"procMount ({told})" if names else ""


def _proc_mount_baseline(subject: Subject) -> str:
    return "" if subject.own_users else _proc_mount(subject)


def _selinux(subject: Subject) -> str:
    def options(context: Object) -> Object:
        return context.get("seLinuxOptions") or {}

    def wrong(context: Object) -> bool:
        found = options(context)
        return found.get("type", "") not in _SELINUX_TYPES or bool(found.get("user")) or bool(found.get("role"))

    setters = subject.setters(wrong)
    types = [one for one in subject.values(lambda context: options(context).get("type")) if one not in _SELINUX_TYPES]
    told = [f"{_counted('type', types)} {_quoted(types)}"] if types else []
    found = [options(context) for context in subject.contexts]
    told += [f"{name} may not be set" for name in ("user", "role") if any(one.get(name) for one in found)]
    return f"seLinuxOptions ({setters} set forbidden securityContext.seLinuxOptions: {'; '.join(told)})" if told else ""


def _bad_profile(context: Object) -> str | None:
    profile = context.get("seccompProfile")
    return str(profile.get("type")) if profile and profile.get("type") not in _PROFILES else None


def _seccomp_baseline(subject: Subject) -> str:
    setters = subject.setters(lambda context: _bad_profile(context) is not None)
    values = _quoted(subject.values(_bad_profile))
    told = f"{setters} must not set securityContext.seccompProfile.type to {values}"
    return f"seccompProfile ({told})" if setters else ""


def _seccomp(subject: Subject) -> str:
    if subject.windows:
        return ""
    told = _seccomp_baseline(subject)
    if told or subject.context.get("seccompProfile"):
        return told
    names = subject.bad(lambda context: not context.get("seccompProfile"))
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"seccompProfile (pod or {_containers(names)} {wanted})" if names else ""


def _sysctls(subject: Subject) -> str:
    names = [one["name"] for one in subject.context.get("sysctls") or [] if one["name"] not in _SAFE_SYSCTLS]
    return f"forbidden sysctls ({', '.join(names)})" if names else ""


def _windows_host_process(subject: Subject) -> str:
    setters = subject.setters(lambda context: bool((context.get("windowsOptions") or {}).get("hostProcess")))
    return f"hostProcess ({setters} must not set securityContext.windowsOptions.hostProcess=true)" if setters else ""


def _escalation(subject: Subject) -> str:
    names = [] if subject.windows else subject.bad(lambda context: context.get("allowPrivilegeEscalation") is not False)
    told = f"{_containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return f"allowPrivilegeEscalation != false ({told})" if names else ""


def _capabilities(subject: Subject) -> str:
    if subject.windows:
        return ""
    keeping = subject.bad(lambda context: "ALL" not in ((context.get("capabilities") or {}).get("drop") or []))
    allowed = frozenset({"NET_BIND_SERVICE"})
    adding = subject.bad(lambda context: not set(_added(context)) <= allowed)
    told = [f'{_containers(keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    told += [_forbidden(subject, adding, allowed)] if adding else []
    return f"unrestricted capabilities ({'; '.join(told)})" if told else ""


def _volume_types(subject: Subject) -> str:
    kinds = {volume["name"]: [kind for kind in volume if kind != "name" and volume[kind] is not None]
             for volume in subject.spec.get("volumes") or []}  # fmt: skip
    bad = {name: found for name, found in kinds.items() if not set(found) & _VOLUMES and found}
    if not bad:
        return ""
    names, types = list(bad), sorted({kind for found in bad.values() for kind in found})
    verb = "uses" if len(names) == 1 else "use"
    told = f"{_counted('volume', names)} {_quoted(names)} {verb} {_counted('restricted volume type', types)}"
    return f"restricted volume types ({told} {_quoted(types)})"


def _not_root(subject: Subject) -> str:
    if subject.own_users:
        return ""
    setters = subject.setters(lambda context: context.get("runAsNonRoot") is False)
    if setters:
        return f"runAsNonRoot != true ({setters} must not set securityContext.runAsNonRoot=false)"
    silent = subject.bad(lambda context: context.get("runAsNonRoot") is None)
    if subject.context.get("runAsNonRoot") or not silent:
        return ""
    return f"runAsNonRoot != true (pod or {_containers(silent)} must set securityContext.runAsNonRoot=true)"


def _user(subject: Subject) -> str:
    setters = "" if subject.own_users else subject.setters(lambda context: context.get("runAsUser") == 0)
    return f"runAsUser=0 ({setters} must not set runAsUser=0)" if setters else ""


_BASELINE: tuple[Check, ...] = (
    _app_armor, _no_unusual_capabilities, _host_namespaces, _host_paths, _host_ports, _host_probes, _privileged,
    _proc_mount_baseline, _selinux, _seccomp_baseline, _sysctls, _windows_host_process,
)  # fmt: skip
_RESTRICTED: tuple[Check, ...] = (
    _app_armor, _host_namespaces, _host_ports, _host_probes, _privileged, _selinux, _sysctls, _windows_host_process,
    _escalation, _capabilities, _proc_mount, _volume_types, _not_root, _user, _seccomp,
)  # fmt: skip
