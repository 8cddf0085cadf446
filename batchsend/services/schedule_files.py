"""The campaign files of a scheduler: finds them, and notices which are new, changed or removed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, CampaignError, unreadable

#: A file that matches is meant for the scheduler, even if it cannot be read as a campaign.
_MENTIONS_SCHEDULE = re.compile(rb"^\s*(\[\s*schedule\s*\]|schedule\s*[.=])", re.MULTILINE)
_ENDING = "*.toml"

#: Changes with the file: modification time, size and inode.
_Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Change:
    """A file that is new, changed or removed. `campaign`: its campaign, if it can be started at set times.

    `problem`: why it cannot be. Without either, the file was removed, or (`exists`) has no schedule any more.
    """

    path: Path
    campaign: Campaign | None = None
    problem: str | None = None
    exists: bool = True


class CampaignFiles:
    """The named files; where none are named, all files in `folders` that have a schedule."""

    def __init__(self, named: Sequence[Path], folders: Sequence[Path]) -> None:
        self._named = [Path(normpath(path.absolute())) for path in named]
        self._folders = [Path(normpath(folder.absolute())) for folder in folders]
        self._known: dict[Path, _Signature] = {}
        self._absent: set[Path] = set()

    def changes(self) -> Iterator[Change]:
        """The files that are new, changed or removed since the last call; at the first call, all of them."""
        present = {path: found for path in self._paths() if (found := _signature(path)) is not None}
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
        """Makes the next call of `changes` report the file again."""
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
            return Change(path, problem=f"{path}: {unreadable(error)}")
        except Exception as error:  # noqa: BLE001 - a problem in one file must not keep the others from starting
            return Change(path, problem=f"{path}: it could not be read ({type(error).__name__}).")
        if campaign is not None and campaign.schedule is None:
            if not self._named:
                return Change(path)
            return Change(path, problem=f"{path}: it has no [schedule], so it has no times to start at")
        return Change(path, campaign)


def usual_folders() -> list[Path]:
    """Where to find campaigns if none are named."""
    return [Path.cwd(), Path.cwd() / "campaigns"]


def nothing_to_start(named: Sequence[Path]) -> BatchsendError:
    """The error where no campaign has times to start at."""
    if named:
        names = ", ".join(str(path) for path in named)
        return BatchsendError(
            f"None of these can be started at set times: {names}. Correct them and run this again."
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
