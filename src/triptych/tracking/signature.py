"""Ed25519 signatures beside a certificate: who vouches for its digest."""

from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from triptych.data.files import read_json, write_atomic, write_json
from triptych.errors import DataError, IntegrityError

CONTEXT = b"triptych chain certificate v1\0"  # a signature is good for nothing else


def signature_path(certificate: Path) -> Path:
    """Where the signature of `certificate` lies."""
    return certificate.with_suffix(".sig.json")


def create_key(path: Path) -> str:
    """Write a new private key (PEM, for its owner alone); returns the public key, 64 hexadecimal digits."""
    if path.exists():
        raise DataError(f"{path} exists; a key is never overwritten")
    key = Ed25519PrivateKey.generate()
    write_atomic(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return _public(key)


def sign(certificate: Path, key: Path) -> str:
    """Sign the digest of `certificate` with the private key in `key`; returns the public key."""
    private = _load(key)
    digest, public = read_json(certificate)["digest"], _public(private)
    signature = private.sign(CONTEXT + bytes.fromhex(digest)).hex()
    entry = {"digest": digest, "public_key": public, "signature": signature}
    write_json(signature_path(certificate), entry)
    return public


def verify_signature(certificate: Path, public_key: str | None = None) -> str | None:
    """The public key that signed, or None where there is no signature and none is asked for.

    Raises IntegrityError where the signature is false, missing though `public_key` is
    expected, or somebody else's.
    """
    path = signature_path(certificate)
    if not path.exists():
        if public_key:
            raise IntegrityError(f"{certificate} is not signed: {path.name} is missing")
        return None
    entry: dict[str, Any] = read_json(path)
    if public_key and entry["public_key"] != public_key:
        raise IntegrityError(f"{path} is signed by {entry['public_key']}, not by {public_key}")
    message = CONTEXT + bytes.fromhex(read_json(certificate)["digest"])
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry["public_key"])).verify(
            bytes.fromhex(entry["signature"]), message
        )
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(f"{path} does not sign this certificate") from error
    return entry["public_key"]


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; make one with `triptych certificate key`") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not an unencrypted PEM key ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path} is not an Ed25519 key; make one with `triptych certificate key`")
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
