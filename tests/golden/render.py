"""Renders each `cases/<name>.job.yaml` into the children that the operator would create for it.

Regenerate the expected files with `PYTHONPATH=tests .tidemill/venv/bin/python -m golden.render`, then read the diff.
"""

from pathlib import Path

import yaml

from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
from tidemill_operator.config import Settings
from tidemill_operator.core.spec_checks import SpecPolicy, problems
from tidemill_operator.manifests.network_policy import PolicyTerms, network_policy
from tidemill_operator.manifests.ray_cluster import ClusterOrder, ray_cluster, token_secret
from tidemill_operator.views import queueing_of

CASES = Path(__file__).parent / "cases"
POLICY = SpecPolicy(service_accounts=("reader",))
TERMS = PolicyTerms("tidemill", (("app.kubernetes.io/name", "tidemill"),), ("monitoring",))
UID = "3f6f1c0e-0000-4000-8000-000000000001"


def names() -> list[str]:
    return sorted(path.name.removesuffix(".job.yaml") for path in CASES.glob("*.job.yaml"))


def expected_file(name: str) -> Path:
    return CASES / f"{name}.children.yaml"


def children(name: str) -> list[dict]:
    """The token Secret and the RayCluster of this case's job, as they would be sent."""
    job = yaml.safe_load((CASES / f"{name}.job.yaml").read_text())
    spec = BatchInferenceJobSpec.model_validate(job["spec"])
    assert problems(spec, POLICY) == ()
    settings = Settings()
    queueing = queueing_of(job, SpecPolicy(elastic_jobs="elastic" in name))
    order = ClusterOrder(
        namespace=job["metadata"]["namespace"],
        owner=job["metadata"]["name"],
        owner_uid=UID,
        spec=spec,
        ray_version=settings.ray_version,
        image_cpu=settings.image_cpu,
        image_gpu=settings.image_gpu,
        queueing=queueing,
        priority_class="tidemill-batch" if queueing.queue else "",
    )
    return [token_secret(order, "the-token"), ray_cluster(order, spec.workers.max if queueing.fixed else 0)]


def render(name: str) -> str:
    made = children(name)
    return yaml.safe_dump_all([*made, network_policy(made[1], TERMS)], sort_keys=False, width=120)


if __name__ == "__main__":
    for case in names():
        expected_file(case).write_text(render(case))
