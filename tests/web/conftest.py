"""Fixtures of the console's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from web_client import Clicker, serving
from world import CAMPAIGN, World, customers


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Clicker]]:
    """A console whose folder has campaigns in two places, so two ledgers."""
    world = World(tmp_path_factory.mktemp("dealership")).write(customers(3))
    (world.folder / "campaigns").mkdir()
    (world.folder / "campaigns" / "other.toml").write_text(CAMPAIGN, encoding="utf-8")
    with serving(world) as served:
        yield world, served.signed_in()


@pytest.fixture
def office(console: tuple[World, Clicker]) -> tuple[World, Clicker]:
    """The console, with new ledgers."""
    world, clicker = console
    for folder in (world.folder, world.folder / "campaigns"):
        shutil.rmtree(folder / ".batchsend", ignore_errors=True)
    return world, clicker
