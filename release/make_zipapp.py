"""Makes one file with batchsend and all its libraries, which any Python of its system can start.

`make zipapp` runs this. The file is for this computer's system and Python. With `--windows` it is for 64-bit Windows
and several Pythons. It can be made on any system, because only wheels are used.

Files that are the same for all Pythons are packed once, in `common/`; the others are in `cp311/` and so on.
`zipapp_main.py` unpacks what its Python needs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import check_release
import zipapp_main

ROOT = check_release.ROOT
#: With PostgreSQL and workers, so that everything of the command works.
EXTRA = "cluster"
WINDOWS_PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
#: Programs and tests of the libraries: 25 MB of which nothing is imported.
_LEFT_OUT = {"bin", "Scripts", "tests", "__pycache__"}
_SAME_TIME = (1980, 1, 1, 0, 0, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make one file with batchsend and all its libraries.")
    parser.add_argument("--windows", action="store_true", help="for Windows, and Python 3.11 to 3.14")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build", help="folder for the file  [default: build]"
    )
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="batchsend-zipapp-") as folder:
            _, wheel = check_release.build(Path(folder) / "dist")
            file = make(wheel, Path(folder), options.out, windows=options.windows)
    except check_release.CheckError as error:
        print(f"No zipapp: {error}", file=sys.stderr)
        return 1
    print(f"Made {os.path.relpath(file)} ({file.stat().st_size / 1e6:.0f} MB)")
    return 0


def make(wheel: Path, work: Path, out: Path, *, windows: bool) -> Path:
    """The zipapp of this wheel, made in the folder `work`."""
    pythons = WINDOWS_PYTHONS if windows else (sys.version_info[:2],)
    system = "win-amd64" if windows else zipapp_main.here()
    trees = {}
    for python in pythons:
        print(f"Collecting the libraries for Python {python[0]}.{python[1]} on {system} ...")
        trees[python] = _installed(wheel, work / f"cp{python[0]}{python[1]}", python, windows=windows)
    packed = dict(_arranged(trees))
    facts = {"system": system, "pythons": pythons, "digest": _digest(packed)}
    named = [f"{major}.{minor}" for major, minor in pythons]
    # The launcher of Windows takes this shebang for the newest Python 3.
    python_name = "/usr/bin/python3" if windows else f"/usr/bin/env python{named[0]}"
    span = "-".join(dict.fromkeys([named[0], named[-1]]))
    name = f"batchsend-{check_release.version_of(wheel)}-{'windows' if windows else system}-python{span}.pyz"
    out.mkdir(parents=True, exist_ok=True)
    _write(out / name, packed, facts, f"#!{python_name}\n")
    return out / name


def _installed(wheel: Path, folder: Path, python: tuple[int, int], *, windows: bool) -> dict[str, Path]:
    """Path within the folder -> file, for batchsend and its libraries."""
    target = ["--python-platform", "x86_64-pc-windows-msvc"] if windows else []
    version = f"{python[0]}.{python[1]}"
    where = ["--python", sys.executable, "--python-version", version, *target, "--target", str(folder)]
    what = ["-c", str(ROOT / "constraints.txt"), f"batchsend[{EXTRA}] @ {wheel.as_uri()}"]
    check_release.run([*check_release.UV, "pip", "install", "-q", "--only-binary", ":all:", *where, *what])
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): file for name, file in files.items() if _LEFT_OUT.isdisjoint(name.parts)}


def _arranged(trees: dict[tuple[int, int], dict[str, Path]]) -> Iterator[tuple[str, bytes]]:
    """(name in the archive, content), with each file that all Pythons share once."""
    for name in sorted(set().union(*trees.values())):
        contents = {python: tree[name].read_bytes() for python, tree in trees.items() if name in tree}
        if len(contents) == len(trees) and len(set(contents.values())) == 1:
            yield f"common/{name}", next(iter(contents.values()))
        else:
            yield from ((f"cp{major}{minor}/{name}", content) for (major, minor), content in contents.items())


def _digest(packed: dict[str, bytes]) -> str:
    """Names the unpacked folder: a file with other content is unpacked beside it. Short, as Windows limits paths."""
    total = hashlib.sha256()
    for name, content in packed.items():
        total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def _write(file: Path, packed: dict[str, bytes], facts: dict[str, object], shebang: str) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as raw:
        raw.write(shebang.encode())
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
            start = Path(zipapp_main.__file__).read_bytes()
            for name, content in {
                "__main__.py": start,
                "zipapp.json": json.dumps(facts).encode(),
                **packed,
            }.items():
                archive.writestr(zipfile.ZipInfo(name, _SAME_TIME), content, zipfile.ZIP_DEFLATED)
    part.chmod(0o755)
    shutil.move(part, file)


if __name__ == "__main__":
    sys.exit(main())
