"""Who may do what: TLS, tokens, impersonation, RBAC and the audit log of the dev cluster's API server.

Over the plain loopback address a request without credentials is an administrator's. Every other request is
authenticated, judged by the RBAC objects in the store, and written to the audit log. The layers, lowest first:
`users`, `attributes`, `rules` and `policy`, all pure | `certificates`, `tokens`, `authorizer` |
`authentication`, `escalation`, `keepers`, `audit` | `gate`, which the application puts before its handlers.
"""
