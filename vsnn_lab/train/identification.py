"""What batches are, so that a run is resumed on the same ones or not at all."""

import contextlib
import secrets
import warnings
import weakref
from dataclasses import dataclass
from typing import Any

from vsnn_lab.train.description import describe
from vsnn_lab.train.unidentified import find_unidentified

# Data, what they were before they were read, and what they were since.
_read: weakref.WeakKeyDictionary[Any, tuple[Any, Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Identity:
    """What batches are, as far as that can be told.

    Attributes:
        data: The batches.
        description: What JSON can hold of them; where they cannot be identified, one of its own
            every time.
        unknown: Where they reach for what may be something else tomorrow.
    """

    data: Any
    description: Any
    unknown: tuple[str, ...] = ()

    @classmethod
    def find(cls, data: Any) -> "Identity":
        """Identify batches.

        Those that a run in this process has read, and that are as it left them, are what they were
        before it, although their state has moved.
        """
        unknown = find_unidentified(data)
        if unknown:
            return cls(data, _shared_token(), tuple(unknown))
        now = describe(data, state=True)
        try:
            before, since = _read.get(data, (now, now))
        except TypeError:  # a list, say, which nothing can refer to weakly
            return cls(data, now)
        return cls(data, before if since == now else now)

    def note_as_read(self) -> None:
        """Remember what batches were before a run has read them, and what they are since."""
        if not self.unknown:
            with contextlib.suppress(TypeError):
                _read[self.data] = self.description, describe(self.data, state=True)

    def warn(self, stacklevel: int) -> None:
        """Say what cannot be identified, if anything, and what to do about it."""
        if self.unknown:
            shown = "; ".join(self.unknown[:3]) + ("; ..." if self.unknown[3:] else "")
            warnings.warn(
                "data cannot be identified, so that training starts anew and the same call will "
                f"not resume it: {shown}; give tensors in memory, or give the data set an "
                "attribute data_fingerprint, a string that changes with what it gives",
                stacklevel=stacklevel + 1,
            )


def _shared_token() -> str:
    """Return a text that there was never before, the same in all processes of a launch."""
    from accelerate import Accelerator
    from accelerate.utils import broadcast_object_list

    Accelerator()  # lets the processes meet, if there are several
    token: str = broadcast_object_list([secrets.token_hex(16)])[0]
    return token
