"""`./hack/demo.sh`: a real model answers a real file through the real operator, on one machine.

Uses the system as a user would: `kubectl apply`, `kubectl get --watch`, files. Refuses to know the operator's insides.
"""
