"""A database may have been created with another encoding than UTF-8."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from postgres_server import PostgresServer
from world import CAMPAIGN, Sandbox, World, customers


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def other_url(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[str]:
    name = f"in_{request.param.lower()}"
    with psycopg.connect(
        host="127.0.0.1", port=postgres_server.port, user="postgres", autocommit=True
    ) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'")
        yield postgres_server.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_texts_and_names_are_kept_in_it(other_url: str, world: World, sandbox: Sandbox) -> None:
    world.write(customers(2), campaign=CAMPAIGN.replace("Spring", "Frühling für José"))
    assert world.send("--ledger", other_url).code == 0
    again = world.send("--ledger", other_url)
    assert again.code == 0, again.err
    assert len(sandbox.texts()) == 2
    assert "Frühling für José" in world.run("runs", "--ledger", other_url).out
    assert world.run("purge", "--older-than", "1d", "--yes", "--ledger", other_url).code == 0
