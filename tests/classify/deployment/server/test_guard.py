"""Who is answered, and what no request gets."""

import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from headbench.classify.deployment.server import EVERYWHERE
from headbench.classify.run import Run
from tests.classify.deployment.server.client import Client, serving


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("LOCALHOST", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example:8000", 400),
        ("192.168.0.7", 400),
        ("", 400),
    ],
)
def test_only_requests_to_our_own_name_are_answered(client: Client, host: str, status: int) -> None:
    reply = client.ask("GET", "/health", Host=host)
    assert reply.status == status
    if status == 400:
        assert "--allowed-hosts" in reply.json["error"]
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_server_for_all_machines_answers_to_its_own_addresses_and_to_names_it_is_told(
    served_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = SimpleNamespace(address="192.168.0.7"), SimpleNamespace(address="fe80::1%eth0")
    monkeypatch.setattr("psutil.net_if_addrs", lambda: {"eth0": address})
    monkeypatch.setattr("tests.classify.deployment.server.client.HOST", EVERYWHERE[0])
    expected = {
        **dict.fromkeys(
            ("192.168.0.7:8000", "[fe80::1]", socket.gethostname(), "own.example"), 200
        ),
        **dict.fromkeys(("evil.example", "192.168.0.8", "own.example.evil.example"), 400),
    }
    with serving(served_run, allowed_hosts=("own.example",)) as client:
        found = {host: client.ask("GET", "/health", Host=host).status for host in expected}
    assert found == expected


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_other_origins_are_refused_and_no_answer_is_shared(
    client: Client, red: bytes, origin: str
) -> None:
    reply = client.predict(red, Origin=origin)
    assert reply.status == 403
    assert list(reply.json) == ["error"]
    ours = client.predict(red, Origin=client.address.rstrip("/"))
    assert ours.status == 200
    for each in (reply, ours, client.ask("OPTIONS", "/predict", Origin=origin)):
        assert not [name for name in each.headers if name.startswith("access-control")]
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["content-security-policy"].startswith("default-src 'none'")


def test_no_path_of_a_request_is_opened(client: Client, red: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(red)
    opened: list[object] = []
    # There is no taking it away again, so it looks for this one file only.
    sys.addaudithook(
        lambda event, found: (
            opened.append(found) if event == "open" and name in str(found) else None
        )
    )
    name, up = str(secret), f"/..{'/..' * 9}{secret}"
    encoded = up.replace("/", "%2f").replace(".", "%2e")
    replies = [
        *(client.ask("GET", path) for path in (name, up, f"/similar/{up}", f"/similar/{encoded}")),
        client.ask("GET", f"/similar/{encoded}?number={name}"),
        client.predict(red, f"?top={encoded}"),
        client.predict(red, f"?{encoded}=1"),
        client.predict(name.encode()),
        client.predict(f"file://{name}".encode(), Content_Type=f"image/{name}"),
        client.predict(red, Content_Type=name),
        client.predict(red, Host=name),
        client.predict(red, Origin=f"file://{name}"),
    ]
    assert {reply.status // 100 for reply in replies} == {4}
    named = client.send_form({name: red}, field=up)
    headed = client.predict(red, Content_Disposition=f'attachment; filename="{name}"')
    assert (named.status, headed.status) == (200, 200)
    secret.read_bytes()
    assert len(opened) == 1  # by the line above: the hook does see it
