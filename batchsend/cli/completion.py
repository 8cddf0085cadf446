"""`batchsend completion`: lets a shell complete commands, options and names of campaign files.

The script that it prints runs `batchsend` with the variable `VARIABLE` at each press of Tab.
"""

from __future__ import annotations

import click
from click.shell_completion import shell_complete

from batchsend.cli.options import Choice

#: What a shell asks for: `bash_source` for its script, `bash_complete` for completions.
VARIABLE = "_BATCHSEND_COMPLETE"


@click.command(short_help="Let your shell complete commands and file names.")
@click.argument("shell", type=Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that makes a shell complete commands, options and campaign files.

    \b
    Add the line to the file beside it, and open a new terminal:
      ~/.bashrc                   eval "$(batchsend completion bash)"
      ~/.zshrc                    eval "$(batchsend completion zsh)"
      ~/.config/fish/config.fish  batchsend completion fish | source
      $PROFILE (PowerShell)       batchsend completion powershell | Out-String | Invoke-Expression
    """
    return answer(context.find_root().command, f"{shell}_source")


def answer(cli: click.Command, question: str) -> int:
    """Prints what a shell asks for, and returns the exit code."""
    return shell_complete(cli, {}, "batchsend", VARIABLE, question)
