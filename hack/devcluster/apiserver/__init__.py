"""The dev cluster's Kubernetes API server: a small one in Python, honest enough for kubectl, helm and Kopf.

A development tool; production is a real cluster. Over plain HTTP on loopback everyone is an administrator; over TLS,
or with a token, users are authenticated and judged by RBAC (`access`). The layers, lowest first: `objects`, `errors`,
`store` | `resources`, `registry` | schemas, patches, selectors and tables, all pure | `writes`, `reads`, `deletes`,
`controllers` | `access` | `handlers`, `app`, `server`.
"""

from devcluster.apiserver.server import RunningServer, running_api_server

__all__ = ["RunningServer", "running_api_server"]
