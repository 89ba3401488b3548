"""The base of the commands whose standard output is read by programs: a wrong flag ends in a block too.

What always holds: the usage goes to standard error, the block to standard output, and the exit code is 1 as for every
other refusal. Called from code, a wrong flag is Django's CommandError as ever.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser

from trading.engine.blocks import print_block


class BlockCommand(BaseCommand):
    """A command that ends in the block AXFL-`block`; `not_done` says what a refusal means."""

    block = "LIVE-PORT"
    not_done = "Nothing was run."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's parser, with this class's way to refuse."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:

            def refuse(message: str) -> NoReturn:
                parser.print_usage(sys.stderr)
                sentence = f"{message[:1].upper()}{message[1:]}".rstrip(".")
                print_block(self.block, self.refusal(f"{sentence}. {self.not_done}"))
                raise SystemExit(1)

            parser.error = refuse  # type: ignore[method-assign]
        return parser

    def refusal(self, sentence: str) -> dict[str, Any]:
        """The fields of the block."""
        return {"ok": False, "error": sentence}
