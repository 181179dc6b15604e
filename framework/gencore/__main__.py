"""``gencore`` and ``python -m gencore``: loads the command line, and runs it."""

import gc
import signal
from typing import Final

_COLLECT_AFTER: Final = 100_000
"""New objects until garbage is collected. With the default, 700, that takes 20 to 30 ms while
modules are loaded, which leave none."""


def main() -> None:
    """Run the command line; while it is being loaded, Ctrl-C ends it without a traceback."""
    gc.set_threshold(_COLLECT_AFTER)
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gencore.cli import main as run

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        gc.freeze()  # or the interpreter's exit looks at each object, several times: 50 ms


if __name__ == "__main__":
    main()
