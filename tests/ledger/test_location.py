"""A ledger in a place that two computers can reach is refused with a message that says what to do."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest
from world import Sandbox, World, customers

from batchsend.ledger import location
from batchsend.ledger.location import Mount, is_on_network, synchronized_by


@pytest.mark.parametrize(
    ("path", "service"),
    [
        (PureWindowsPath(r"C:\Users\Anna\OneDrive\campaigns\.batchsend\ledger.db"), "OneDrive"),
        # The company's name follows.
        (PureWindowsPath(r"C:\Users\Anna\OneDrive - Lakeside Honda\ledger.db"), "OneDrive"),
        (PurePosixPath("/Users/anna/Dropbox (Personal)/x/ledger.db"), "Dropbox"),
        (PureWindowsPath(r"G:\My Drive\texts\ledger.db"), "Google Drive"),
        (PurePosixPath("/Users/anna/Library/Mobile Documents/com~apple~CloudDocs/ledger.db"), "iCloud"),
        (PurePosixPath("/Users/anna/Library/CloudStorage/Box-Box/ledger.db"), "a cloud service"),
        (PurePosixPath("/home/anna/nextcloud/ledger.db"), "a cloud service"),
        # Other folders can contain a service's name, and the file's name does not count.
        (PurePosixPath("/home/anna/dropbox-campaigns/ledger.db"), None),
        (PurePosixPath("/home/anna/Dropbox"), None),
        (PureWindowsPath(r"C:\Users\Anna\Documents\boxes\ledger.db"), None),
    ],
)
def test_synchronized_folders_are_recognized_by_name(path: PurePath, service: str | None) -> None:
    assert synchronized_by(path) == service


MOUNTS = [
    Mount(PurePosixPath("/"), "ext4"),
    Mount(PurePosixPath("/mnt/office"), "cifs"),
    Mount(PurePosixPath("/mnt/office/disk"), "ext4"),
    Mount(PurePosixPath("/home/anna/remote"), "fuse.sshfs"),
    Mount(PureWindowsPath("C:\\"), "NTFS", "rw,fixed"),
    Mount(PureWindowsPath("Z:\\"), "NTFS", "rw,remote"),
]


@pytest.mark.parametrize(
    ("path", "network"),
    [
        (PurePosixPath("/home/anna/ledger.db"), False),
        (PurePosixPath("/mnt/office/ledger.db"), True),
        # The innermost mount counts.
        (PurePosixPath("/mnt/office/disk/ledger.db"), False),
        (PurePosixPath("/mnt/office2/ledger.db"), False),
        (PurePosixPath("/home/anna/remote/deep/ledger.db"), True),
        (PureWindowsPath(r"C:\campaigns\ledger.db"), False),
        (PureWindowsPath(r"Z:\campaigns\ledger.db"), True),
        (PureWindowsPath(r"\\server\share\ledger.db"), True),
    ],
)
def test_network_drives_are_recognized_by_file_system(path: PurePath, network: bool) -> None:
    assert is_on_network(path, MOUNTS) is network


def test_a_campaign_in_a_synchronized_folder_is_told_where_to_put_the_ledger(
    world: World, sandbox: Sandbox, tmp_path: Path
) -> None:
    world.folder = tmp_path / "OneDrive - Lakeside Honda" / "campaigns"
    world.folder.mkdir(parents=True)
    world.write(customers(1))
    refused = world.send()
    assert refused.code == 2
    assert "this ledger is in a folder that OneDrive synchronizes." in refused.err
    assert "write BATCHSEND_LEDGER=" in refused.err
    assert sandbox.requests() == []
    assert not (world.folder / ".batchsend").exists()
    # A preview needs no ledger, but reports that `send` will be refused.
    looked = world.run("preview", "campaign.toml")
    assert looked.code == 2
    assert "1 row = 0 accepted by myKaarma + 1 ready to send" in looked.out
    assert "`send` will be refused." in looked.err
    (world.folder / ".env").write_text(
        f"BATCHSEND_LEDGER={tmp_path / 'local' / 'ledger.db'}\n", encoding="utf-8"
    )
    assert world.send().code == 0
    assert (tmp_path / "local" / "ledger.db").exists()


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="a list of mounts as Linux has it")
def test_both_lists_of_mounts_are_the_same() -> None:
    assert location._mounts() == location._mounts_elsewhere()
