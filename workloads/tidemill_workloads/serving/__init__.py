"""The Serve application of a RealtimeEndpoint: a thin ingress on every node, one engine a worker pod, frames between.

    client --HTTP--> front (keys, stamp, bound, hold) --Serve handle--> engine replica (vLLM's own server as ASGI app)
                       ^                                                   |
                       +---------------- frames over one TCP --------------+

Imports nothing of Kubernetes. What is pure (desk, ledger, turnstile, frames) knows neither Ray nor a clock.
"""
