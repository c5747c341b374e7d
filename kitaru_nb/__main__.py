"""Runs the command line: ``python -m kitaru_nb`` is ``kitaru-nb``."""

import sys

_INTERRUPTED = 130


def main() -> int:
    """Run one command line and give its exit code; Ctrl-C while it is still loaded ends it in a word, too."""
    try:
        from kitaru_nb.cli.main import main as carry_out  # noqa: PLC0415 - it takes most of a short command's time

        return carry_out()
    except KeyboardInterrupt:
        if "--json" in sys.argv:
            sys.stdout.write('{"error": {"kind": "interrupted", "message": "interrupted", "hint": null}}\n')
        else:
            sys.stderr.write("error: interrupted\n")
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
