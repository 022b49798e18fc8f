"""A stand-in for the KubeRay operator 1.7: it turns a `RayCluster` into pods, a Service and a status.

It speaks to the API server over HTTP only, so it also runs against a real one. `planning` decides,
`controller` carries out; what the pods look like is in `pods` and `ray_start`, what the status says in
`status`. Its yardstick is KubeRay 1.7.0's own behaviour with default feature gates.

It knows RayCluster alone: no RayJob, RayService or RayCronJob, and none of the options that `offered`
lists (in-tree autoscaling, ingress, several hosts a replica, ...), which it refuses by name instead of ignoring
them. Of KubeRay's own settings it has none: no feature gate can be opened, and
`ENABLE_RANDOM_POD_DELETE` would change nothing, since it only acts beside the autoscaler. Where only the small
definition in `crds/` is loaded, v1 is served and v1alpha1 is not.
"""
