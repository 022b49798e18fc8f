"""The server's certificate authority and its serving certificate, kept in files of one folder.

The authority stays for the life of the folder, so that kubeconfigs and pods which trust it go on. The serving
certificate is made anew whenever it lacks a name it is asked for, or would soon expire; the listening socket takes it
up without a restart. Private keys are readable by their owner alone.
"""

import ipaddress
import os
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ALWAYS = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
)
"""The names that every serving certificate holds."""

_AUTHORITY_DAYS = 3650
_SERVING_DAYS = 365
_RENEW_BEFORE = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Certificates:
    """The certificates in `folder`; nothing is made before it is asked for."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate, which clients trust."""
        return self.folder / "ca.crt"

    @property
    def _serving(self) -> Path:
        """The serving certificate and its key in one file, so that no kill leaves a pair that does not match."""
        return self.folder / "apiserver.pem"

    def ensure(self, names: Collection[str] = ()) -> bool:
        """Have a serving certificate for `ALWAYS` and for these names and addresses; whether it was made now.

        Names it already holds are kept.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.authority.exists():
            self._make_authority()
        held = self._held_names()
        wanted = {*ALWAYS, *names}
        if wanted <= held:
            return False
        self._make_serving(sorted(wanted | held))
        return True

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have the connections made from now on see the present serving certificate."""
        context.load_cert_chain(self._serving)

    def _held_names(self) -> set[str]:
        """The names of the certificate at hand; none where there is none or its time is nearly up."""
        if not self._serving.exists():
            return set()
        certificate = x509.load_pem_x509_certificate(self._serving.read_bytes())
        if certificate.not_valid_after_utc - _RENEW_BEFORE < datetime.now(UTC):
            return set()
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
        return {*names.get_values_for_type(x509.DNSName), *addresses}

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "devcluster-ca")])
        public = key.public_key()
        builder = _builder(name, name, public, _AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        write_private_key(self.folder / "ca.key", key)
        _replace(self.authority, certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def _make_serving(self, names: list[str]) -> None:
        authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
        authority_key = read_private_key(self.folder / "ca.key")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        builder = _builder(subject, authority.subject, key.public_key(), _SERVING_DAYS)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(signer, critical=False)
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        certificate = builder.add_extension(alternatives, critical=False).sign(authority_key, hashes.SHA256())
        _replace(self._serving, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM), 0o600)


@dataclass(frozen=True)
class ServingTls:
    """The TLS side of a listening socket: its `context` shows the serving certificate as it is now."""

    certificates: Certificates
    context: ssl.SSLContext

    @classmethod
    def from_folder(cls, folder: Path) -> "ServingTls":
        """Have the certificates in a folder, and a context with them."""
        certificates = Certificates(folder)
        certificates.ensure()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificates.load_into(context)
        return cls(certificates, context)

    def cover(self, names: Collection[str]) -> None:
        """Have the certificate hold these names and addresses too."""
        if self.certificates.ensure(names):
            self.certificates.load_into(self.context)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key that its owner alone can read, in one step."""
    _replace(path, _pem(key), 0o600)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a key that `write_private_key` wrote. Raises `ValueError` or `TypeError` for any other."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic curve key")
    return key


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that a reader sees the old content or the new, with its mode from the first moment."""
    scratch = path.with_name(path.name + ".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    scratch.replace(path)
