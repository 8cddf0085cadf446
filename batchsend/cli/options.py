"""Options that several commands share."""

from __future__ import annotations

import click

ledger_option = click.option("--ledger", metavar="URL", help="The ledger: a path, or a PostgreSQL URL.")
