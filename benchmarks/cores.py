"""One core for the servers, one for the client, and who else was on them."""

import os
import time
from typing import NamedTuple

IDLE_FIELDS = (3, 4)  # of a line of /proc/stat, see proc_stat(5): idle, iowait
DISTURBED = 0.05  # of both cores: two undisturbed rounds differ by about as much
PRECISION = 0.03  # seconds; the kernel counts each core in ticks of 10 ms
COUNTED_FIELDS = 8  # up to `steal`; the guest fields after it are in `user` already


class Cores(NamedTuple):
    """The cores of a run; both None when they cannot be kept apart."""

    server: int | None
    client: int | None
    description: str

    @property
    def is_separate(self) -> bool:
        return self.server is not None

    def busy_seconds(self) -> float:
        """Return the time both cores have worked or were stolen, since they started."""
        seconds = 0.0
        names = {f"cpu{self.server}", f"cpu{self.client}"}
        with open("/proc/stat") as file:
            for line in file:
                name, *fields = line.split()
                if name in names:
                    ticks = [int(field) for field in fields[:COUNTED_FIELDS]]
                    seconds += sum(ticks) - sum(ticks[field] for field in IDLE_FIELDS)
        return seconds / os.sysconf("SC_CLK_TCK")


def separate_cores() -> Cores:
    """Pin this process, which is the client, to a core, and leave one for servers."""
    if not hasattr(os, "sched_setaffinity"):
        return Cores(None, None, "not pinned: this system cannot pin a process")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Cores(None, None, "not pinned: the client shares the only core")
    server, client = cores[0], cores[-1]
    os.sched_setaffinity(0, {client})
    return Cores(server, client, f"servers on core {server}, client on core {client}")


class Watch:
    """
    Measures how much of the two cores something else used.

    `others` and `seconds` are sums over every span watched; with cores that cannot be
    kept apart both stay 0.
    """

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self.others = 0.0
        self.seconds = 0.0

    def start(self) -> None:
        if self._cores.is_separate:
            self._started = time.perf_counter(), self._sum()

    def stop(self, server_cpu: float) -> bool:
        """
        End the span since `start`, in which the server used `server_cpu` seconds.

        Return True when others had so much of it that its figures are worth little.
        """
        if not self._cores.is_separate:
            return False
        started, busy = self._started
        seconds = 2 * (time.perf_counter() - started)
        others = max(0.0, self._sum() - busy - server_cpu)
        self.seconds += seconds
        self.others += others
        return others > seconds * DISTURBED and others > PRECISION

    def _sum(self) -> float:
        return self._cores.busy_seconds() - time.process_time()
