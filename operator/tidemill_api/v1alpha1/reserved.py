"""Names that a template may not use, since they are ours, KubeRay's, or load code that is not the image's.

Once for the API server, as CEL rules, and once for the operator, which says the same of objects that were stored before
there was such a rule. What a setting of the operator allows in tests is left to the operator alone.
"""

from __future__ import annotations

from tidemill_api import labels

OUR_LABELS = (labels.MANAGED_BY,)
OUR_VOLUMES = ("shared-mem", "ray-logs", "log-volume")
"""Names that KubeRay gives to the volumes it adds."""

OUR_VARIABLES = frozenset(
    {
        "PYTHONSAFEPATH",
        "PYTHONUNBUFFERED",
        "RAY_ADDRESS",
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
        "RAY_JOB_STOP_WAIT_TIME_S",
        "RAY_PORT",
        "RAY_USAGE_STATS_ENABLED",
        "RAY_worker_niceness",
    }
)
"""Variables of Ray and Python that we or KubeRay set on the same container: a second value would win over ours."""

OUR_PREFIX = "TIDEMILL_"
"""Variables by which the operator talks to the driver. A user's would be a second, hidden API beside the spec."""

TEST_VARIABLE = "TIDEMILL_ENGINE"
TEST_PREFIX = "TIDEMILL_TEST_"
"""Of these, what gives tests another engine than vLLM, and what tells that engine what to do."""

ENDPOINT_VOLUMES = ("tidemill-api-keys",)
ENDPOINT_VARIABLES = ("RAY_SERVE_", "RAY_metrics_report_interval_ms", "RAY_gcs_", "RAY_REDIS", "RAY_external_storage")
"""Beginnings of variables by which the Ray of an endpoint would be told something else than the operator tells it."""

CODE_PREFIXES = ("PYTHON", "LD_", "RAY_RUNTIME_ENV_", "RAY_AUTH_", "KUBERNETES_SERVICE_", "KUBERNETES_PORT")
"""Beginnings of variables that name code, its folders, or whom a pod trusts."""

HARMLESS = frozenset(
    {
        "PYTHONASYNCIODEBUG",
        "PYTHONCOERCECLOCALE",
        "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONNOUSERSITE",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONTRACEMALLOC",
        "PYTHONUTF8",
        "PYTHONVERBOSE",
    }
)
"""Variables of Python that say how it runs, not what (`python --help-env`)."""

CODE_VARIABLES = frozenset(
    {
        "BASH_ENV",  # KubeRay starts Ray in a bash
        "HOME",  # Python, Triton and vLLM load from folders below it: .local/lib, .triton, .cache/vllm
        "NCCL_NET_PLUGIN",  # this and the next two name libraries that are loaded
        "NCCL_PROFILER_PLUGIN",
        "NCCL_TUNER_PLUGIN",
        "OPENSSL_CONF",  # names engines and providers to be loaded, and whom TLS trusts
        "OPENSSL_ENGINES",
        "OPENSSL_MODULES",
        "PATH",
        "RAY_CLUSTER_ACTIVITY_HOOK",
        "RAY_JEMALLOC_LIB_PATH",
        "RAY_JOB_SUBMIT_HOOK",
        "RAY_START_HOOK",
        "RAY_USER_SETUP_FUNCTION",
        "TORCHINDUCTOR_CACHE_DIR",  # compiled kernels are loaded from it, as from the caches of Triton and vLLM
        "TRITON_CACHE_DIR",
        "VLLM_ALLOW_INSECURE_SERIALIZATION",  # pickles that come over the wire
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
        "VLLM_CACHE_ROOT",
        "VLLM_CUDART_SO_PATH",
        "VLLM_LOGGING_CONFIG_PATH",  # names classes to be made
        "VLLM_MODEL_REDIRECT_PATH",  # another model than the spec says
        "VLLM_NCCL_SO_PATH",
        "VLLM_PLUGINS",
        "VLLM_RUST_FRONTEND_PATH",
        "VLLM_SERVER_DEV_MODE",
    }
)
"""From the environment variables that Ray 2.60 and vLLM 0.32 read (`ray/**/*.py`, `vllm/envs.py`), and their libraries.

What this is: `spec.image` is free, so who writes a template can run any code, and no list changes that. The list keeps
the image the one place where code comes from, so that a policy of admission on images (signatures, registries, scans)
is not walked round by a variable. It is no sandbox, and not complete: a library may read a variable that nobody here
knows of. `SSL_CERT_FILE` and its like are left: a company's own authority is a fair wish.
"""

TEST_CODE = "PYTHONPATH"
"""How a test's engine is found, where the operator allows such engines."""

_UP = "!self.matches('(^|/)[.][.](/|$)')"


def _listed(names: tuple[str, ...] | frozenset[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in sorted(names)) + "]"


def no_way_up(field: str) -> tuple[str, str]:
    """The rule that a path or URI has no `..` in it."""
    return _UP, f"{field} must not have '..' in it"


def not_one_of(names: tuple[str, ...], message: str) -> tuple[str, str]:
    """The rule that a name is none of these."""
    return f"!(self in {_listed(names)})", message


VARIABLE_RULES = (
    (f"!(self in {_listed(OUR_VARIABLES)})", "env: this name is set by the operator itself: remove the variable"),
    (
        f"!self.startsWith('{OUR_PREFIX}') || self == '{TEST_VARIABLE}' || self.startsWith('{TEST_PREFIX}')",
        f"env: a name that begins with {OUR_PREFIX} is the operator's own: remove or rename the variable",
    ),
    (
        f"!(self in {_listed(CODE_VARIABLES)}) && (self in {_listed(HARMLESS | OUR_VARIABLES | {TEST_CODE})}"
        f" || !{_listed(CODE_PREFIXES)}.exists(prefix, self.startsWith(prefix)))",
        "env: this name says which code is run or whom it trusts: put that into an image of your own",
    ),
)

ENDPOINT_TEMPLATE_RULES = (
    (
        f"!has(self.volumes) || self.volumes.all(volume, !(volume.name in {_listed(ENDPOINT_VOLUMES)}))",
        f"template.volumes: the name {ENDPOINT_VOLUMES[0]} is the operator's own: choose another",
    ),
    (
        f"!has(self.env) || self.env.all(variable, !{_listed(ENDPOINT_VARIABLES)}"
        ".exists(prefix, variable.name.startsWith(prefix)))",
        f"template.env: the operator sets variables that begin with {', '.join(ENDPOINT_VARIABLES)}: remove them",
    ),
)


def under_a_mount(field: str) -> tuple[str, str, str]:
    """The field, and the rule of the spec that its path lies under a mount of the template, with what is said.

    Paths and mounts in unusual spellings pass: the operator, which reads them as paths, judges those.
    """
    at = f"self.{field}"
    mounted = (
        f"{at} == mount.mountPath || {at}.startsWith(mount.mountPath + '/')"
        " || mount.mountPath.matches('//|/[.](/|$)|/$')"
    )
    rule = (
        f"!{at}.startsWith('/') || {at}.contains('//') || (has(self.template) && has(self.template.volumeMounts)"
        f" && self.template.volumeMounts.exists(mount, {mounted}))"
    )
    return field, rule, f"{field} is a path under no mount of the template: add one to template.volumeMounts"
