"""The services of deploy/container/compose.yaml without containers: each is a process in namespaces of its own.

As in a container, a service has a network with its own address and the names of the others, an /etc and a /tmp of its
own, the user and the folder that the Dockerfile makes, and files that it cannot write to. Commands, ports, health
checks, the Caddyfile and the settings are those of the files, unchanged. Needs root.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import psutil
import yaml
from dotenv import dotenv_values
from forwarder import Forwarder
from networks import Networks
from postgres_server import UNPRIVILEGED_USER, Cluster, find_binaries
from program_mounts import ROOT, program_mounts

T = TypeVar("T")
FOLDER = ROOT / "deploy" / "container"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
COMPOSE = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
#: Where the server is in the world outside, and where its clients are.
OUTSIDE = "203.0.113"
SERVER = f"{OUTSIDE}.1"
#: Where each container finds the stand-in of the API, as plain http is allowed to this computer only.
API_PORT = 8398
#: Of the images of Python, PostgreSQL and Caddy.
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CADDY = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
_POSTGRES_ACCESS = "host all all all scram-sha-256\n"


def instructions(name: str) -> list[str]:
    """The instructions of this name in the Dockerfile, without the name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def filled_in(settings: Mapping[str, str | None]) -> dict[str, Any]:
    """The services, with `${NAME:?...}` as Compose fills it in."""
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", r"${\1}", COMPOSE)
    services: dict[str, Any] = yaml.safe_load(Template(text).substitute(settings))["services"]
    return services


