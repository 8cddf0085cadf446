"""The commands about campaign files: `new` writes one to start from, `schema` describes it for editors."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Create a campaign, a template and a list to start from. Existing files are never overwritten."""
    from batchsend.campaigns.sample import write_sample
    from batchsend.utils.wording import in_command

    files = write_sample(name, Path.cwd())
    for file in files:
        click.echo(f"wrote {file.relative_to(Path.cwd())}")
    click.echo(f"Next: open {files[0].name}, then: batchsend preview {in_command(files[0].name)}")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), metavar="PATH", help="Write it to this file instead.")
def schema(out: Path | None) -> None:
    """Print the campaign file's JSON Schema, for editors.

    `batchsend new` writes it next to the campaign. After an update of batchsend, write it again with
    --out campaign.schema.json, so that editors know new keys.
    """
    from batchsend.campaigns.json_schema import schema_text, write_schema

    if out is None:
        click.echo(schema_text(), nl=False)
    else:
        write_schema(out)
        click.echo(f"wrote {out}")
