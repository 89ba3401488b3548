#!/usr/bin/env python3
"""The door for every command of the back office."""

import os
import sys


def main() -> None:
    """Find or start the database, then let Django run the command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
    from backoffice.desk.join import join_or_start_database

    with join_or_start_database(sys.argv):
        from django.core.management import execute_from_command_line

        from trading.context import begin_process

        begin_process(via="command", name=" ".join(["manage.py", *sys.argv[1:2]]))
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
