"""The dev cluster's Kubernetes API server: a small one in Python, honest enough for kubectl, helm and Kopf.

A development tool. It speaks plain HTTP on loopback, without authentication; production is a real cluster.
The layers, lowest first: `objects`, `errors`, `store` | `resources`, `registry` | schemas, patches, selectors and
tables, all pure | `writes`, `reads`, `deletes`, `controllers` | `handlers`, `app`, `server`.
"""

from devcluster.apiserver.server import RunningServer, running_api_server

__all__ = ["RunningServer", "running_api_server"]
