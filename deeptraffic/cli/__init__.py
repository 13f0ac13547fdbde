"""The `deeptraffic` command: parse, build, call, print.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. With `--json` exactly one JSON object goes to standard
output; progress and messages always go to standard error. DEEPTRAFFIC_TRACEBACK=1 shows where an error comes from.
"""

from deeptraffic.cli.app import app

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    app()
