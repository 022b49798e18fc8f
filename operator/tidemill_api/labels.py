"""Every label key, each with who writes it and who reads it."""

MANAGED_BY = "app.kubernetes.io/managed-by"
"""Written by the manifest builders on every child (`tidemill`); read by people."""

JOB_NAME = "tidemill.dev/batch-inference-job"
"""Written on the children of a job and on their pods; read by the operator's watches to find the owner's key.
The value is the owner's name, cut to 63 characters; the owner reference, not the label, is the truth."""

ENDPOINT_NAME = "tidemill.dev/realtime-endpoint"
"""Written on the children of an endpoint and on their pods; read by its Service, by the operator's watches and by the
scale API (status.selector). An endpoint's name is at most 63 characters, so the value is the whole name."""

REVISION = "tidemill.dev/revision"
"""Written on an endpoint's RayClusters and their pods; read by its Service, which leads to one revision at a time."""

ROLE = "tidemill.dev/role"
"""Written on head and worker pods (`head`, `worker`); read by network policies and by people."""

SERVE_ARGUMENTS = "tidemill.dev/serve-arguments"
"""An annotation, written on an endpoint's RayCluster when it is made: the arguments of its Serve application, JSON of
an `EndpointConfig`. Read by the operator where a head has lost its memory, whatever the spec says by then."""

RESTARTED_AT = "tidemill.dev/restarted-at"
"""An annotation of an endpoint, written by users; any other value than before has a new revision made, with the default
image and Ray's version as the operator's settings say by then. Read by the operator (`manifests/revisions.py`)."""

MADE_BY = "tidemill.dev/made-by"
"""An annotation, written on a RayCluster when it is made: the operator's version. Read by people: a cluster stays as it
was made, whichever operator looks after it."""

SCALING_BOOST = "tidemill.dev/scaling-boost"
"""An annotation of a job or an endpoint, JSON of factor, until and alert. Written by the operator's receiver of alerts,
read by both scaling laws (`core/boost.py`)."""

KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
"""Written by users on a job or an endpoint: the LocalQueue by which its RayClusters go. The operator puts it on each
RayCluster that it makes, where Kueue reads it."""

KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
"""The same for the WorkloadPriorityClass."""

KUEUE_ELASTIC = "kueue.x-k8s.io/elastic-job"
"""An annotation, written on a RayCluster that may grow and shrink under quota (`true`); read by Kueue."""

MANAGED_BY_VALUE = "tidemill"
