"""`./hack/demo.sh`: a real model answers through the real operator, on one machine: a batch file, or an endpoint.

Uses the system as a user would: `kubectl apply`, `kubectl get --watch`, files, the OpenAI client, the figures that
anyone can scrape. Refuses to know the operator's insides.
"""