def until(found: Callable[[], T], what: object, seconds: float = 60) -> T:
    """Waits until a function finds something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return value


@dataclass
class Container:
    """A container of a service. `log`: what it printed."""

    name: str
    service: str
    log: Path
    process: subprocess.Popen[bytes]

    def main(self) -> psutil.Process:
        """The process that a container runtime would signal."""
        return until(lambda: psutil.Process(self.process.pid).children(), self)[0]

    def kill(self) -> None:
        """`docker kill`"""
        self.main().kill()
        self.process.wait()

    def stop(self, seconds: float = 60) -> int:
        """`docker stop`. Returns the exit code."""
        self.main().terminate()
        return self.process.wait(seconds)

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8")


@dataclass
class Compose:
    """`docker compose` for a folder with campaigns. `folder`: a new one for all else; `api`: the stand-in's port."""

    folder: Path
    texts: Path
    settings: dict[str, str]
    api: int
    containers: dict[str, Container] = field(default_factory=dict)
    networks: Networks = field(default_factory=Networks)
    _opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.services = filled_in(self.settings)
        self._opened.callback(self.networks.remove)
        for name, service in self.services.items():
            for numbered in self._names(name):
                self.networks.add(numbered, *([SERVER] if "ports" in service else []))
        self.networks.add("run")
        self.networks.add_outside("clients", f"{OUTSIDE}.7", f"{OUTSIDE}.8")
        for name in self.networks.addresses:
            with self.networks.inside(name):
                server = socket.create_server(("127.0.0.1", API_PORT))
            self._opened.callback(Forwarder(self.api, server).close)
        self._build()
        self.postgres = self._create_postgres()

    def close(self) -> None:
        for container in self.containers.values():
            if container.process.poll() is None:
                container.kill()
        self._opened.close()

    # --- the commands

    def up(self, *names: str) -> None:
        """Starts services, or all, each after those that it depends on. Waits until they are healthy."""
        ordered = self._ordered(names or tuple(self.services))
        if "postgres" in ordered and not self.is_healthy("postgres"):
            self.postgres.restart()
        wanted = [name for service in ordered if service != "postgres" for name in self._names(service)]
        for name in wanted:
            container = self.containers.get(name)
            if container is None or container.process.poll() is not None:
                self.start(name)
        for name in wanted:
            until(lambda name=name: self.is_healthy(name), name, 100)

    def start(self, name: str) -> Container:
        """Starts the container of this name, as its restart policy does."""
        service = name.partition("-")[0]
        command = self.services[service].get("command")
        run = self._caddy if service == "caddy" else self._ours
        self.containers[name] = run(name, command, stdin=subprocess.DEVNULL)
        return self.containers[name]

    def restart_ended(self) -> list[str]:
        """Starts all that ended and have a policy that says so. Returns their names."""
        ended = [name for name, one in self.containers.items() if one.process.poll() is not None]
        found = [
            name
            for name in ended
            if self.services[self.containers[name].service]["restart"] == "unless-stopped"
        ]
        for name in found:
            self.start(name)
        return found

    def stop(self, *names: str) -> dict[str, int]:
        """Stops services, or all, in the reverse order of their start. Returns the exit codes."""
        codes = {}
        for name in reversed(self._ordered(names or tuple(self.services))):
            if name == "postgres":
                self.stop_postgres()
            for container in self.containers.values():
                if container.service == name and container.process.poll() is None:
                    codes[container.name] = container.stop()
        return codes

    def command(self, line: str, answer: str = "", backup: Path | None = None) -> tuple[int, str]:
        """Runs a line of the manual that begins with `docker compose`. Returns the exit code and what it printed.

        `backup`: the file that the line writes or reads.
        """
        words = shlex.split(line)
        if words[:3] == ["docker", "compose", "stop"]:
            return max(self.stop(*words[3:]).values(), default=0), ""
        if words[:3] == ["docker", "compose", "up"]:
            self.up()
            return 0, ""
        if words[:3] == ["docker", "compose", "run"]:
            assert words[3] == "--rm" and words[4] in self.services, line
            self.up("postgres")
            one = self._ours("run", words[5:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            out, _ = one.process.communicate(answer.encode(), timeout=100)
            return one.process.returncode, out.decode() + one.printed()
        assert words[:5] == ["docker", "compose", "exec", "-T", "postgres"], line
        return self._exec(words[5:], backup)

    def _exec(self, words: list[str], backup: Path | None) -> tuple[int, str]:
        with ExitStack() as files:
            streams: dict[str, Any] = {"stdout": subprocess.PIPE}
            sign = next((word for word in words if word in ("<", ">")), None)
            if sign is not None:
                assert backup is not None
                name, mode = ("stdin", "rb") if sign == "<" else ("stdout", "wb")
                streams[name] = files.enter_context(backup.open(mode))
                words = words[: words.index(sign)]
            done = subprocess.run(self._in_postgres(*words), stderr=subprocess.PIPE, **streams)
        return done.returncode, ((done.stdout or b"") + done.stderr).decode()

    def is_healthy(self, name: str) -> bool:
        """Runs the health check of a container. One without any is healthy as long as it runs."""
        if name == "postgres":
            kind, *command = self.services["postgres"]["healthcheck"]["test"]
            assert kind == "CMD"
            return subprocess.run(self._in_postgres(*command), capture_output=True).returncode == 0
        container = self.containers[name]
        assert container.process.poll() is None, container.printed()
        if container.service == "caddy":
            return True
        options, _, command = instructions("HEALTHCHECK")[0].partition(" CMD ")
        seconds = re.search(r"--timeout=(\d+)s", options)
        assert seconds is not None
        inside = ["nsenter", f"--target={container.main().pid}", "--mount", "--net", "--pid"]
        try:
            return (
                subprocess.run(
                    [*inside, *self._as_user(), *json.loads(command)],
                    env=self._environment(),
                    cwd="/",
                    capture_output=True,
                    timeout=float(seconds[1]),
                ).returncode
                == 0
            )
        except subprocess.TimeoutExpired:
            return False

    # --- PostgreSQL

    def stop_postgres(self) -> None:
        """`docker stop`: its image is stopped by SIGINT."""
        server = psutil.Process(self.postgres.pid())
        server.send_signal(signal.SIGINT)
        server.wait(60)

    def kill_postgres(self) -> None:
        """`docker kill`: all of its processes end at once."""
        server = psutil.Process(self.postgres.pid())
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 60)

    def _create_postgres(self) -> Cluster:
        # Not below pytest's folder, which PostgreSQL's user cannot read.
        name = self._opened.enter_context(
            TemporaryDirectory(prefix="batchsend-postgres-", ignore_cleanup_errors=True)
        )
        cluster = Cluster(Path(name), find_binaries())
        cluster.port = 5432
        user = [f"--reuid={UNPRIVILEGED_USER}", "--regid=nogroup", "--clear-groups"]
        cluster.prefix, cluster.identity = [*self.network("postgres"), "setpriv", *user], {}
        cluster.settings, cluster.access = "listen_addresses = '*'\n", _POSTGRES_ACCESS
        cluster.start()
        self._opened.callback(cluster.stop)
        self.postgres = cluster
        environment = self.services["postgres"]["environment"]
        user_name, password = environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD"]
        for statement in (
            f"CREATE ROLE {user_name} SUPERUSER LOGIN PASSWORD '{password}'",
            f"CREATE DATABASE {user_name} OWNER {user_name}",
        ):
            psql = self._in_postgres("psql", "--username", "postgres", "--command", statement)
            subprocess.run(psql, check=True, capture_output=True)
        return cluster

    def ask_database(self, query: str) -> str:
        """The only value that a query finds."""
        psql = ["psql", "--username", "batchsend", "--tuples-only", "--no-align", "--command", query]
        done = subprocess.run(self._in_postgres(*psql), check=True, capture_output=True, encoding="utf-8")
        return done.stdout.strip()

    def _in_postgres(self, program: str, *arguments: str) -> list[str]:
        # In the image, programs find the server by its socket.
        address = ["env", "PGHOST=127.0.0.1"]
        return [*self.network("postgres"), *address, str(self.postgres.binaries / program), *arguments]

    # --- the others

    def network(self, name: str) -> list[str]:
        """What runs a command in the network of a container, or of the `clients` outside."""
        return ["ip", "netns", "exec", self.networks.of(name)]

    def _names(self, service: str) -> list[str]:
        """The names of a service's containers."""
        more = range(2, self.services[service].get("scale", 1) + 1)
        return [service, *(f"{service}-{number}" for number in more)]

    def _ordered(self, names: Sequence[str]) -> list[str]:
        ordered: list[str] = []
        while len(ordered) < len(names):
            for name in names:
                needed = set(self.services[name].get("depends_on", ())) & set(names)
                if name not in ordered and needed <= set(ordered):
                    ordered.append(name)
        return ordered

    def _build(self) -> None:
        """Makes the user and the folder as the Dockerfile does, and what the images have in /etc."""
        self.folder.mkdir()
        etc = self.folder / "etc"
        (etc / "caddy").mkdir(parents=True)
        for name in ("passwd", "group"):
            shutil.copy(Path("/etc", name), etc)
        names = {"localhost": "127.0.0.1", **self.networks.addresses}
        (etc / "hosts").write_text("".join(f"{there} {name}\n" for name, there in names.items()))
        (caddyfile, *_), (_, making) = self.services["caddy"]["volumes"], instructions("RUN")
        mounted = re.fullmatch(r"(\./.*):/etc/(.*):ro", caddyfile)
        assert mounted is not None
        shutil.copy(FOLDER / mounted[1], etc / mounted[2])
        made = ["mount -t tmpfs tmpfs /srv", f"mount --bind '{etc}' /etc", making]
        subprocess.run(["unshare", "--mount", "sh", "-ec", "\n".join(made)], check=True, capture_output=True)
        (self.folder / "data").mkdir()
        self._mounts = program_mounts(self.folder / "programs")

    def _environment(self) -> dict[str, str]:
        (path,) = re.findall(r"PATH=(\S+):\$PATH", " ".join(instructions("ENV")))
        return {"PATH": f"{path}:{_SYSTEM_PATH}", "HOME": "/srv/texts", **self.settings}

    def _as_user(self) -> list[str]:
        (user,) = instructions("USER")
        number, group = user.split(":")
        rights = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return ["setpriv", f"--reuid={number}", f"--regid={group}", *rights]

    def _ours(self, name: str, command: list[str], **streams: Any) -> Container:
        (entrypoint,), (folder,) = instructions("ENTRYPOINT"), instructions("WORKDIR")[1:]
        mounts = [f"mount -t tmpfs tmpfs {place}" for place in ("/opt", "/srv")]
        for here, there in [*self._mounts, (self.texts, folder)]:
            mounts.append(f"mkdir -p {there} && mount --bind '{here}' {there}")
        mounts += [f"mount -t tmpfs tmpfs {self.services['worker']['tmpfs']}", f"cd {folder}"]
        words = [*self._as_user(), *json.loads(entrypoint), *command]
        return self._spawn(name, mounts, words, self._environment(), **streams)

    def _caddy(self, name: str, _command: None, **streams: Any) -> Container:
        environment = {**self.services["caddy"]["environment"], "PATH": _SYSTEM_PATH, "XDG_DATA_HOME": "/srv"}
        mounts = [f"mount --bind '{self.folder / 'data'}' /srv"]
        return self._spawn(name, mounts, _CADDY, environment, **streams)

    def _spawn(
        self, name: str, mounts: list[str], words: list[str], environment: dict[str, str], **streams: Any
    ) -> Container:
        etc = f"mount --bind '{self.folder / 'etc'}' /etc"
        script = [etc, *mounts, "mount -o remount,bind,ro /", 'exec "$@"']
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.network(name), *namespaces, "sh", "-ec", "\n".join(script), "sh", *words],
                env=environment,
                **{"stdout": output, "stderr": output, **streams},
            )
        return Container(name, name.partition("-")[0], log, process)

    @property
    def authority(self) -> Path:
        """The certificate of Caddy's own authority."""
        return self.folder / "data/caddy/pki/authorities/local/root.crt"


def settings_of_manual(values: Mapping[str, str]) -> dict[str, str]:
    """The settings of env.example after an administrator wrote these values into it."""
    text = (FOLDER / "env.example").read_text(encoding="utf-8")
    for name, value in values.items():
        assert f"\n{name}=\n" in text, name
        text = text.replace(f"\n{name}=\n", f"\n{name}='{value}'\n")
    with TemporaryDirectory() as folder:
        file = Path(folder, ".env")
        file.write_text(text, encoding="utf-8")
        return {name: value or "" for name, value in dotenv_values(file).items()}
