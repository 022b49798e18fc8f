"""What the chart's roles allow the operator in a namespace whose jobs it runs: resource -> verbs.

One table for the test that reads the rendered roles and for the one that reads the operator's code.
"""

GRANTED = {
    "batchinferencejobs": {"get", "list", "watch", "delete"},
    "batchinferencejobs/status": {"patch"},
    "realtimeendpoints": {"get", "list", "watch"},
    "realtimeendpoints/status": {"patch"},
    "rayclusters": {"get", "list", "watch", "create", "patch", "delete"},
    "pods": {"list", "watch"},
    "secrets": {"get", "create", "patch", "delete"},
    "services": {"get", "list", "watch", "create", "patch"},
    "networkpolicies": {"get", "list", "watch", "create", "patch", "delete"},
    "events": {"get", "create", "patch"},
    "resourcequotas": {"list"},
}

WITH_ALERTS = {"batchinferencejobs": {"patch"}, "realtimeendpoints": {"patch"}}
"""What comes to it where the operator receives alerts: it writes the boost onto the objects."""

LEADER = {"leases": {"get", "update"}}
"""In the release's own namespace, and only the one Lease that the chart makes: nothing is listed, nothing created."""

DISCOVERY = {"customresourcedefinitions": {"get", "list", "watch"}}
"""In the whole cluster: to see a CRD that is installed later."""

EVERYBODY = {"selfsubjectaccessreviews": {"create"}}
"""What Kubernetes itself gives to whoever is authenticated (ClusterRole system:basic-user)."""
