"""Ctrl-C: the first one stops what runs and says so at once, the second one leaves at once."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130  # exit code of a program that Ctrl-C ended, as shells have it
_STOPPING = b"\nstopping; Ctrl-C again leaves at once\n"


@contextmanager
def interruptible() -> Iterator[None]:
    """Answer Ctrl-C in this block, which a KeyboardInterrupt leaves.

    Kernels and workers end with the process that started them, whichever way it goes.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as of what a shell starts in the background
        yield
        return

    def stop(*_: Any) -> None:
        # It stays: the program is about to end, and takes a moment to.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        # Past Python's buffers, which what is interrupted may be writing to.
        os.write(2, _STOPPING)
        # Of tasks that nobody awaits any more asyncio tells how they failed, with a traceback.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is stop:
            signal.signal(signal.SIGINT, before)
