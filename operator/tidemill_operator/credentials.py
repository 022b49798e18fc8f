"""How to reach the API server: one kubeconfig or the pod's service account, for our client and for Kopf's.

Both clients get their credentials here, so that exec plug-ins and rotated tokens work the same in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import kopf
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

from tidemill_operator.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SESSION = {"trust_env": False}
"""How our client opens its session: as Kopf does, by the kubeconfig alone (`proxy-url` is honoured).

With aiohttp's `trust_env` each request would also look for proxies in the environment and for a password in ~/.netrc,
each time in a thread of its own.
"""


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """The client configuration of this kubeconfig, or of the pod's service account where there is none.

    Raises ConfigError where neither is usable.
    """
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # the client is untyped
                config_file=str(kubeconfig), client_configuration=configuration
            )
        else:
            kubernetes_config.load_incluster_config(  # type: ignore[no-untyped-call]  # the client is untyped
                client_configuration=configuration
            )
    except (kubernetes_config.ConfigException, OSError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "service account of this pod (or give --kubeconfig)"
        raise ConfigError(f"cannot reach a cluster with the {where}: {error}") from error
    configuration.client_session_kwargs = SESSION
    return configuration


async def connection_info(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same credentials for Kopf. Asked for again whenever the API server answers 401."""
    header = await configuration.get_api_key_with_prefix("BearerToken") or ""
    scheme, _, token = header.rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme.capitalize() or "Bearer",
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )
