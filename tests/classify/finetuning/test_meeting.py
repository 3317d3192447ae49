import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from classify.finetuning import meeting
from classify.finetuning.meeting import meet
from classify.finetuning.workers import Workers
from extract.errors import ClusterError


def free_addresses(n: int) -> tuple[str, ...]:
    """Addresses of this machine that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    names = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return names


def test_nobody_goes_on_before_all_are_there() -> None:
    addresses = free_addresses(3)
    with ThreadPoolExecutor() as threads:
        # The chief is not the first.
        first = [threads.submit(meet, Workers(addresses, index), 20) for index in (2, 0)]
        time.sleep(1)
        assert not any(each.done() for each in first)
        last = threads.submit(meet, Workers(addresses, 1), 20)
        for each in [*first, last]:
            each.result()


def test_who_is_missing_is_named() -> None:
    addresses = free_addresses(3)
    with ThreadPoolExecutor() as threads:
        chief = threads.submit(meet, Workers(addresses, 0), 2)
        worker = threads.submit(meet, Workers(addresses, 1), 1)
        with pytest.raises(ClusterError) as of_chief:
            chief.result()
        with pytest.raises(ClusterError, match=r"worker 1 .*: did not find worker 0"):
            worker.result()
    assert f"did not find worker 2 ({addresses[2]})." in str(of_chief.value)


def test_strangers_and_workers_of_another_list_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meeting, "SECONDS_TO_SPEAK", 0.1)
    addresses = free_addresses(2)
    others = Workers((addresses[0], "127.0.0.1:9"), 1)
    with ThreadPoolExecutor() as threads:
        chief = threads.submit(meet, Workers(addresses, 0), 20)
        with pytest.raises(ClusterError):
            meet(others, 1)
        with socket.create_connection(Workers(addresses).host_and_port(0)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with socket.create_connection(Workers(addresses).host_and_port(0)):
                assert not chief.done()
                meet(Workers(addresses, 1), 20)
        chief.result()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"worker 0 \\({address}\\): expected a free port"):
            meet(Workers((address, "127.0.0.1:9")), 1)
