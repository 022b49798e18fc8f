"""The authority and the serving certificate: what they hold, who may read the keys, and when one is made anew."""

import ssl

import pytest
from cryptography import x509

from devcluster.apiserver.access.certificates import ALWAYS, Certificates, ServingTls


def names(folder):
    certificate = x509.load_pem_x509_certificate((folder / "apiserver.pem").read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


def test_a_certificate_is_made_once_and_holds_every_name_asked_for(tmp_path):
    certificates = Certificates(tmp_path / "pki")
    assert certificates.ensure()
    assert names(tmp_path / "pki") == set(ALWAYS)
    authority = certificates.authority.read_bytes()
    assert not certificates.ensure()
    assert certificates.ensure({"10.96.0.1", "10.77.3.1"})
    assert not certificates.ensure({"10.77.3.1"})
    assert names(tmp_path / "pki") == {*ALWAYS, "10.96.0.1", "10.77.3.1"}
    assert certificates.authority.read_bytes() == authority


def test_private_keys_are_their_owners_alone(tmp_path):
    folder = tmp_path / "pki"
    Certificates(folder).ensure()
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "apiserver.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def handshake(tls, name):
    """Let a client that trusts the authority alone meet the server, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.create_default_context(cafile=str(tls.certificates.authority))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert()


def test_clients_that_trust_the_authority_alone_take_the_certificate(tmp_path):
    tls = ServingTls.from_folder(tmp_path)
    for name in ("127.0.0.1", "localhost", "kubernetes.default.svc"):
        assert handshake(tls, name)


def test_new_names_count_for_the_next_connection(tmp_path):
    tls = ServingTls.from_folder(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls, "10.96.7.7")
    tls.cover({"10.96.7.7"})
    assert handshake(tls, "10.96.7.7")
