"""Read a wheel: its metadata and its files, each proved by RECORD as it is read. Nothing of it is run.

Source: the binary distribution format of packaging.python.org.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from headwater.core.errors import CorruptFile

CHUNK = 1 << 20
MEMBERS_MAX = 50_000
TEXT_MAX = 4 << 20


class Wheel:
    """A context manager. members: path → size of every file."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise CorruptFile(f"{path.name} is no wheel: {error}.") from None
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MEMBERS_MAX:
            raise CorruptFile(f"{path.name} has {len(infos):,} files; at most {MEMBERS_MAX:,} are read.")
        self.members = {info.filename: info.file_size for info in infos}
        self.info = next((m.split("/")[0] for m in self.members if m.endswith(".dist-info/METADATA")), "")
        if not self.info or self.info.count("/"):
            raise CorruptFile(f"{path.name} is no wheel: it has no METADATA.")
        self._record = self._read_record()
        self.metadata: Message = BytesParser().parsebytes(self.small(f"{self.info}/METADATA"))

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def name(self) -> str:
        return str(self.metadata.get("Name", "")).strip()

    @property
    def version(self) -> str:
        return str(self.metadata.get("Version", "")).strip()

    def digest(self, member: str) -> str:
        """The sha256 RECORD states. Raises CorruptFile if it states none."""
        if member not in self._record:
            raise CorruptFile(f"{self.path.name}: RECORD states no sha256 of {member}.",
                              hint="The wheel is damaged or was altered.")
        return self._record[member]

    def small(self, member: str) -> bytes:
        """A small file whole. Raises CorruptFile beyond TEXT_MAX bytes."""
        if self.members.get(member, TEXT_MAX + 1) > TEXT_MAX:
            raise CorruptFile(f"{self.path.name}: {member} is missing or larger than {TEXT_MAX:,} bytes.")
        return b"".join(self.chunks(member))

    def chunks(self, member: str) -> Iterator[bytes]:
        """The file's bytes. Raises CorruptFile after the last if they are not what RECORD states."""
        sha256, size = hashlib.sha256(), 0
        try:
            with self._zip.open(member) as stream:
                while chunk := stream.read(CHUNK):
                    size += len(chunk)
                    sha256.update(chunk)
                    yield chunk
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise CorruptFile(f"{self.path.name}: {member} cannot be read: {error}.") from None
        if not member.endswith(".dist-info/RECORD") and sha256.hexdigest() != self.digest(member):
            raise CorruptFile(f"{self.path.name}: {member} hashes to {sha256.hexdigest()}, and RECORD states "
                              f"{self.digest(member)}.", hint="The wheel is damaged or was altered; nothing was kept.")

    def _read_record(self) -> dict[str, str]:
        record = {}
        try:
            rows = csv.reader(io.StringIO(self.small(f"{self.info}/RECORD").decode("utf-8")))
            for row in rows:
                if len(row) >= 2 and row[1].startswith("sha256="):
                    value = row[1].removeprefix("sha256=")
                    record[row[0]] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
        except (ValueError, csv.Error) as error:
            raise CorruptFile(f"{self.path.name}: RECORD cannot be read: {error}.") from None
        return record
