"""Sending with newman (Postman's runner) for comparison: one request, with the list as its iteration data."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

VERSION = "6.2.2"
_FOLDER = Path(__file__).parents[1] / "build" / "newman"


def find_newman() -> Path | str:
    """The path of newman, installed into `build/` if necessary; otherwise the reason why there is none."""
    program = _FOLDER / "node_modules" / ".bin" / "newman"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(_FOLDER)]
    done = subprocess.run([*command, f"newman@{VERSION}"], capture_output=True, check=False, encoding="utf-8")
    return program if program.exists() else f"npm could not install it (exit code {done.returncode})"


def send_by_newman(program: Path, posts: Path, count: int, folder: Path) -> float:
    """Sends the first `count` lines of the file `posts`. Returns the seconds from start to end."""
    data = folder / "newman-data.json"
    with posts.open(encoding="utf-8") as lines:
        read = [json.loads(next(lines)) for _ in range(count)]
    data.write_text(json.dumps([{"url": post["url"], "body": json.dumps(post["body"])} for post in read]))
    collection = folder / "newman-collection.json"
    request = {
        "method": "POST",
        "url": "{{url}}",
        "header": [{"key": "Content-Type", "value": "application/json"}],
        "body": {"mode": "raw", "raw": "{{body}}"},
        "auth": {
            "type": "basic",
            "basic": [{"key": key, "value": "benchmark"} for key in ("username", "password")],
        },
    }
    schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
    collection.write_text(
        json.dumps({"info": {"name": "b", "schema": schema}, "item": [{"name": "t", "request": request}]})
    )
    began = time.perf_counter()
    subprocess.run([str(program), "run", str(collection), "-d", str(data), "--silent"], check=True)
    return time.perf_counter() - began
