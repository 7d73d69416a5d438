"""The translation memory: what engines gave for segments before, so that no segment is translated twice.

A job of translation has a file of its own in the memory's folder, and reads those of the other jobs. A key is a hash of
the segment as the model saw it and of everything that decides its translation: engine, model, decoding settings, the
engine's code and its packages. The files are no results: deleting them costs time and nothing else.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.common import imports
from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.formats.parquet import by_row_group
from mothertongue.models.record import read_record
from mothertongue.translation import engines
from mothertongue.translation.engines.base import Output
from mothertongue.translation.settings import EngineSettings

# Bytes of a key.
_KEY = 16
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(_KEY), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("complete", pa.bool_(), nullable=False),
    ]
)
# The metadata of a file that lists the fingerprints of its entries.
_FINGERPRINTS = b"mothertongue.fingerprints"
# Seconds from one writing to the next: a job that is killed loses no more.
_INTERVAL = 60
# Settings that decide how fast an engine runs, and not what it gives; and those of endpoints, which have a memory of
# their own.
_SPEED = ("batch_tokens", "workers", "device")
_OF_ENDPOINTS = ("instructions", "endpoint", "answers", "usage")
# Parts of the library that an engine imports, and that cannot change a translation.
_NO_TRANSLATION = ("hub", "cards", "settings", "progress", "errors", "atomic_files", "fetch")

# How a file is written: its pages with checksums.
_WRITING: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
# Rows that are read or written at a time.
_ROWS_AT_ONCE = 50_000

Row = tuple[str, float | None, bool]
Hashes = npt.NDArray[np.uint64]


class Memory:
    """The entries of the folder of `file`, to which this job adds its own in `file`.

    Of the entries in files a hash of 8 bytes is held; what they say is read where a text may be among them.
    """

    def __init__(self, file: Path) -> None:
        """Read this job's own file where it exists. Raise UserError where that is a file of something else."""
        self.file = file
        self._new: dict[bytes, Row] = {}
        self._known: Hashes = np.empty(0, np.uint64)
        self._fingerprints: set[str] = set()
        self._files: dict[Path, None] = {}
        self._written = time.monotonic()
        _check_own(file)
        if (own := _load(file)) is not None:
            self._fingerprints = own.fingerprints
            self._add_files({file: own.hashes})

    def of(self, fingerprint: str) -> "Remembered":
        """Return the entries with a fingerprint, which adds to this memory. Each file is read once."""
        self._fingerprints.add(fingerprint)
        paths = sorted({*self.file.parent.glob("*.parquet")} - self._files.keys() - {self.file})
        loaded = ((path, _load(path, fingerprint)) for path in paths)
        self._add_files({path: found.hashes for path, found in loaded if found})
        return Remembered(self, fingerprint)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        """Return the entries with these keys."""
        found = {key: self._new[key] for key in keys if key in self._new}
        hashes = _hashes(b"".join(keys))
        places = np.minimum(np.searchsorted(self._known, hashes), max(0, len(self._known) - 1))
        likely = [keys[at] for at in np.flatnonzero(self._known[places] == hashes).tolist()] if len(self._known) else []
        for path in list(self._files) if likely else ():
            if wanted := [key for key in likely if key not in found]:
                found |= _entries(path, wanted)
                if not path.exists():
                    del self._files[path]
        return found

    def add(self, key: bytes, row: Row) -> None:
        """Add an entry; write the file every minute."""
        self._new[key] = row
        if time.monotonic() - self._written > _INTERVAL:
            self.write()

    def write(self) -> None:
        """Write this job's entries, those of its earlier runs included; on failure only warn."""
        began = time.monotonic()
        if self._new:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                described = _SCHEMA.with_metadata({_FINGERPRINTS: json.dumps(sorted(self._fingerprints))})
                with atomic_file(self.file) as partial, pq.ParquetWriter(partial, described, **_WRITING) as file:
                    for table in _readable(self.file, always=True) if self.file in self._files else ():
                        file.write_table(table.cast(described))
                    columns = [list(self._new), *map(list, zip(*self._new.values(), strict=True))]
                    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
                    file.write_table(pa.table(arrays, schema=described), row_group_size=_ROWS_AT_ONCE)
                self._add_files({self.file: _hashes(b"".join(self._new))})
                self._new = {}
            except (OSError, ValueError, pa.ArrowException, UserError) as error:
                log(f"translate: warning: the translation memory was not written: {error}")
        # A long file takes long to write: at most a twentieth of the time.
        self._written = time.monotonic() + max(0.0, 20 * (time.monotonic() - began) - _INTERVAL)

    def _add_files(self, hashes: Mapping[Path, Hashes]) -> None:
        """Add entries that are in files."""
        self._files |= dict.fromkeys(hashes)
        self._known = np.sort(np.concatenate([self._known, *hashes.values()]), kind="stable")


