"""How many cores this process may use: what the machine has, less what affinity and the container's quota take away."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Whole cores, at least one. A quota of half a core counts as one, of two and a half as two."""
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    return max(1, int(min(found, quota(_CGROUP))))


def quota(folder: Path) -> float:
    """Cores that the control group at ``folder`` may use on average (cgroup v2, else v1); infinite without a limit."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    return int(limit) / int(period) if limit.strip().isdigit() else math.inf
