"""The files in deploy/container, as far as they can be judged without a container."""

from __future__ import annotations

import json
import re

import click
import pytest
import yaml
from compose import COMPOSE, DOCKERFILE, FOLDER, ROOT, instructions
from dotenv import dotenv_values

from batchsend.cli.main import cli
from batchsend.settings import VARIABLES

SERVICES = yaml.safe_load(COMPOSE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "batchsend"}
SETTINGS = dotenv_values(FOLDER / "env.example")


def test_all_services_are_there() -> None:
    assert set(OURS) == {"web", "schedule", "callbacks", "worker"}
    assert set(SERVICES) - set(OURS) == {"postgres", "caddy"}
    assert OURS["worker"]["scale"] == 2


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    command, *words = OURS[name]["command"]
    parameters = cli.commands[command].params
    options = {
        option for parameter in parameters for option in parameter.opts if isinstance(parameter, click.Option)
    }
    assert command == name
    assert {word for word in words if word.startswith("--")} <= options
    assert all(isinstance(word, str) for word in words)


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_time_to_stop_and_is_started_again(name: str) -> None:
    service = OURS[name]
    assert (service["stop_grace_period"], service["restart"], service["init"]) == (
        "3m",
        "unless-stopped",
        True,
    )
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    # An image of this name in a registry is somebody else's.
    assert (service["pull_policy"], (FOLDER / service["build"]["context"]).resolve()) == ("never", ROOT)


def test_settings_are_in_one_file_and_passwords_in_no_other() -> None:
    for service in OURS.values():
        assert (service["env_file"], service.get("environment")) == (".env", None)
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE))
    assert asked == {"SITE", "PGPASSWORD"}
    assert set(SETTINGS) <= {*VARIABLES, *asked}
    assert SETTINGS["BATCHSEND_LEDGER"] == "postgresql://batchsend@postgres/batchsend"
    filled = {name for name, value in SETTINGS.items() if value}
    assert filled == {"BATCHSEND_LEDGER"}
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${PGPASSWORD:?")


def test_only_caddy_can_be_reached_from_outside() -> None:
    assert [
        name for name, service in SERVICES.items() if "ports" in service or "network_mode" in service
    ] == ["caddy"]


def test_caddy_hides_the_secret_as_in_the_manual() -> None:
    caddyfile = (FOLDER / "Caddyfile").read_text(encoding="utf-8")
    shown = re.search(
        r"```caddy\n(.*?)```", (ROOT / "docs" / "callbacks.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown is not None
    hiding = shown[1].split("sms.example.com")[0].split()
    assert re.sub(r"#.*", "", caddyfile).split()[: len(hiding)] == hiding


def test_the_image_runs_as_a_user_without_rights_and_gets_signals() -> None:
    (user,) = instructions("USER")
    (entrypoint,) = instructions("ENTRYPOINT")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert json.loads(entrypoint) == ["batchsend"]
    assert "STOPSIGNAL" not in DOCKERFILE
    owner = user.split(":")[0]
    assert f"useradd --uid {owner} " in DOCKERFILE
    assert f"install -d -o {owner} -g {owner} -m 700 /srv/texts" in (ROOT / "docs" / "server.md").read_text(
        "utf-8"
    )


def test_the_health_check_asks_the_port_of_every_service() -> None:
    for service in OURS.values():
        command = service["command"]
        assert f"'127.0.0.1', {command[command.index('--status-port') + 1]}," in DOCKERFILE


def test_the_image_has_the_constrained_versions_from_no_named_registry() -> None:
    installing = [line for line in instructions("RUN") if "pip install" in line]
    assert len(installing) == 1
    assert '-c constraints.txt ".[cluster]"' in installing[0]
    for text in (DOCKERFILE, COMPOSE):
        assert not re.search(r"https?://(?!127)|--index-url|ghcr\.io|docker\.io|/home/|/root/", text)


def test_the_image_is_built_from_the_package_alone() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert all((ROOT / name).exists() for name in kept)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:readme = |license-files = \[|"share/man/man1" = \[)"([^"]+)"', project))
    assert kept == {"batchsend", "constraints.txt", "pyproject.toml", *named}
    assert {"**/.env", "**/.batchsend"} <= set(rules)
