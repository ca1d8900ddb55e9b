"""The `lde` command: its subcommands, and how errors end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from lightning_lde import __version__
from lightning_lde.cli._artifact_commands import artifacts, get
from lightning_lde.cli._audit_command import audit
from lightning_lde.cli._check_command import check
from lightning_lde.cli._compact_command import compact
from lightning_lde.cli._compare import compare
from lightning_lde.cli._data_commands import data
from lightning_lde.cli._diversity_command import diversity
from lightning_lde.cli._erase_command import erase
from lightning_lde.cli._gc_command import gc
from lightning_lde.cli._lake_commands import init, show, sql, sync
from lightning_lde.cli._lineage_command import lineage
from lightning_lde.cli._log_command import log
from lightning_lde.cli._migrate_command import migrate
from lightning_lde.cli._output import text
from lightning_lde.cli._plan_command import plan
from lightning_lde.cli._policy_command import policy
from lightning_lde.cli._recommend_command import recommend
from lightning_lde.cli._reproduce import reproduce
from lightning_lde.cli._runs_command import runs
from lightning_lde.cli._study_commands import correlate, report
from lightning_lde.cli._tier_commands import restore, tier
from lightning_lde.cli._top_command import top
from lightning_lde.cli._variability import variability
from lightning_lde.cli._watch_command import watch
from lightning_lde.errors import LDEError


def main() -> None:
    """Entry point of `lde`."""
    run_command(app)


def run_command(command: click.Command) -> None:
    """Run a click command so that an error is one line on standard error and exit code 2.

    Args:
        command: The command; its words come from ``sys.argv``.
    """
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe such as `| head` has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (LDEError, OSError) as error:
        program = command.name if command is app else Path(sys.argv[0]).name
        click.echo(f"{program}: {text(' '.join(str(error).split()))}", err=True)
        sys.exit(2)


@click.group("lde", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lde")
def app() -> None:
    """The lifelong database of experiments for PyTorch Lightning.

    URL is a folder or an address such as s3://bucket/prefix; without it the variable LDE_URI counts.
    """


diversity.add_command(watch)

for command in (
    init,
    runs,
    show,
    top,
    compare,
    lineage,
    data,
    reproduce,
    artifacts,
    get,
    sql,
    diversity,
    correlate,
    variability,
    recommend,
    report,
    plan,
    policy,
    audit,
    compact,
    check,
    migrate,
    tier,
    restore,
    gc,
    log,
    erase,
    sync,
):
    app.add_command(command)
