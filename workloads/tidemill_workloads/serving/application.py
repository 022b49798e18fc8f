"""The Serve application of an endpoint: what the operator's PUT names as import path.

Neither deployment carries an autoscaling_config: the operator alone decides on replicas. Annotations are real types in
this module, since Serve parses the arguments of `build` by its annotation.
"""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from tidemill_api import endpoint_contract as contract
from tidemill_api.endpoint_contract import EndpointConfig
from tidemill_workloads.serving.engine_replica import EngineDeployment
from tidemill_workloads.serving.ingress_replica import IngressReplica

INGRESS_ONGOING = 100_000
"""Requests that one ingress replica has at once; the bound on waiting ones is its own affair."""

HEALTH_CHECK_SECONDS = 2.0
"""How often Serve looks at a replica; a dead engine ends its process by itself, at once."""

HEALTH_ANSWER_SECONDS = 30.0
"""An engine that renders a long prompt may keep its event loop busy for a while."""

FREED_PLACE_SECONDS = (0.02, 0.1)
"""A request that waits for a place of a full engine looks for it so soon, later so often. Each look is a call to the
engine's process; Serve's own half a second would let the reserve of an engine run out between two looks."""


def build(config: EndpointConfig) -> Application:
    """The application for one revision."""
    engines = _engine_deployment(config).bind(config)
    application: Application = _ingress_deployment(config).bind(config, engines)
    return application


def _engine_deployment(config: EndpointConfig) -> Any:
    backoff: dict[str, Any] = {
        "initial_backoff_s": FREED_PLACE_SECONDS[0],
        "backoff_multiplier": 1.5,
        "max_backoff_s": FREED_PLACE_SECONDS[1],
    }
    options: dict[str, Any] = {
        "name": contract.ENGINE_DEPLOYMENT,
        "num_replicas": 1,  # the PUT says how many, from 0 on
        "max_ongoing_requests": config.max_ongoing_requests,
        "max_queued_requests": -1,
        "graceful_shutdown_timeout_s": config.drain_seconds,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": HEALTH_CHECK_SECONDS,
        "health_check_timeout_s": HEALTH_ANSWER_SECONDS,
        "ray_actor_options": {
            "num_cpus": 0,
            "num_gpus": config.gpus_per_replica,
            "resources": {contract.ENGINE_RESOURCE: 1},
        },
        "request_router_config": RequestRouterConfig(**backoff),
        "user_config": contract.EngineSettings().model_dump(),
    }
    return serve.deployment(EngineDeployment, **options)


def _ingress_deployment(config: EndpointConfig) -> Any:
    options: dict[str, Any] = {
        "name": contract.INGRESS_DEPLOYMENT,
        "num_replicas": 1,
        "max_ongoing_requests": INGRESS_ONGOING,
        "graceful_shutdown_timeout_s": config.drain_seconds,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": HEALTH_CHECK_SECONDS,
        "health_check_timeout_s": HEALTH_ANSWER_SECONDS,
        "ray_actor_options": {"num_cpus": 0, "resources": {contract.INGRESS_RESOURCE: 1}},
    }
    return serve.deployment(serve.ingress()(IngressReplica), **options)
