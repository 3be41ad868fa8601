"""The command line: one file per verb; heavy imports happen inside the verb."""

from ivreid.cli.main import main

__all__ = ["main"]
