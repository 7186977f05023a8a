"""Where inputs lie and results go: this machine's files, or any storage that fsspec knows (s3://, gs://, abfs://, hdfs:// …).

A file under its final name is always whole: here by a rename after flushing to the disk, there because object storage
(not hdfs:// or sftp://) shows an object when all of it has been sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

try:
    import fcntl
except ImportError:  # Windows: there two runs into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

from serving.errors import InputError

FRESH = ".new"  # ends the name of a file that is being written
Write = Callable[[Path], None]


def is_remote(name: str | Path) -> bool:
    """Whether a name is an address, as ``s3://bucket/file.zip``."""
    return "://" in str(name)


def open_remote(name: str) -> IO[bytes]:
    """A remote file, read as it is needed."""
    system, path = _locate(name)
    return system.open(path, "rb")


def expand_remote(name: str, is_hidden: Callable[[str], bool] = lambda name: False) -> list[str]:
    """Addresses that a file, a folder or a pattern stands for, in order, but hidden ones that a pattern does not ask for."""
    system, path = _locate(name)
    first = next((at for at, c in enumerate(path) if c in "*?["), None)
    if first is not None and not _exists(system, path):
        found, start = system.glob(path), path.rfind("/", 0, first) + 1
    elif system.isdir(path):
        found, start = system.find(path), len(path.rstrip("/")) + 1
    else:
        return [system.unstrip_protocol(path)] if system.exists(path) else []
    if "/." not in path[start - 1 :]:
        found = [file for file in found if not any(map(is_hidden, file[start:].split("/")))]
    return [system.unstrip_protocol(file) for file in sorted(found)]


def _exists(system: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether what looks like a pattern is a name."""
    try:
        return bool(system.exists(path))
    except Exception:  # a store may refuse such a name; what else is wrong, looking for the pattern will say
        return False


def located(name: str | Path) -> PurePath:
    """One spelling of each place, so that two can be compared, and one be found to lie in another."""
    if not is_remote(name):
        return Path(os.path.realpath(name))
    system, path = _locate(str(name))
    return Path(os.path.realpath(path)) if isinstance(system, LocalFileSystem) else PurePosixPath(system.unstrip_protocol(path))


def is_folder(name: str) -> bool:
    """Whether a path or address is a folder that is there."""
    if not is_remote(name):
        return os.path.isdir(name)
    system, path = _locate(name)
    return bool(system.isdir(path))


def fingerprint_remote(name: str) -> list[Any]:
    """What tells a remote file from a changed one."""
    system, path = _locate(name)
    info = system.info(path)
    version = next((str(info[key]) for key in ("ETag", "etag", "LastModified", "mtime", "created") if info.get(key)), "")
    return [name, info.get("size"), version]


def _locate(name: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        return fsspec.core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise InputError(f"{name}: {error}") from error


class LocalFolder:
    """A folder of results on this machine, or on a file system that it mounts."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._path = Path(place).absolute()  # workers may run elsewhere
        if self._path.exists() and not self._path.is_dir():
            raise InputError(f"{place} is a file: name a folder for the results")

    def local(self, name: str) -> Path:
        """Where a database that belongs to the folder lies: on this machine."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def names(self, folder: str = "") -> Iterator[str]:
        """Names of the files in it, without those that are being written."""
        path = self._path / folder
        if path.is_dir():
            yield from (entry.name for entry in os.scandir(path) if not entry.name.endswith(FRESH))

    def write(self, name: str, write: Write) -> None:
        """Write beside the place, flush to disk, then rename: a killed run, or a power cut, leaves a whole file or none."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}{FRESH}")
        write(fresh)
        _flush(fresh)
        fresh.replace(path)
        _flush(path.parent)

    def read(self, name: str) -> str:
        """Text of a file. Raises OSError where there is none."""
        return (self._path / name).read_text("utf-8")

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def sweep(self, folder: str, prefixes: tuple[str, ...]) -> None:
        """Remove what a killed run was just writing."""
        for path in (self._path / folder).glob(f".*{FRESH}"):
            if path.name.startswith(prefixes):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out.

        Raises:
            InputError: another run is at work there.
        """
        with self.local(".progress/lock").open("w") as lock:
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however that ends
                except BlockingIOError:
                    raise InputError(f"another run is writing to {self.place}: wait for it, or use another folder") from None
            yield


class RemoteFolder:
    """A folder of results on object storage, whose database lies in this machine's cache."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._system, self._path = _locate(place.rstrip("/"))

    def local(self, name: str) -> Path:
        """Where a database that belongs to the folder lies: on this machine."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wenzhai"
        path = cache / hashlib.sha256(self.place.rstrip("/").encode()).hexdigest()[:16] / Path(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def names(self, folder: str = "") -> Iterator[str]:
        """Names of the files in it."""
        path = f"{self._path}/{folder}".rstrip("/")
        self._system.invalidate_cache(path)
        if self._system.isdir(path):
            yield from (file.rstrip("/").rsplit("/", 1)[-1] for file in self._system.ls(path, detail=False))

    def write(self, name: str, write: Write) -> None:
        """Write here, then send."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "file"
            write(file)
            path = f"{self._path}/{name}"
            self._system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._system.put_file(str(file), path)

    def read(self, name: str) -> str:
        """Text of a file. Raises OSError where there is none."""
        return self._system.cat_file(f"{self._path}/{name}").decode()

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(f"{self._path}/{name}")

    def sweep(self, folder: str, prefixes: tuple[str, ...]) -> None:
        """Nothing: what is not sent whole is not there."""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep out other runs on this machine; object storage knows no locks that would keep out those of others."""
        with LocalFolder(str(self.local("x").parent)).alone():
            yield


def open_folder(place: str | Path) -> LocalFolder | RemoteFolder:
    """The folder at a path or an address."""
    return RemoteFolder(str(place)) if is_remote(place) else LocalFolder(str(place))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
