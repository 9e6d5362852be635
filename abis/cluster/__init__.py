# SPDX-License-Identifier: Apache-2.0
"""A gallery spread over many machines, on Ray: the extra ``abis[cluster]``. See docs/cluster.md."""

from __future__ import annotations

from abis.cluster.cluster import Cluster
from abis.cluster.manifest import Shard
from abis.cluster.merging import ClusterIdentification
from abis.cluster.messages import ShardInfo

__all__ = ["Cluster", "ClusterIdentification", "Shard", "ShardInfo"]
