"""How long OpenMP's threads spin for each other, in the processes that this package starts.

libgomp, the OpenMP of torch's builds for Linux, lets a thread that waits for another one spin for
300,000 turns before it sleeps. Where a third process wants the cores, the thread that is waited for
does not run meanwhile, and a step with two threads takes many times as long as one with a single
thread. After 1,500 turns it takes little longer there, and hardly longer on an idle machine; fewer
turns cost more there, more turns here: ``python -m benchmarks threads`` measures both. Intel's and
LLVM's OpenMP need no such limit: they give the core away while they spin.
"""

from collections.abc import Mapping

# The same in a shell; the Makefile holds the number, too.
SPIN_COUNT_LINE = '[ "${OMP_WAIT_POLICY+set}" ] || export GOMP_SPINCOUNT="${GOMP_SPINCOUNT-1500}"'


def spin_count(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the environment of a process lacks, for its threads not to spin for long.

    OpenMP reads it when it is loaded, with torch. What a person has set stays, and so does a choice
    by ``OMP_WAIT_POLICY``, over which a count of turns would win.
    """
    chosen = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & environ.keys()
    return {} if chosen else {"GOMP_SPINCOUNT": "1500"}
