"""The operator: Kopf watches and wakes, pure functions decide, thin modules talk to Kubernetes and Ray."""
