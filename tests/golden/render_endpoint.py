"""Renders each `cases/<name>.endpoint.yaml` into its children and into what its Serve is told.

Regenerate the expected files with `PYTHONPATH=tests .tidemill/venv/bin/python -m golden.render_endpoint`, then read the
diff.
"""

from dataclasses import replace
from pathlib import Path

import yaml
from golden.render import TERMS

from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec, valid_name
from tidemill_operator.config import Settings
from tidemill_operator.core.endpoint.plan import Deploy
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.manifests.endpoint_cluster import RevisionOrder, revision_cluster, revision_token, service
from tidemill_operator.manifests.network_policy import network_policy
from tidemill_operator.manifests.revisions import revision_of
from tidemill_operator.manifests.serve_config import endpoint_config, ingress_settings, serve_config
from tidemill_operator.views import queueing_of

CASES = Path(__file__).parent / "cases"
UID = "3f6f1c0e-0000-4000-8000-000000000002"


def names() -> list[str]:
    return sorted(path.name.removesuffix(".endpoint.yaml") for path in CASES.glob("*.endpoint.yaml"))


def expected_file(name: str) -> Path:
    return CASES / f"{name}.endpoint-children.yaml"


def order_of(name: str) -> RevisionOrder:
    endpoint = yaml.safe_load((CASES / f"{name}.endpoint.yaml").read_text())
    assert valid_name(endpoint["metadata"]["name"])
    spec = RealtimeEndpointSpec.model_validate(endpoint["spec"])
    settings = Settings()
    queueing = queueing_of(endpoint, SpecPolicy())
    return RevisionOrder(
        namespace=endpoint["metadata"]["namespace"],
        owner=endpoint["metadata"]["name"],
        owner_uid=UID,
        revision=revision_of(spec),
        spec=spec,
        ray_version=settings.ray_version,
        image_cpu=settings.image_cpu,
        image_gpu=settings.image_gpu,
        queueing=queueing,
        priority_class="tidemill-realtime" if queueing.queue else "",
    )


def put_body(order: RevisionOrder) -> dict:
    """What Serve is told first, for three replicas."""
    deploy = Deploy(order.revision, "10.0.0.1", 3, 4, ingress_settings(order.spec), 1)
    return serve_config(endpoint_config(order).model_dump(mode="json"), deploy)


def children(name: str) -> list[dict]:
    """The token Secret, the RayCluster, the Service, and the body of the first PUT to Serve."""
    order = order_of(name)
    workers = order.spec.replicas.max if order.queueing.fixed else 1
    return [revision_token(order, "the-token"), revision_cluster(order, workers), service(order), put_body(order)]


def policy(name: str) -> dict:
    """The NetworkPolicy; the larger case has all that a platform team may set."""
    strict = {"client_namespaces": ("web", "gateway"), "restricted_egress": True} if name == "everything" else {}
    return network_policy(children(name)[1], replace(TERMS, **strict))


def render(name: str) -> str:
    return yaml.safe_dump_all([*children(name), policy(name)], sort_keys=False, width=120)


if __name__ == "__main__":
    for case in names():
        expected_file(case).write_text(render(case))
