"""The campaign files that a scheduler looks after: which there are, and what changed since it last looked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, CampaignError

#: A file that says this is meant for the scheduler, even where it cannot be read as a campaign.
_MENTIONS_SCHEDULE = re.compile(rb"^\s*(\[\s*schedule\s*\]|schedule\s*[.=])", re.MULTILINE)
_ENDING = "*.toml"

#: What tells a file from what it was: time, size and place on the disk.
_Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Change:
    """A file that is new, changed or gone. `campaign`: as it is now, where it can be run at times of its own.

    `problem`: why it cannot. Neither: it is gone, or has no schedule any more (`exists`).
    """

    path: Path
    campaign: Campaign | None = None
    problem: str | None = None
    exists: bool = True


class CampaignFiles:
    """The files that are named, or without names all that have a schedule in these folders."""

    def __init__(self, named: Sequence[Path], folders: Sequence[Path]) -> None:
        self._named = [Path(normpath(path.absolute())) for path in named]
        self._folders = [Path(normpath(folder.absolute())) for folder in folders]
        self._known: dict[Path, _Signature] = {}
        self._absent: set[Path] = set()

    def changes(self) -> Iterator[Change]:
        """What is new, changed or gone since the last time; the first time everything that is there."""
        present = {path: seen for path in self._paths() if (seen := _signature(path)) is not None}
        for path in [path for path in self._known if path not in present]:
            del self._known[path]
            self._absent.add(path)
            yield Change(path, exists=False)
        for path in self._named:
            if path not in present and path not in self._absent:
                self._absent.add(path)
                yield self._read(path)
        for path, signature in present.items():
            if self._known.get(path) != signature:
                self._known[path] = signature
                yield self._read(path)

    def forget(self, path: Path) -> None:
        """The file counts as new the next time."""
        self._known.pop(path, None)

    def _paths(self) -> list[Path]:
        if self._named:
            return self._named
        found = [path for folder in self._folders for path in sorted(folder.glob(_ENDING))]
        return [path for path in found if not path.name.startswith(".")]

    def _read(self, path: Path) -> Change:
        try:
            meant = bool(self._named) or bool(_MENTIONS_SCHEDULE.search(path.read_bytes()))
            campaign = load_campaign(path) if meant else None
        except CampaignError as error:
            return Change(path, problem=str(error))
        except OSError as error:
            return Change(path, problem=f"{path}: it cannot be read: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - whatever is in one file, the others start
            return Change(path, problem=f"{path}: it could not be read ({type(error).__name__}).")
        if campaign is not None and campaign.schedule is None:
            if not self._named:
                return Change(path)
            return Change(path, problem=f"{path}: it has no [schedule], so that it has no times to start at")
        return Change(path, campaign)


def usual_folders() -> list[Path]:
    """Where campaigns are looked for if none are named."""
    return [Path.cwd(), Path.cwd() / "campaigns"]


def nothing_to_start(named: Sequence[Path]) -> BatchsendError:
    """What is wrong where there is no campaign that has times."""
    if named:
        names = ", ".join(str(path) for path in named)
        return BatchsendError(
            f"None of these can be started at a time: {names}. Put them right and run this again."
        )
    places = " or ".join(str(folder) for folder in usual_folders())
    return BatchsendError(
        f"There is no campaign with a [schedule] in {places}. Write one into a campaign file, or name the file."
    )


def _signature(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
