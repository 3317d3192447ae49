"""The processes that train one network together, as TensorFlow's ``TF_CONFIG`` lists them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extract.errors import ClusterError

VARIABLE = "TF_CONFIG"
EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
WORKER = "worker"


@dataclass(frozen=True)
class Workers:
    """One process on each machine; by default this one alone.

    Attributes
    ----------
    addresses : tuple of str
        ``host:port`` of each.
    index : int
        Which of them this one is.
    """

    addresses: tuple[str, ...] = ("",)
    index: int = 0

    @property
    def n_workers(self) -> int:
        """How many there are."""
        return len(self.addresses)

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.n_workers == 1

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that speaks, and writes what all have made."""
        return self.index == 0

    def owns(self, content: bytes) -> bool:
        """Whether work on an image, given by its SHA-256, is this one's: each has one owner."""
        return int.from_bytes(content[:8]) % self.n_workers == self.index

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Where a worker listens."""
        host, _, port = self.addresses[index].rpartition(":")
        return host, int(port)

    def name(self, index: int) -> str:
        """A worker in words."""
        return f"worker {index} ({self.addresses[index]})"

    def __str__(self) -> str:
        return self.name(self.index)


def find_workers(environment: Mapping[str, str] = os.environ) -> Workers:
    """The workers of the environment; this process alone if it names none.

    Raises
    ------
    ClusterError
        If ``TF_CONFIG`` is not what TensorFlow expects, or names others than workers.
    """
    text = environment.get(VARIABLE, "").strip()
    try:
        config = json.loads(text or "{}")
    except ValueError as error:
        raise _malformed(text, "no JSON") from error
    if not isinstance(config, dict):
        raise _malformed(text, "no object")
    if not config.get("cluster"):
        return Workers()
    return Workers(_addresses(text, config["cluster"]), _index(text, config))


def _addresses(text: str, cluster: Any) -> tuple[str, ...]:
    if not isinstance(cluster, dict) or list(cluster) != [WORKER]:
        raise _malformed(text, "the cluster may have workers and nothing else")
    addresses = cluster[WORKER]
    if not isinstance(addresses, list) or not addresses or not all(map(_is_address, addresses)):
        raise _malformed(text, "each worker needs a host and a port")
    if len(set(addresses)) < len(addresses):
        raise _malformed(text, "two workers have one address")
    return tuple(addresses)


def _is_address(address: Any) -> bool:
    host, _, port = str(address).rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 1 << 16


def _index(text: str, config: Mapping[str, Any]) -> int:
    task, n_workers = config.get("task"), len(config["cluster"][WORKER])
    if not isinstance(task, dict) or task.get("type") != WORKER:
        raise _malformed(text, "the task is no worker")
    index = task.get("index")
    if type(index) is not int or not 0 <= index < n_workers:
        raise _malformed(text, f"expected an index from 0 to {n_workers - 1}")
    return index


def _malformed(text: str, reason: str) -> ClusterError:
    return ClusterError(
        f"{VARIABLE}: expected something like {EXAMPLE}, with its own index on each machine, found "
        f"{text}: {reason}. Mend it, or unset it to train on this machine alone."
    )
