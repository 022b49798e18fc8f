"""What Serve is told to run (the body of PUT /api/serve/applications/): pure builders, API types in, a dict out.

A PUT sets the replicas of each deployment of which it changes anything, and of no other (`DeploymentState.deploy` in
Ray 2.60). So every PUT carries the counts that are wanted, and no deployment carries an autoscaling_config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill_api.endpoint_contract import (
    API_KEYS_FOLDER,
    APPLICATION,
    ENGINE_DEPLOYMENT,
    IMPORT_PATH,
    INGRESS_DEPLOYMENT,
    PROXY_PORT,
    ROUTE_PREFIX,
    EndpointConfig,
    EngineSettings,
    IngressSettings,
)

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
    from tidemill_operator.core.endpoint.plan import Deploy
    from tidemill_operator.manifests.endpoint_cluster import RevisionOrder


KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays: longer than clients keep theirs (httpx 5 s, most others up to 60 s), or a request
that is sent just then meets a closing socket."""


def endpoint_config(order: RevisionOrder) -> EndpointConfig:
    """The arguments of the application: the same for the whole life of a revision."""
    spec = order.spec
    return EndpointConfig(
        namespace=order.namespace,
        name=order.owner,
        revision=order.revision,
        model=spec.model,
        gpus_per_replica=spec.resources.gpu,
        max_sequences=spec.batching.max_sequences,
        max_batched_tokens=spec.batching.max_batched_tokens,
        priority_scheduling=spec.batching.scheduling == "Priority",
        api_keys_folder=API_KEYS_FOLDER if spec.auth is not None else "",
        start_seconds=spec.upgrade.progress_deadline_seconds,
        drain_seconds=order.drain_seconds,
    )


def ingress_settings(spec: RealtimeEndpointSpec) -> IngressSettings:
    """What the ingress is told without a restart."""
    limits = spec.limits
    return IngressSettings(queue_bound=limits.queue_bound, request_timeout_seconds=limits.request_timeout_seconds)


def _ingress(deploy: Deploy) -> IngressSettings:
    """With the number of the attempt, by which Serve tries an ingress again that it has given up."""
    return deploy.settings.model_copy(update={"attempt": deploy.attempt})


def serve_config(arguments: dict[str, Any], deploy: Deploy) -> dict[str, Any]:
    """The body of the PUT. `arguments` are those of the first PUT to this cluster, whatever the operator would say now.

    Serve builds an application anew where its arguments change: an operator that was upgraded, and would word them in
    another way, must not restart engines that serve.
    """
    deployments = (
        (ENGINE_DEPLOYMENT, deploy.engine_replicas, EngineSettings(attempt=deploy.attempt).model_dump()),
        (INGRESS_DEPLOYMENT, deploy.ingress_replicas, _ingress(deploy).model_dump(exclude_defaults=True)),
    )
    return {
        "proxy_location": "EveryNode",
        "http_options": {
            "host": "0.0.0.0",  # noqa: S104 - inside the pod's own network
            "port": PROXY_PORT,
            "keep_alive_timeout_s": KEEP_ALIVE_SECONDS,
        },
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": ROUTE_PREFIX,
                "import_path": IMPORT_PATH,
                "external_scaler_enabled": True,
                "args": arguments,
                "deployments": [
                    {"name": name, "num_replicas": replicas, "user_config": told}
                    for name, replicas, told in deployments
                ],
            }
        ],
    }
