"""Names of parametrized tests that are the same in every process, as tests side by side need."""

import re


def by_repr(value: object) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
