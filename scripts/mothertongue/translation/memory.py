"""The translation memory: what engines gave for segments before, so that no segment is translated twice.

A job of translation has a file of its own in the memory's folder, and reads those of the other jobs. A key is a hash of
the segment as the model saw it and of everything that decides its translation: engine, model, decoding settings, the
engine's code and its packages. The files are no results: deleting them costs time and nothing else.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mothertongue.common import imports
from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.models.record import read_record
from mothertongue.translation import engines
from mothertongue.translation.engines.base import Output
from mothertongue.translation.settings import EngineSettings

_SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("complete", pa.bool_(), nullable=False),
    ]
)
# The metadata of a file that lists the fingerprints of its entries.
_FINGERPRINTS = b"mothertongue.fingerprints"
# Seconds from one writing to the next: a job that is killed loses no more.
_INTERVAL = 60
# Settings that decide how fast an engine runs, and not what it gives.
_SPEED = ("batch_tokens", "workers", "device")
# Parts of the library that an engine imports, and that cannot change a translation.
_NO_TRANSLATION = ("hub", "cards", "settings", "progress", "errors", "atomic_files", "fetch")

Row = tuple[str, float | None, bool]


class Memory:
    """The entries of the folder of `file`, to which this job adds its own in `file`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[bytes, Row] = {}
        self._own: dict[bytes, Row] = {}
        self._loaded: set[Path] = set()
        self._fingerprints: set[str] = set()
        self._changed = False
        self._written = time.monotonic()
        if (own := _read(file)) is not None:
            self._own, self._fingerprints = _entries(own), _fingerprints(own)

    def of(self, fingerprint: str) -> "Remembered":
        """Return the entries with a fingerprint, which adds to this memory. Each file is read once."""
        self._fingerprints.add(fingerprint)
        self._known |= self._own
        for path in sorted({*self.file.parent.glob("*.parquet")} - self._loaded - {self.file}):
            if (found := _read(path, fingerprint)) is not None:
                self._loaded.add(path)
                self._known |= _entries(found)
        return Remembered(self, fingerprint, self._known)

    def add(self, key: bytes, row: Row) -> None:
        """Add an entry; write the file every minute."""
        self._own[key] = row
        self._changed = True
        if time.monotonic() - self._written > _INTERVAL:
            self.write()

    def write(self) -> None:
        """Write this job's entries, those of its earlier runs included; on failure only warn."""
        self._written = time.monotonic()
        if not self._changed:
            return
        try:
            columns = [list(self._own), *(list(column) for column in zip(*self._own.values(), strict=True))]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            described = {_FINGERPRINTS: json.dumps(sorted(self._fingerprints))}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.file) as partial:
                table = pa.table(arrays, schema=_SCHEMA.with_metadata(described))
                pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
            self._changed = False
        except (OSError, ValueError, pa.ArrowException, UserError) as error:
            log(f"translate: warning: the translation memory was not written: {error}")


class Remembered:
    """The entries of a memory with one fingerprint: what one engine gave in one kind of decoding."""

    def __init__(self, memory: Memory, fingerprint: str, known: dict[bytes, Row]) -> None:
        self._memory = memory
        self._fingerprint = fingerprint.encode()
        self._known = known

    def recall(self, texts: Iterable[str]) -> dict[str, Output]:
        """Return the outputs of the texts that were translated before."""
        rows = ((text, self._known.get(self._key(text))) for text in texts) if self._known else ()
        return {text: Output(*row) for text, row in rows if row is not None}

    def keep(self, found: Iterable[tuple[str, Output | None]]) -> Iterator[tuple[str, Output | None]]:
        """Yield texts with an engine's outputs, and remember these; None, a failure, is not remembered."""
        for text, output in found:
            if output is not None:
                self._memory.add(self._key(text), (output.text, output.score, output.complete))
            yield text, output

    def _key(self, text: str) -> bytes:
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.sha256(self._fingerprint + b"\0" + content).digest()[:16]


def fingerprint(engine: str, model: Path, settings: EngineSettings, careful: bool = False) -> str:
    """Return a hash of what decides an engine's translations besides the text.

    That is the model's files by their checksums, languages and decoding settings, the device and its numbers, the code
    of the engine with all that it imports, and the versions of the packages that compute.
    """
    found = engines.find(engine)
    record = read_record(model)
    (module,) = engines.modules(engine)
    scripts = Path(__file__).parents[2]
    files = imports.modules(f"mothertongue/{module}", scripts, without=_NO_TRANSLATION)
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]
    parts = {
        "engine": engine,
        "model": [record["reference"], record["revision"], record.get("files")],
        "settings": {name: value for name, value in asdict(settings).items() if name not in _SPEED},
        "machine": found.machine(settings),
        "code": code,
        "packages": {name: _version(name) for name in found.PACKAGES},
        "careful": careful,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path, fingerprint: str | None = None) -> pa.Table | None:
    """Return a file of the memory; None where there is none, or none with this fingerprint.

    A damaged file is removed with a warning; one that cannot be read now is left out.
    """
    if not path.is_file():
        return None
    try:
        described = pq.read_schema(path)
        names = json.loads((described.metadata or {})[_FINGERPRINTS])
        if fingerprint is not None and fingerprint not in names:
            return None
        table = pq.read_table(path, page_checksum_verification=True)
        if not table.schema.equals(_SCHEMA):
            raise ValueError("its columns are others")
        table.validate(full=True)
        return table
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException, MemoryError) as error:
        # pyarrow raises OSError for damaged pages too, without a number of the system's.
        now = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        what = "cannot be read now" if now else "not a readable translation memory, removed"
        log(f"translate: warning: {path}: {what} ({error})")
        if not now:
            with suppress(OSError):
                path.unlink()
        return None


def _entries(table: pa.Table) -> dict[bytes, Row]:
    keys, *columns = (column.to_pylist() for column in table.columns)
    return dict(zip(keys, zip(*columns, strict=True), strict=True))


def _fingerprints(table: pa.Table | None) -> set[str]:
    return set(json.loads(table.schema.metadata[_FINGERPRINTS])) if table is not None else set()
