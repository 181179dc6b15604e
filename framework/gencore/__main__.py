"""``python -m gencore``: the command line."""

from gencore.cli import main

main()
