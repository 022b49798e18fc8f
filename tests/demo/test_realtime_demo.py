"""`./hack/demo.sh --realtime` as a user runs it: the real model behind the real operator, and an exit code to trust."""

import os
import re

import pytest
import yaml
from cluster_fixtures import CHECKOUT
from demo_process import demo, devcluster_runs

EXAMPLES = CHECKOUT / "hack" / "examples"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="the dev cluster makes network namespaces, which needs root"),
]


def example(tmp_path, name="chat-endpoint.yaml", **spec):
    """A shipped example with other values in its spec, as a file."""
    manifest = yaml.safe_load((EXAMPLES / name).read_text())
    manifest["spec"] |= spec
    (tmp_path / name).write_text(yaml.safe_dump(manifest))
    return tmp_path / name


def sizes(done):
    """The sizes that were shown, answering and wanted, without repetitions."""
    shown = re.findall(r"replicas (\d+)/(\d+)", done.output)
    return [size for number, size in enumerate(shown) if number == 0 or size != shown[number - 1]]


def in_order(wanted, shown):
    """Whether these stand in `shown` in this order, whatever stands between."""
    rest = iter(shown)
    return all(one in rest for one in wanted)


def paced(tmp_path):
    """The chat example with the tests' engine in place of vLLM: the cluster, Ray and Serve are real, a model is not."""
    manifest = yaml.safe_load((EXAMPLES / "chat-endpoint.yaml").read_text())
    template = manifest["spec"]["template"]
    variables = {
        "TIDEMILL_ENGINE": "paced_server:create",
        "PYTHONPATH": "/engines",
        "TIDEMILL_TEST_TOKEN_SECONDS": "0.05",
        "TIDEMILL_TEST_LOAD_SECONDS": "5",
    }
    template["env"] = [{"name": name, "value": value} for name, value in variables.items()]
    template["volumes"].append({"name": "engines", "hostPath": {"path": str(CHECKOUT / "tests")}})
    template["volumeMounts"].append({"name": "engines", "mountPath": "/engines", "readOnly": True})
    (tmp_path / "paced.yaml").write_text(yaml.safe_dump(manifest))
    return tmp_path / "paced.yaml"


def assert_all_came_about(done):
    """Every act was shown, every request answered, and nothing runs any more."""
    assert done.returncode == 0, done.output
    assert in_order([("1", "1"), ("1", "2"), ("2", "2"), ("1", "1"), ("0", "0"), ("0", "1")], sizes(done))
    answered = re.search(r"(\d+) of (\d+) requests answered", done.output)
    assert answered is not None
    assert answered[1] == answered[2]
    assert int(answered[1]) > 50
    assert "a wrong key: 401" in done.output
    assert "the held request was answered after" in done.output
    assert "replicas wanted" in done.output, "the plot"
    assert "Traceback" not in done.output
    assert not devcluster_runs()


@pytest.mark.all
@pytest.mark.timeout(460)
def test_all_acts_come_about_on_a_real_cluster_with_a_paced_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("TIDEMILL_ALLOW_TEST_ENGINE", "true")
    assert_all_came_about(demo("--realtime", "--endpoint", paced(tmp_path), seconds=380))


@pytest.mark.all
@pytest.mark.timeout(960)
def test_an_endpoint_grows_shrinks_sleeps_and_wakes_and_every_request_is_answered():
    assert_all_came_about(demo("--realtime", seconds=900))


@pytest.mark.all
@pytest.mark.timeout(660)
def test_the_embedding_example_answers_too(tmp_path):
    manifest = example(tmp_path, "embeddings-endpoint.yaml", replicas={"min": 1, "max": 1})
    done = demo("--realtime", "--endpoint", manifest, seconds=600)
    assert done.returncode == 0, done.output
    assert "384 dimensions" in done.output


@pytest.mark.all
@pytest.mark.timeout(360)
def test_a_model_that_is_not_there_ends_the_demo_with_what_to_mend(tmp_path):
    manifest = example(tmp_path, model={"name": "smollm2", "source": "/models/none-such"})
    done = demo("--realtime", "--endpoint", manifest, seconds=300)
    assert done.returncode == 1, done.output
    assert re.search(r"demo: .*ModelNotFound: .*/models/none-such", done.output)
    assert "Traceback" not in done.output


@pytest.mark.all
def test_a_stopped_realtime_demo_leaves_nothing_running():
    done = demo("--realtime", stop_at=lambda line: "ClusterStarting" in line)
    assert done.returncode == 130, done.output
    assert "Traceback" not in done.output
    assert not devcluster_runs()


def test_a_wrong_manifest_is_said_before_anything_starts(tmp_path):
    manifest = example(tmp_path, replicas={"min": 3, "max": 2})
    done = demo("--realtime", "--endpoint", manifest)
    assert done.returncode == 1
    assert "spec.replicas" in done.output
    assert "dev cluster" not in done.output
