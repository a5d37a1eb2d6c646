"""What the commands for AWS share: their options, and lines that are printed at once."""

import argparse
import sys
from collections.abc import Sequence


def say(line: str) -> None:
    """Print a line as soon as it is known.

    Parameters
    ----------
    line : str
        Gets a line break at its end.
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Parser:
    """The command line of a module that asks AWS: commands, a dry run, and settings for one call.

    Parameters
    ----------
    name : str
    description : str, optional
    """

    def __init__(self, name: str, description: str | None) -> None:
        self._parser = argparse.ArgumentParser(name, description=description)
        self._commands = self._parser.add_subparsers(dest="command", required=True)

    def command(self, name: str, help: str) -> argparse.ArgumentParser:
        """Add a command.

        Parameters
        ----------
        name : str
        help : str
            Shown in the list of commands, and as the description of this one.

        Returns
        -------
        argparse.ArgumentParser
            It takes `--dry-run` and `--set KEY=VALUE`; the caller adds what else the command takes.
        """
        added = self._commands.add_parser(name, help=help, description=help)
        added.add_argument("--dry-run", action="store_true", help="show the changes, do none")
        added.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of conf/deploy"
        )
        return added

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Read a command line, which `Aws.of` takes.

        Parameters
        ----------
        arguments : sequence of str or None
            None for those of the process.

        Returns
        -------
        argparse.Namespace
            With `command`, `dry_run`, `set`, and what the command takes.

        Raises
        ------
        SystemExit
            With status 2, for a command or an option that does not exist.
        """
        return self._parser.parse_args(arguments)
