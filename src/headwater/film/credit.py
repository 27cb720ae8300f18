"""A film's credential (C2PA, specification 2.x): who made it from what, signed by this hub, read back and checked.

The hub's certificate authority is made at first use and kept in the data folder; an owner may put one of his own
there (`authority.pem`: private key, signing certificate, its issuers). Signing is the last thing done to a file: every
later change breaks it, and a plain remux drops it (film/mark.py finds such copies).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.core.errors import BadInput, CorruptFile, DiskFull, EngineFailed, HeadwaterError

RECIPE = "org.headwater.recipe"
"""The assertion that holds model, revision, prompt, seed and engine build."""
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = _SOURCE + "trainedAlgorithmicMedia"
GENERATED_FROM_PHOTO = _SOURCE + "compositeWithTrainedAlgorithmicMedia"
ANIMATED_PHOTO = _SOURCE + "composite"
"""A photo that was warped: made of what was captured, by no trained generator, and no capture of a real movement."""
BOX, BOX_WITHIN = b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481"), 4_096
"""What the MP4 box of a credential begins with, and the first bytes of a file within which it does."""


@dataclass(frozen=True)
class Authority:
    """PEM texts. chain: the signing certificate first, its issuer last. trusted: the anchor a verifier adds."""

    chain: str
    key: str
    trusted: str


@dataclass(frozen=True)
class Credential:
    """state: "trusted" (signed by this hub's authority, untouched), "valid" (untouched, signed by somebody this hub
    does not know), "broken" (changed since it was signed) or "none". recipe: the RECIPE assertion; None without one.
    problems: C2PA's codes of what failed, "credential.unreachable" where one is there and cannot be got at. signer: the
    signing certificate's common name."""

    state: str
    recipe: dict[str, Any] | None = None
    signer: str | None = None
    signed_at: str | None = None
    source_type: str | None = None
    ingredients: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def authority(file: Path, hub_name: str = "Headwater") -> Authority:
    """The hub's own, made at first use. Two processes that begin at once end with the same one."""
    if not file.exists():
        _keep(file, _make(hub_name))
    parts = list(re.finditer(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", file.read_text(), re.S))
    keys = [part[0] for part in parts if part[1].endswith("PRIVATE KEY")]
    certificates = [part[0] for part in parts if part[1] == "CERTIFICATE"]
    if len(keys) != 1 or not certificates:
        raise BadInput(f"{file.name} holds {len(keys)} private keys and {len(certificates)} certificates.",
                       hint="Put one EC P-256 key there and its PEM chain, the signing certificate first.")
    return Authority("".join(certificates), _pkcs8(file, keys[0]), certificates[-1])


def _pkcs8(file: Path, pem: str) -> str:
    """The key in the one form C2PA reads; openssl writes another one, too."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise BadInput(f"The private key in {file.name} cannot be read, or has a password.",
                       hint="Put an EC P-256 key there as PEM, without a password.") from None
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def sign(source: Path, target: Path, by: Authority, *, title: str, recipe: dict[str, Any], source_type: str,
         pictures: Sequence[tuple[str, Path, str]] = ()) -> None:
    """Write `target`, the MP4 `source` with its credential. pictures: (title, file, media type) that went into it."""
    import c2pa

    manifest = {
        "claim_generator_info": [{"name": "Headwater", "version": __version__}],
        "title": title,
        "format": "video/mp4",
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [{
                "action": "c2pa.created", "digitalSourceType": source_type,
                "softwareAgent": {"name": "Headwater", "version": __version__}}]}},
            {"label": RECIPE, "data": recipe},
        ],
    }
    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", by.chain.encode(), by.key.encode(), None))
    except c2pa.C2paError as error:
        raise _unsigned(error) from None
    builder = c2pa.Builder(json.dumps(manifest))
    for name, path, media in pictures:
        with path.open("rb") as file:
            builder.add_ingredient(json.dumps({"title": name, "relationship": "inputTo"}), media, file)
    part = target.with_name(target.name + ".part")
    try:
        with source.open("rb") as read, part.open("w+b") as write:
            try:
                builder.sign(signer, "video/mp4", read, write)
            except c2pa.C2paError as error:
                raise _unsigned(error) from None
            write.flush()
            os.fsync(write.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _unsigned(error: Exception) -> HeadwaterError:
    """C2PA tells a full disk as any failure of input or output."""
    if "Io" in f"{type(error).__name__} {error}":
        return DiskFull("There is no room left for the film and its credential, or they cannot be written.",
                        hint="Free space, then order it again: the same seed makes the same film.")
    return EngineFailed(f"The film could not be signed: {error}.",
                        hint="Who runs the hub must look at authority.pem: an EC P-256 key and its chain.")


def check(file: Path, trusted: Sequence[str]) -> Credential:
    """Read and verify. trusted: PEM certificates of the authorities this hub knows. Never asks the network.

    Raises CorruptFile for a file C2PA cannot even open as a video.
    """
    import c2pa

    settings = c2pa.Settings.from_json(json.dumps({
        "trust": {"user_anchors": "\n".join(trusted)} if trusted else {},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}}))
    try:
        with file.open("rb") as stream:
            store = json.loads(c2pa.Reader("video/mp4", stream, context=c2pa.Context(settings)).json())
    except c2pa.C2paError as error:
        if _has_box(file):  # which of its errors it is depends on where the change is
            return Credential("broken", problems=("credential.unreachable",))
        if "ManifestNotFound" in type(error).__name__ or "ManifestNotFound" in str(error):
            return Credential("none")
        raise CorruptFile(f"The credential cannot be read: {error}.") from None
    return _credential(store)


def _has_box(file: Path) -> bool:
    """Whether the bytes that a box with a credential begins with stand where one is put: before the pictures."""
    with file.open("rb") as stream:
        return BOX in stream.read(BOX_WITHIN)


def _credential(store: dict[str, Any]) -> Credential:
    active = store["manifests"][store["active_manifest"]]
    problems = tuple(sorted({one["code"] for one in store.get("validation_status") or ()}))
    state = {"Trusted": "trusted", "Valid": "valid"}.get(store.get("validation_state", ""), "broken")
    assertions = {one["label"]: one["data"] for one in active.get("assertions", ())}
    actions = (assertions.get("c2pa.actions.v2") or {}).get("actions", [])
    signature = active.get("signature_info", {})
    return Credential(
        state, assertions.get(RECIPE), signature.get("common_name") or signature.get("issuer"),
        signature.get("time"), next((one.get("digitalSourceType") for one in actions), None),
        tuple(one.get("title") or "" for one in active.get("ingredients", ())), problems)


def _make(hub_name: str) -> bytes:
    """A root of ten years and a signing certificate under it, EC P-256, as C2PA's certificate profile asks."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name(f"{hub_name} root")
    root = _certificate(root_name, root_name, root_key.public_key(), root_key, x509.BasicConstraints(True, 0), (
        x509.KeyUsage(False, False, False, False, False, True, True, False, False),))
    leaf = _certificate(_name(hub_name), root_name, key.public_key(), root_key, x509.BasicConstraints(False, None), (
        x509.KeyUsage(True, False, False, False, False, False, False, False, False),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)


def _keep(file: Path, pem: bytes) -> None:
    """Linked in place whole, so that of two makers one wins and both read the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)  # readable by its owner alone
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)


def _name(text: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text),
                      x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])


def _certificate(subject: Any, issuer: Any, public: Any, signing_key: Any, basic: Any, more: Sequence[Any]) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    now = datetime.datetime.now(datetime.UTC)
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=3650)).add_extension(basic, critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
                              critical=False))
    for extension in more:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
    return builder.sign(signing_key, hashes.SHA256())
