"""The contract between users, operator and workloads: CRD types, conditions, labels, the job contract.

Sits below both `tidemill_operator` and `tidemill_workloads` and may be imported by either. Refuses to talk to
anything: no Kubernetes client, no Ray, no clock, no files (the CRD generator's command line excepted).
"""

GROUP = "tidemill.dev"
VERSION = "v1alpha1"
