import json

import numpy as np
import pytest

from classify.finetuning.workers import EXAMPLE, Workers, find_workers
from extract.errors import ClusterError


def config(addresses: object, index: object = 0, kind: str = "worker") -> str:
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": kind, "index": index}})


def test_the_example_that_errors_show_is_right() -> None:
    workers = find_workers({"TF_CONFIG": EXAMPLE})
    assert workers == Workers(("host1:12345", "host2:12345"), 0)
    assert workers.is_chief
    assert not workers.is_alone
    assert workers.host_and_port(1) == ("host2", 12345)


def test_another_index_is_another_worker() -> None:
    workers = find_workers({"TF_CONFIG": config(["a:1", "b:2", "c:3"], 2)})
    assert str(workers) == "worker 2 (c:3)"
    assert not workers.is_chief


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {}}', config(["a:1"])])
def test_without_others_this_process_is_alone(text: str) -> None:
    assert find_workers({"TF_CONFIG": text}).is_alone
    assert find_workers({}).is_alone


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON"),
        ("[1]", "no object"),
        ('{"cluster": ["a:1"]}', "workers and nothing else"),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}', "workers and nothing else"),
        (config([]), "a host and a port"),
        (config("a:1"), "a host and a port"),
        (config(["a:1", "b"]), "a host and a port"),
        (config(["a:1", ":2"]), "a host and a port"),
        (config(["a:1", "b:70000"]), "a host and a port"),
        (config(["a:1", 3]), "a host and a port"),
        (config(["a:1", "a:1"]), "two workers have one address"),
        (config(["a:1", "b:1"], 2), "an index from 0 to 1"),
        (config(["a:1", "b:1"], -1), "an index from 0 to 1"),
        (config(["a:1", "b:1"], "0"), "an index from 0 to 1"),
        (config(["a:1", "b:1"], 0, "ps"), "the task is no worker"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "the task is no worker"),
    ],
)
def test_what_is_wrong_is_said_and_what_is_expected_shown(text: str, reason: str) -> None:
    with pytest.raises(ClusterError, match=reason) as error:
        find_workers({"TF_CONFIG": text})
    assert EXAMPLE in str(error.value)
    assert text in str(error.value)


def test_each_image_has_one_owner_and_each_worker_its_share() -> None:
    contents = [np.random.default_rng(row).bytes(32) for row in range(300)]
    owners = [
        [Workers(("a:1", "b:1", "c:1"), index).owns(content) for index in range(3)]
        for content in contents
    ]
    assert (np.sum(owners, axis=1) == 1).all()
    assert (np.sum(owners, axis=0) > 70).all()
    assert all(map(Workers().owns, contents))
