"""The dev cluster's Services: which pods are behind each, and the way to them.

Two of Kubernetes' programs in one process: the controller that writes EndpointSlices and Endpoints, and, in the
place of kube-proxy, a TCP proxy for the address of each Service. The pods' hosts files, which hold the Services'
names, are the kubelet's (`devcluster.kubelet.hosts`).

A Service's address stands in the switch's network namespace, where nothing else listens; pods and this machine
reach it like any other pod. Each new connection goes to the next endpoint in turn, and stays there until it
ends, whatever becomes of the endpoint or of the Service.

Where it differs from kube-proxy: it is a program that copies bytes and not a rule of the kernel, so open
connections end when it does, an endpoint sees its client under an address that stands for it in the switch (10.79
in the place of 10.77), by which NetworkPolicies know it, and an endpoint that refuses, or that no policy lets the
client reach, is seen by the client as a connection that is reset after it was accepted. Only TCP over IPv4 is
served. Node ports, load balancers, external addresses and traffic policies are not offered; such Services have their
cluster address only.

From pure to I/O: `endpoints` (what to write), `rules` (where to send), then `controller`, `addresses`,
`connections`, `proxy`, and `__main__`, which ties them to the API server.
"""
