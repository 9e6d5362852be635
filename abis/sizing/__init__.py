# SPDX-License-Identifier: Apache-2.0
"""Estimate memory, disk, cores, machines and latency of a gallery of any size, from measured constants.

>>> from abis.sizing import Demand, Machine, plan
>>> found = plan(Demand(subjects=1_000_000, searches_per_second=0.1), Machine(cores=16, memory_gb=64))
>>> found.layout.machines, found.layout.shards
(2, 30)
"""

from abis.sizing.measurements import Measurements, MeasurementSource, PerSubject
from abis.sizing.planning import Demand, Layout, LoadState, Machine, Plan, plan
from abis.sizing.simulation import Distribution, fork_join, many_servers
from abis.sizing.words import figures, written

__all__ = [
    "Demand",
    "Distribution",
    "Layout",
    "LoadState",
    "Machine",
    "MeasurementSource",
    "Measurements",
    "PerSubject",
    "Plan",
    "figures",
    "fork_join",
    "many_servers",
    "plan",
    "written",
]
