"""`make bench-heads` ends in time: its peers are stopped, and that is said."""

import json

from tests.benchmarks.heads import compared, last_of

LINES = [json.dumps({"seconds": float(n), "accuracy": n / 10, "cut": f"after {n}"}) for n in (1, 2)]


def test_of_a_peer_that_was_killed_the_last_whole_line_counts_and_all_of_its_budget() -> None:
    found = last_of([*LINES, '{"seconds": 3.0, "accu'], True, 5.0)
    assert found == {"seconds": 5.0, "accuracy": 0.2, "cut": "after 2"}
    assert last_of(LINES, False, 5.0) == json.loads(LINES[-1])


def test_a_peer_without_a_result_is_compared_by_its_seconds_alone() -> None:
    peer = last_of([], True, 5.0)
    ours = {"seconds": 1.0, "accuracy": 0.9, "log_loss": 0.5}
    [result] = compared("logreg", ours, peer, "plain")
    assert (result.ours, result.peer) == (1.0, 5.0)
    assert result.peer_name == "plain (stopped before its first result)"
