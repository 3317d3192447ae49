"""The workers at work: how training is spread over them, and what they have to agree on."""

import hashlib
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from classify.finetuning.meeting import meet
from classify.finetuning.workers import Workers
from extract.devices import CPU, Devices
from extract.errors import ClusterError
from extract.keras_runtime import load_tensorflow


@dataclass(frozen=True)
class Team:
    """A worker with its devices, and its tie to the others.

    Attributes
    ----------
    workers : Workers
    devices : Devices
        Of this one.
    strategy : tf.distribute.Strategy
        Over the devices of all; variables are created in its ``scope()``.
    """

    workers: Workers
    devices: Devices
    strategy: Any

    @classmethod
    def gather(cls, workers: Workers, devices: Devices, say: Callable[[str], None]) -> "Team":
        """Wait for the others, if there are any.

        Then it has to come before anything else that TensorFlow does in this process.

        Raises
        ------
        ClusterError
            If another does not come, TensorFlow was at work already, or the port is taken.
        """
        if workers.is_alone:
            return cls(workers, devices, create_strategy(devices))
        say(f"{workers} of {workers.n_workers}: waiting for the others")
        meet(workers)
        return cls(workers, devices, _join(workers, devices))

    def voice(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Who tells what happens: the chief; the others are silent."""
        return say if self.workers.is_chief else lambda _: None

    def agree(self, value: float) -> float:
        """The value that the chief has."""
        return self._sum(value if self.workers.is_chief else 0.0)

    def wait(self) -> None:
        """Go on when all have come here."""
        self._sum(0.0)

    def require_same(self, facts: Any) -> None:
        """Refuse to train with others that were started in another way, or see other files.

        Parameters
        ----------
        facts : JSON-ready
            What has to be the same.

        Raises
        ------
        ClusterError
            On every worker, if one of them differs from the chief.
        """
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
        # As many bytes as float64 holds.
        own = float(int.from_bytes(digest[:6]))
        if self._sum(float(self.agree(own) != own)):
            raise ClusterError(
                "The workers differ: expected the same command, the same features, images and "
                "checkpoint in the same shared folder, the same version and as many GPUs for each. "
                "Mend that and start all of them again."
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Say so when another worker is lost.

        TensorFlow finds that out by itself, some ten seconds later: whoever waits for the lost one
        is told.

        Raises
        ------
        ClusterError
        """
        errors = load_tensorflow().errors
        try:
            yield
        except errors.ResourceExhaustedError:
            raise
        except errors.OpError as error:
            if self.workers.is_alone:
                raise
            raise ClusterError(
                f"{self.workers}: lost {self._lost(str(error))}. See what that one says, and start "
                "the same command on every machine again: it goes on after the last finished epoch."
            ) from error

    def _sum(self, value: float) -> float:
        if self.workers.is_alone:
            return value
        tf = load_tensorflow()
        return float(self.strategy.reduce("SUM", tf.constant(value, tf.float64), axis=None))

    def _lost(self, message: str) -> str:
        """The workers that TensorFlow complains of."""
        found = {
            int(index) for index in re.findall(r"/job:worker(?:/replica:0)?/task:(\d+)", message)
        }
        others = sorted(found - {self.workers.index})
        return " and ".join(map(self.workers.name, others)) or "another worker"


def create_strategy(devices: Devices) -> Any:
    """How variables and work are spread over the devices of one machine."""
    tf = load_tensorflow()
    if len(devices.names) > 1:
        return tf.distribute.MirroredStrategy(list(devices.names))
    # Not TensorFlow's default: that takes a GPU where it sees one, whatever was asked for.
    return tf.distribute.OneDeviceStrategy(f"/{devices.names[0]}")


def _join(workers: Workers, devices: Devices) -> Any:
    tf = load_tensorflow()
    try:
        if devices.kind == CPU:
            # TensorFlow takes every GPU that it sees.
            tf.config.set_visible_devices([], "GPU")
        with _own_signals():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ClusterError(
            f"{workers}: TensorFlow is at work in this process already ({error}). Fine-tune by "
            "'python -m classify finetune' alone (make finetune)."
        ) from error
    except tf.errors.OpError as error:
        raise ClusterError(
            f"{workers}: cannot start ({error.message}). Expected an address of this machine, with "
            "a free port that the others reach."
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Have SIGTERM end the process as before: TensorFlow only takes note of it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
