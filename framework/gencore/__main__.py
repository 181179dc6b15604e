"""``gencore`` and ``python -m gencore``: loads the command line, and runs it."""

import signal


def main() -> None:
    """Run the command line; while it is being loaded, Ctrl-C ends it without a traceback."""
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gencore.cli import main as run

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
