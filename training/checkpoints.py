"""Checkpoints of a training run: whole whenever the run is killed, and of use to the same run only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
from accelerate import Accelerator


def _last(folder: Path) -> Path | None:
    """The state of the last whole checkpoint, which lies in the checkpoint's folder."""
    files = (folder / name / "state.json" for name in ("last", "fresh"))
    return next(filter(Path.is_file, files), None)


def discard(folder: Path) -> None:
    """``clear`` what another run left that did not end, and say so where it could have gone on."""
    if file := _last(folder):
        epoch = json.loads(file.read_text())["epoch"] + 1
        click.echo(f"discarding the checkpoint at epoch {epoch} in {folder}; --resume would have gone on from it", err=True)
    clear(folder)


def clear(folder: Path) -> None:
    """Delete the checkpoints and epochs' weights of a run, and the folder if nothing else is in it."""
    for name in ("last", "fresh", "old"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in [*folder.glob("epoch*.safetensors"), folder / "best.safetensors"]:
        file.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class Checkpoints:
    """The last checkpoint of a run, in ``folder/last``: Accelerate's own files, and where the loop was in ``state.json``."""

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder, self.accelerator = folder, accelerator

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint beside the last one, then put it in its place: a kill leaves one or the other whole."""
        fresh, last, old = self.folder / "fresh", self.folder / "last", self.folder / "old"
        if self.accelerator.is_main_process:
            shutil.rmtree(fresh, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        # Not as safetensors: Accelerate drops the empty tensors of a model without topics, taking them for one.
        self.accelerator.save_state(str(fresh), safe_serialization=False)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (fresh / "state.part").write_text(json.dumps(state))
            (fresh / "state.part").rename(fresh / "state.json")
            shutil.rmtree(old, ignore_errors=True)
            if last.is_dir():
                last.rename(old)  # a kill in rmtree would leave half of it
            fresh.rename(last)
            shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def restore(self, state: dict[str, Any]) -> dict[str, Any]:
        """Load the last checkpoint into what Accelerate has prepared; returns its state, or ``state`` where there is none.

        Raises:
            ValueError: the checkpoint is another run's.
        """
        file = _last(self.folder)
        if file is None:
            self.accelerator.print("nothing to resume from: starting anew")
            return state
        saved = json.loads(file.read_text())
        self._check(saved, state)
        try:
            self.accelerator.load_state(str(file.parent))
        except RuntimeError as error:  # sizes differ, as with other --layers; older versions stored no empty tensors
            raise ValueError(
                f"the checkpoint in {self.folder} belongs to another network, or an older version wrote it; start without "
                f"--resume: {error}"
            ) from error
        self.accelerator.print(f"resuming at epoch {saved['epoch'] + 1}, step {saved['step']}")
        return saved

    def _check(self, saved: dict[str, Any], state: dict[str, Any]) -> None:
        if saved["name"] != state["name"]:
            raise ValueError(
                f"the checkpoint in {self.folder} belongs to a run with other data or settings; "
                "start without --resume, or with the same command line"
            )
        processes = saved.setdefault("processes", state["processes"])
        if processes != state["processes"]:
            raise ValueError(f"the checkpoint in {self.folder} is of a run with {processes} processes; start as many")
