import pytest

from classify.finetuning.team import Team
from classify.finetuning.workers import Workers
from extract.devices import Devices
from extract.errors import ClusterError
from extract.keras_runtime import load_tensorflow

DEVICES = Devices("cpu", ("CPU:0",))
PEER_DOWN = (
    "{{function_node __wrapped__CollectiveReduceV2_/job:worker/replica:0/task:0/device:CPU:0}}"
    " Collective ops is aborted by: Error reported from /job:worker/task:2: The following tasks are"
    " unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:2"
)


def unavailable(message: str) -> Exception:
    return load_tensorflow().errors.UnavailableError(None, None, message)


def several(index: int) -> Team:
    """A worker whose others are only named."""
    return Team(Workers(("a:1", "b:1", "c:1"), index), DEVICES, None)


def test_alone_one_agrees_with_oneself_and_waits_for_nobody() -> None:
    said: list[str] = []
    team = Team.gather(Workers(), DEVICES, said.append)
    assert team.agree(0.1) == 0.1
    team.wait()
    team.require_same({"any": "thing"})
    team.voice(said.append)("spoken")
    assert said == ["spoken"]


def test_only_the_chief_speaks() -> None:
    said: list[str] = []
    for index in range(3):
        several(index).voice(said.append)(f"worker {index}")
    assert said == ["worker 0"]


def test_the_worker_that_is_lost_is_named_and_not_the_one_that_tells() -> None:
    with (
        pytest.raises(ClusterError, match=r"worker 0 \(a:1\): lost worker 2 \(c:1\)\. ") as error,
        several(0).together(),
    ):
        raise unavailable(PEER_DOWN)
    assert "on every machine again: it goes on" in str(error.value)
    with pytest.raises(ClusterError, match="lost another worker"), several(1).together():
        raise unavailable("recvmsg:Connection reset by peer")


def test_errors_of_one_who_is_alone_are_left_as_they_are() -> None:
    alone = Team.gather(Workers(), DEVICES, print)
    with pytest.raises(load_tensorflow().errors.UnavailableError), alone.together():
        raise unavailable(PEER_DOWN)


def test_where_tensorflow_is_at_work_already_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classify.finetuning.team.meet", lambda _: None)
    workers = Workers(("127.0.0.1:1", "127.0.0.1:2"))
    monkeypatch.setenv(
        "TF_CONFIG",
        '{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]},'
        ' "task": {"type": "worker", "index": 0}}',
    )
    tf = load_tensorflow()
    tf.constant(0) + 1
    with pytest.raises(ClusterError, match="at work in this process already"):
        Team.gather(workers, DEVICES, lambda _: None)
