"""The commands about campaign files: `new` writes one to start from, `schema` describes it for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Create a campaign, a template and a list to start from. Existing files are never overwritten."""
    from batchsend.campaigns.sample import write_sample

    files = write_sample(name, Path.cwd())
    for file in files:
        click.echo(f"wrote {file.relative_to(Path.cwd())}")
    click.echo(f"Next: open {files[0].name}, then: batchsend preview {files[0].name}")


@click.command()
def schema() -> None:
    """Print the campaign file's JSON Schema, for editors."""
    from batchsend.campaigns.json_schema import campaign_schema

    click.echo(json.dumps(campaign_schema(), indent=2))
