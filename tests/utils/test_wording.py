"""Sentences for people that depend on how batchsend was installed."""

from __future__ import annotations

from pathlib import Path

from batchsend.utils.wording import install_command


def test_the_command_that_adds_a_feature_is_that_of_the_installer(tmp_path: Path) -> None:
    assert install_command("parquet", str(tmp_path)) == (
        '`pipx runpip batchsend install "batchsend[parquet]"`, or `pip install "batchsend[parquet]"` if pip '
        "installed batchsend"
    )
    (tmp_path / "uv-receipt.toml").touch()
    assert install_command("parquet", str(tmp_path)) == (
        '`uv tool install --force ".[parquet]"` in the folder that batchsend was installed from'
    )
