"""Torch's fused encoder layer, which has to stay off while a knob is turned."""

from contextlib import AbstractContextManager, nullcontext
from threading import Lock

import torch
from torch.backends import mha


class FastPathSwitch:
    """Counts the knobs that are turned, and keeps torch's fast path off until none is.

    In evaluation without gradients ``nn.TransformerEncoderLayer`` gives its weights to one fused
    kernel and calls none of its layers, which then cannot take a width. Torch has one switch for
    the process, and threads may turn knobs of different networks at once.
    """

    def __init__(self) -> None:
        self._lock, self._turned, self._enabled = Lock(), 0, True

    def turn_off(self) -> None:
        """Turn the fast path off, or count one more that wants it off."""
        with self._alone():
            if not self._turned:
                self._enabled = mha.get_fastpath_enabled()
                _set(False)
            self._turned += 1

    def turn_back(self) -> None:
        """Put it back to what it was if nobody else wants it off."""
        with self._alone():
            self._turned -= 1
            if not self._turned:
                _set(self._enabled)

    def _alone(self) -> AbstractContextManager[object]:
        # torch.compile knows no locks.
        return nullcontext() if torch.compiler.is_compiling() else self._lock


def _set(enabled: bool) -> None:
    if torch.compiler.is_compiling():
        # What torch's own setter does, which the compiler does not look into.
        mha._is_fastpath_enabled = enabled
    else:
        mha.set_fastpath_enabled(enabled)
