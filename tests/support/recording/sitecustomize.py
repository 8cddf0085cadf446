"""Python imports this module when it starts: it records which libraries the functions of batchsend call.

`RECORD_USE` is the file that gets a line for each library, `RECORDED` has the libraries' import names, `HIDDEN` those
of libraries that cannot be imported.
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any


def _recorded() -> set[str]:
    """What earlier processes have recorded."""
    file = Path(os.environ.get("RECORD_USE", ""))
    return set(file.read_text(encoding="utf-8").split()) if file.is_file() else set()


#: Libraries without functions: that they are imported is their use.
DATA = {"tzdata"}
unseen = set(os.environ.get("RECORDED", "").split()) - _recorded()


def record(frame: FrameType, event: str, function: Any) -> None:
    """A profile function. A call in a module's own lines, such as a decorator's, does not count."""
    if event == "call":
        caller, module = frame.f_back, frame.f_globals.get("__name__")
    elif event == "c_call":
        caller = frame
        module = function.__module__ or _home(function.__self__)
    else:
        return
    library = str(module).partition(".")[0]
    if library in unseen and (library in DATA or _is_ours(caller)):
        unseen.discard(library)
        with Path(os.environ["RECORD_USE"]).open("a", encoding="utf-8") as file:
            file.write(f"{library}\n")


def _home(owner: object) -> str:
    """The module of an object's type, or of a type. Some types written in Rust say that they are built in."""
    kind = owner if isinstance(owner, type) else type(owner)
    if kind.__module__ != "builtins" or hasattr(builtins, kind.__name__):
        return kind.__module__
    exporters = (name for name in unseen if getattr(sys.modules.get(name), kind.__name__, None) is kind)
    return next(exporters, "builtins")


def _is_ours(caller: FrameType | None) -> bool:
    if caller is None or caller.f_code.co_name == "<module>":
        return False
    return str(caller.f_globals.get("__name__")).startswith("batchsend")


sys.modules.update(dict.fromkeys(os.environ.get("HIDDEN", "").split()))  # type: ignore[arg-type]
if unseen:
    threading.setprofile(record)
    sys.setprofile(record)
