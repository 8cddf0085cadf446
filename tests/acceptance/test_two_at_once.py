"""Several processes with one ledger at the same time.

The same campaign twice, and `stop` by its file, are in `test_send.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from world import CAMPAIGN, Running, World, customers, read_results, running_sandbox

#: At two a second they outlast every look at them.
ROWS = 300


@contextmanager
def under_way(world: World, *names: str) -> Iterator[list[Running]]:
    """Sends these campaign files; ends the processes that still run at the end."""
    processes = [world.start("send", name, "--yes", "--quiet") for name in names]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_run_can_be_shown_and_stopped_while_it_is_sent(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, "--latency", "0.05") as sandbox:
        world = World(tmp_path / "dealership", sandbox.base_url)
        world.folder.mkdir()
        world.write(customers(ROWS), campaign="[sending]\nrate = 2\n")
        with under_way(world, "campaign.toml") as [process]:
            sandbox.wait_for(2)
            results = world.run("results", "campaign.toml", "--out", "so-far.xlsx")
            assert results.code == 0
            so_far = [row["status"] for row in read_results(world.folder / "so-far.xlsx").values()]
            assert len(so_far) == ROWS
            assert {"accepted", "pending"} <= set(so_far) <= {"accepted", "pending", "unconfirmed"}
            preview = world.run("preview", "campaign.toml")
            assert preview.code == 0
            assert "continues: the list is the same" in preview.out
            assert "being sent now, by " in world.run("runs").out
            # Under another name it is the same campaign still, and a second process has to wait.
            world.write(campaign=CAMPAIGN.replace('"Spring"', '"Summer"\nformerly = "Spring"'))
            renamed = world.send()
            assert renamed.code == 4
            assert '"Spring" is being sent by another process.' in renamed.err
            assert "Run 1 was asked to stop" in world.run("stop", "1").out
            process.communicate(timeout=60)
            assert process.returncode == 130
        texts = sandbox.texts()
        assert max(texts.values()) == 1
        taken = [row["customerUUID"] for row in world.workbook().values() if row["status"] == "accepted"]
        assert sorted(taken) == sorted(texts)


def test_two_campaigns_share_a_ledger_at_full_speed(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        world = World(tmp_path / "dealership", sandbox.base_url)
        world.folder.mkdir()
        fast = "[sending]\nrate = 1000\n"
        world.write(customers(ROWS), campaign=fast)
        world.write_list(customers(ROWS, prefix="other"), "others.csv")
        other = CAMPAIGN.replace("Spring", "Summer").replace("customers.csv", "others.csv")
        (world.folder / "summer.toml").write_text(other + fast, encoding="utf-8")
        with under_way(world, "campaign.toml", "summer.toml") as processes:
            for process in processes:
                out, err = process.communicate(timeout=90)
                assert process.returncode == 0, err
                assert f"{ROWS} rows = {ROWS} accepted by myKaarma" in out
        assert set(sandbox.texts().values()) == {1}
        assert len(sandbox.texts()) == 2 * ROWS
        # Each run has a separate number, separate rows and separate results.
        numbers = {file.stem for file in (world.folder / "results").glob("*.xlsx")}
        assert numbers in ({"campaign-1", "summer-2"}, {"campaign-2", "summer-1"})
