"""Writes the files of `batchsend new`: a campaign, a template and a list to start from."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import resources
from os.path import lexists
from pathlib import Path

from batchsend.campaigns.json_schema import SCHEMA_FILE, write_schema
from batchsend.errors import BatchsendError
from batchsend.utils.files import is_device


def write_sample(name: str, folder: Path) -> list[Path]:
    """Writes `name.toml`, `name.txt.j2` and `name.csv` into `folder`, and returns their paths, the campaign first.

    The schema, with which editors complete and check the campaign file, is written too unless it is there. Raises
    `BatchsendError` if `name` is not a valid file name or a file already exists.
    """
    stem = file_stem(name)
    samples = resources.files("batchsend.campaigns") / "sample_files"
    files = {
        folder / f"{stem}.toml": "campaign.toml",
        folder / f"{stem}.txt.j2": "message.txt.j2",
        folder / f"{stem}.csv": "customers.csv",
    }
    present = [file.name for file in files if lexists(file)]
    if present:
        raise BatchsendError(
            f"{', '.join(present)}: already there. Nothing is overwritten. Choose another name."
        )
    for file, sample in files.items():
        text = (samples / sample).read_text(encoding="utf-8")
        try:
            file.write_text(text.replace("@NAME@", stem), encoding="utf-8")
        except OSError as error:
            raise BatchsendError(
                f"{file}: cannot be written ({error.strerror}). Choose another name or folder."
            ) from error
    schema = folder / SCHEMA_FILE
    # The campaign does not need it, so a file of the user's with this name stays.
    with suppress(BatchsendError):
        if write_schema(schema):
            return [*files, schema]
    return list(files)


def file_stem(name: str) -> str:
    """The name of a campaign's file without its ending. Raises `BatchsendError` if it is not valid everywhere."""
    stem = name.removesuffix(".toml")
    if not re.fullmatch(r"[\w][\w .-]{0,99}", stem) or is_device(stem):
        raise BatchsendError(
            f'"{name[:100]}" is not a valid file name on every system. Use up to 100 letters, digits, "-", "_" and '
            f"spaces."
        )
    return stem


def is_sample_list(path: Path) -> bool:
    """Whether this file is the unchanged list of `write_sample`."""
    return _is_sample(path, "customers.csv")


def is_sample_text(path: Path) -> bool:
    """Whether this file is the unchanged template of `write_sample`."""
    return _is_sample(path, "message.txt.j2")


def _is_sample(path: Path, name: str) -> bool:
    sample = (resources.files("batchsend.campaigns") / "sample_files" / name).read_bytes()
    try:
        return path.stat().st_size <= 2 * len(sample) and path.read_bytes().split() == sample.split()
    except OSError:
        return False
