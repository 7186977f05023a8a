"""API keys: made, listed and removed by ``python -m serving.keys``, and checked by the service.

Only the SHA-256 of a key is stored. A slow hash (bcrypt, argon2) protects what people choose and others guess; these keys
are 256 random bits, which no number of guesses finds, and a slow hash would cost each request a tenth of a second.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from serving.settings import Settings

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PREFIX = "wz_"  # so that a scanner for secrets finds keys that were committed somewhere
_CHECK_SECONDS = 1.0
logger = logging.getLogger("bentoml.serve")


class KeysError(ValueError):
    """Keys can't be read or changed; the message says why, and what to do."""


class Keys:
    """The keys of a service: one named ``default`` in plain text, hashed ones by name, and those of a file."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = _listed(settings.api_keys)
        if settings.api_key:
            _check_new("default", self._fixed)
            self._fixed["default"] = _hash(settings.api_key)
        self._file = settings.api_keys_file
        self._state = _state(self._file)
        self._filed = _read(self._file) if self._file else {}
        self._next_check = time.monotonic() + _CHECK_SECONDS

    @property
    def required(self) -> bool:
        """Whether requests need a key. With a file they do, also when the last key has been taken out of it."""
        return bool(self._fixed) or self._file is not None

    def name_of(self, key: str) -> str | None:
        """The name of a key, None if it is not one. Takes as long whichever key it is, and however much of it is right."""
        self._refresh()
        digest = _hash(key)
        found = None
        for name, known in (*self._fixed.items(), *self._filed.items()):
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _refresh(self) -> None:
        """Read a file that has changed. One that can't be read leaves the keys as they were: a slip locks nobody out or in."""
        now = time.monotonic()
        if self._file is None or now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        state = _state(self._file)
        if state == self._state:
            return
        self._state = state
        try:
            self._filed = _read(self._file)
            logger.info("%d API keys read", len(self._filed))
        except KeysError as error:
            logger.error("the API keys stay as they were: %s", error)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _state(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def _listed(text: str) -> dict[str, str]:
    keys = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, _, digest = item.partition("=")
        _check(name, digest.lower(), "WENZHAI_API_KEYS")
        _check_new(name, keys)
        keys[name] = digest.lower()
    return keys


def _check_new(name: str, keys: Mapping[str, str]) -> None:
    if name in keys:
        raise KeysError(f"two keys are called '{name}' (that of WENZHAI_API_KEY is 'default'): give each a name of its own")


def _check(name: object, digest: object, where: object) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise KeysError(f"{where} holds an entry that is not a name and a SHA-256: make keys with 'python -m serving.keys add'")


def _entries(file: Path) -> list[dict[str, str]]:
    try:
        entries = json.loads(file.read_text("utf-8"))["keys"]
        for entry in entries:
            _check(entry["name"], entry["sha256"], file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KeysError):
            raise
        raise KeysError(f"{file} can't be read as a file of keys ({type(error).__name__}): make one with "
                        "'python -m serving.keys add'") from error
    return entries


def _read(file: Path) -> dict[str, str]:
    return {entry["name"]: entry["sha256"] for entry in _entries(file)}


def _write(file: Path, entries: list[dict[str, str]]) -> None:
    """All or nothing, and readable by its owner only, who stays the same when root changes the keys of another user's service."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False, encoding="utf-8") as new:
        json.dump({"keys": entries}, new, indent=1)
        new.write("\n")
    if file.exists():
        known = file.stat()
        os.chmod(new.name, known.st_mode & 0o777)
        if os.name == "posix" and known.st_uid != os.geteuid():
            os.chown(new.name, known.st_uid, known.st_gid)
    os.replace(new.name, file)


def add(name: str, file: Path | None) -> tuple[str, str]:
    """Make a key, and store its hash in the file, if one is given. Returns the key and its hash.

    Raises:
        KeysError: the name is not one, or there is a key of that name.
    """
    if not _NAME.fullmatch(name):
        raise KeysError("a name has 1 to 64 letters, digits, dots, underscores and hyphens")
    key = _PREFIX + secrets.token_urlsafe(32)
    if file is not None:
        entries = _entries(file) if file.exists() else []
        if any(entry["name"] == name for entry in entries):
            raise KeysError(f"{file} has a key named {name}: remove it first, or take another name")
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _write(file, [*entries, {"name": name, "sha256": _hash(key), "created": created}])
    return key, _hash(key)


def remove(name: str, file: Path) -> None:
    """Take a key out of the file.

    Raises:
        KeysError: there is none of that name.
    """
    entries = _entries(file)
    left = [entry for entry in entries if entry["name"] != name]
    if len(left) == len(entries):
        raise KeysError(f"{file} has no key named {name}; it has: {', '.join(entry['name'] for entry in entries) or 'none'}")
    _write(file, left)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="Make, list and remove API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("add", help="make a key and print it, once; only its hash is kept")
    one.add_argument("name", help="whose key it is, as logs will call it")
    one.add_argument("--file", type=Path, help="file of keys (WENZHAI_API_KEYS_FILE); left out: print it for WENZHAI_API_KEYS")
    for command, what in (("remove", "take a key out of the file"), ("list", "names of the keys, and when they were made")):
        one = commands.add_parser(command, help=what)
        if command == "remove":
            one.add_argument("name")
        one.add_argument("--file", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.command == "add":
            key, digest = add(given.name, given.file)
            sys.stdout.write(f"{key}\n")
            note = f"stored as a hash in {given.file}" if given.file else f"for WENZHAI_API_KEYS: {given.name}={digest}"
            sys.stderr.write(f"This key is shown once; {note}\n")
        elif given.command == "remove":
            remove(given.name, given.file)
        else:
            for entry in _entries(given.file):
                sys.stdout.write(f"{entry['name']}\t{entry.get('created', '')}\n")
    except (KeysError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
