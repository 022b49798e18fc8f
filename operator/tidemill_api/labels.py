"""Every label key, each with who writes it and who reads it."""

MANAGED_BY = "app.kubernetes.io/managed-by"
"""Written by the manifest builders on every child (`tidemill`); read by people."""

JOB_NAME = "tidemill.dev/batch-inference-job"
"""Written on the children of a job and on their pods; read by the operator's watches to find the owner's key.
The value is the owner's name, cut to 63 characters; the owner reference, not the label, is the truth."""

ROLE = "tidemill.dev/role"
"""Written on head and worker pods (`head`, `worker`); read by network policies and by people."""

MANAGED_BY_VALUE = "tidemill"
