"""Commands that people are told to type."""

from __future__ import annotations

from pathlib import Path

from batchsend.utils.wording import in_command, install_command


def test_the_command_that_adds_a_feature_is_that_of_the_installer(tmp_path: Path) -> None:
    assert install_command("parquet", str(tmp_path)) == (
        '`pipx runpip batchsend install "batchsend[parquet]"`, or `pip install "batchsend[parquet]"` if pip '
        "installed batchsend"
    )
    (tmp_path / "uv-receipt.toml").touch()
    assert install_command("parquet", str(tmp_path)) == (
        '`uv tool install --force ".[parquet]"` in the folder that batchsend was installed from'
    )


def test_a_file_is_named_as_it_is_typed() -> None:
    assert in_command("spring.toml") == "spring.toml"
    assert in_command(Path("C:\\texts\\März_2.toml")) == "C:\\texts\\März_2.toml"
    assert in_command("Spring tires 2026.toml") == '"Spring tires 2026.toml"'
    assert in_command("a&b.toml") == '"a&b.toml"'