class Remembered:
    """The entries of a memory with one fingerprint: what one engine gave in one kind of decoding."""

    def __init__(self, memory: Memory, fingerprint: str) -> None:
        self._memory = memory
        self._fingerprint = fingerprint.encode()

    def recall(self, texts: Iterable[str]) -> dict[str, Output]:
        """Return the outputs of the texts that were translated before."""
        keys = {text: self._key(text) for text in texts}
        found = self._memory.find(list(keys.values()))
        return {text: Output(*found[key]) for text, key in keys.items() if key in found}

    def keep(self, found: Iterable[tuple[str, Output | None]]) -> Iterator[tuple[str, Output | None]]:
        """Yield texts with an engine's outputs, and remember these; None, a failure, is not remembered."""
        for text, output in found:
            if output is not None:
                self._memory.add(self._key(text), (output.text, output.score, output.complete))
            yield text, output

    def _key(self, text: str) -> bytes:
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.sha256(self._fingerprint + b"\0" + content).digest()[:_KEY]


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
        "settings": {name: value for name, value in asdict(settings).items() if name not in _SPEED + _OF_ENDPOINTS},
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


@dataclass(frozen=True)
class _Loaded:
    """What is held of a file: its fingerprints, and the hashes of its keys in order."""

    fingerprints: set[str]
    hashes: Hashes


def _check_own(path: Path) -> None:
    """Raise UserError where a file that is to be written is a Parquet file of something else."""
    try:
        found = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return
    if not found.equals(_SCHEMA):
        raise UserError(f"{path}: is no translation memory, and would be overwritten; name another file")


def _load(path: Path, fingerprint: str | None = None) -> _Loaded | None:
    """Return what is held of a file; None where there is none, or none with this fingerprint."""
    if not path.is_file():
        return None
    with _damage(path):
        names = set(json.loads((pq.read_schema(path).metadata or {})[_FINGERPRINTS]))
        if fingerprint is not None and fingerprint not in names:
            return None
        keys = [table["key"].combine_chunks() for table in _tables(path, ["key"])]
        return _Loaded(names, np.concatenate([np.empty(0, np.uint64), *map(_hashes_of, keys)]))
    return None


def _entries(path: Path, keys: Sequence[bytes]) -> dict[bytes, Row]:
    """Return the entries of a file with these keys; none where it cannot be read."""
    wanted, found = pa.array(keys, _SCHEMA.field("key").type), dict[bytes, Row]()
    for table in _readable(path):
        rows = table.filter(pc.is_in(table["key"], wanted))
        names, *columns = (column.to_pylist() for column in rows.columns)
        found.update(zip(names, zip(*columns, strict=True), strict=True))
    return found


def _readable(path: Path, always: bool = False) -> Iterator[pa.Table]:
    """Yield a file in parts, up to one that is damaged; with `always`, raise where it cannot be read now."""
    with _damage(path, always):
        yield from _tables(path)


def _tables(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield a file in parts. Raise ValueError where it is no memory, and what pyarrow raises where it is damaged."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(_SCHEMA):
            raise ValueError("its columns are others")
        for batch in by_row_group(file, _ROWS_AT_ONCE, columns):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])


@contextmanager
def _damage(path: Path, always: bool = False) -> Iterator[None]:
    """Warn of a file that is damaged, or no memory at all; with `always`, raise where it cannot be read now.

    It stays where it is: it may be somebody's data. The job that owns a damaged memory writes it anew.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException, MemoryError) as error:
        # pyarrow raises OSError for damaged pages too, without a number of the system's.
        now = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        if now and always:
            raise
        what = "cannot be read now" if now else "not a readable translation memory, left out"
        log(f"translate: warning: {path}: {what} ({error})")


def _hashes_of(keys: pa.Array) -> Hashes:
    """Return the hashes of keys in a column."""
    return _hashes(keys.buffers()[1].to_pybytes()[_KEY * keys.offset :][: _KEY * len(keys)])


def _hashes(keys: bytes) -> Hashes:
    """Return the first 8 bytes of keys, each after the other."""
    return np.frombuffer(keys, np.dtype("<u8")).reshape(-1, _KEY // 8)[:, 0].astype(np.uint64)
