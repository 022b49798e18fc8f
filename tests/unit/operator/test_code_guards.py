"""An engine takes no remote code by its arguments, and none by the variables and mounts of its template either."""

import pytest
from unit.operator.builders import MINIMAL, make_spec
from unit.operator.endpoint_builders import make_spec as make_endpoint

from tidemill_operator.core.code_guards import hides_the_system, loads_code
from tidemill_operator.core.endpoint.spec_checks import endpoint_problems
from tidemill_operator.core.spec_checks import SpecPolicy, problems

CODE = [
    "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONBREAKPOINT", "PYTHONWARNINGS",
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PATH", "BASH_ENV", "HOME",
    "RAY_RUNTIME_ENV_HOOK", "RAY_RUNTIME_ENV_PLUGINS", "RAY_START_HOOK", "RAY_AUTH_TOKEN_PATH", "RAY_JEMALLOC_LIB_PATH",
    "VLLM_PLUGINS", "VLLM_ALLOW_INSECURE_SERIALIZATION", "VLLM_LOGGING_CONFIG_PATH", "VLLM_MODEL_REDIRECT_PATH",
    "VLLM_NCCL_SO_PATH", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_PORT_443_TCP",
    "OPENSSL_CONF", "OPENSSL_MODULES", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT", "NCCL_NET_PLUGIN",
]  # fmt: skip
NO_CODE = [
    "HF_HOME", "HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "AWS_ACCESS_KEY_ID", "OMP_NUM_THREADS", "PYTHONHASHSEED",
    "RAY_memory_usage_threshold", "RAY_DATA_PUSH_BASED_SHUFFLE", "VLLM_CPU_KVCACHE_SPACE", "VLLM_ATTENTION_BACKEND",
    "NCCL_DEBUG", "PORT", "LANG", "CUDA_VISIBLE_DEVICES", "ENVIRONMENT", "PATHS", "OLD_PATH",
    "ENV", "IFS", "PYTHONIOENCODING", "PYTHONUTF8", "KUBERNETES_NAMESPACE", "KUBERNETES_CLUSTER_DOMAIN",
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
]  # fmt: skip
SYSTEM = [
    "/usr", "/usr/", "/usr/lib/python3", "//usr", "/etc", "/etc/ld.so.preload", "/etc/passwd", "/opt", "/opt/tidemill",
    "/opt/tidemill/lib/python3.11/site-packages/vllm", "/bin", "/lib64", "/proc/self", "/sys", "/dev/shm", "/tmp",
    "/tmp/ray", "/var", "/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets",
]  # fmt: skip
OWN = ["/data", "/models", "/opt/models", "/tmp/scratch", "/etc/ssl/certs/company", "/etc/pki/ca", "/srv", "/usrdata"]


@pytest.mark.parametrize("name", CODE)
def test_a_variable_that_says_which_code_runs_is_refused(name):
    spec = {"template": {"env": [{"name": name, "value": "x"}]}}
    said = f"template.env: {name} "
    assert any(problem.startswith(said) for problem in template_problems(**spec))
    assert loads_code(name)


@pytest.mark.parametrize("name", NO_CODE)
def test_a_variable_that_says_nothing_of_code_is_taken(name):
    assert template_problems(template={"env": [{"name": name, "value": "x"}]}) == ()


@pytest.mark.parametrize("path", SYSTEM)
def test_a_mount_over_the_images_own_system_is_refused(path):
    assert hides_the_system(path)
    found = template_problems(template=mounted(path))
    assert [problem for problem in found if problem.startswith(f"template.volumeMounts: {path} is a folder of the")]


@pytest.mark.parametrize("path", OWN)
def test_a_mount_at_a_folder_of_ones_own_is_taken(path):
    assert template_problems(template=mounted(path)) == ()


@pytest.mark.parametrize("kind", ["secret", "configMap"])
def test_one_file_of_a_volume_is_no_way_round(kind):
    source = {"secret": {"secretName": "s"}} if kind == "secret" else {"configMap": {"name": "s"}}
    template = mounted("/etc/ld.so.preload", source, subPath="preload")
    assert any("folder of the image's system" in problem for problem in template_problems(template=template))


def test_a_tests_engine_may_be_named_and_found_where_the_operator_allows_such_engines_and_nothing_else():
    env = [{"name": name, "value": "x"} for name in ("PYTHONPATH", "PYTHONHOME", "LD_PRELOAD")]
    template = {**MINIMAL["template"], "env": env}
    found = problems(make_spec(template=template), SpecPolicy(allow_test_engine=True))
    assert [problem.split()[1] for problem in found] == ["PYTHONHOME", "LD_PRELOAD"]


def mounted(path, source=None, **mount):
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    more = {"name": "more", **(source or {"emptyDir": {}})}
    mounts = [{"name": "data", "mountPath": "/data"}] if path != "/data" else []
    return {"volumes": [data, more], "volumeMounts": [*mounts, {"name": "more", "mountPath": path, **mount}]}


def template_problems(template):
    """What is said of a job, which is the same as what is said of an endpoint."""
    volumes = mounted("/mine")
    whole = {"volumes": volumes["volumes"][:1], "volumeMounts": volumes["volumeMounts"][:1], **template}
    places = {"output": {"uri": "s3://bucket/out/"}, "input": {"uri": "s3://bucket/in.jsonl"}}
    found = problems(make_spec(template=whole, **places), SpecPolicy())
    assert endpoint_problems("chat", make_endpoint(template=whole, model=HUB), SpecPolicy()) == found
    return found


HUB = {"name": "m", "source": "team/m"}
