"""What a request may send: forms, sizes, encodings."""

import socket
from contextlib import suppress
from select import select

import pytest

from tests.classify.deployment.server.client import (
    BOUNDARY,
    HOST,
    MB,
    Client,
    form,
    raw_request,
    reply_of,
)


def test_names_in_a_form_are_utf_8(client: Client, red: bytes) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}; charset=UTF-8"
    reply = client.predict(form({"caf\u00e9": red}), Content_Type=kind)
    assert reply.json["files"][0]["name"] == "caf\u00e9"


@pytest.mark.parametrize(
    ("charset", "name"),
    [("idna", "xn--a"), ("hex", "zz"), ("unicode_escape", r"\ud800"), ("utf-7", "+2AA-")],
)
def test_a_form_in_another_encoding_is_refused(
    client: Client, red: bytes, charset: str, name: str
) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"
    reply = client.predict(form({name: red}), Content_Type=kind)
    assert (reply.status, reply.json) == (400, {"error": "expected a form in utf-8"})


def test_a_form_of_too_many_files_is_refused(client: Client, red: bytes) -> None:
    reply = client.send_form({f"{number}.png": red for number in range(17)})
    assert reply.status == 400
    assert "Too many files" in reply.json["error"]


def test_a_body_that_says_that_it_is_too_large_is_not_read(client: Client) -> None:
    reply = client.predict(iter([b"x"]), Content_Length=str(MB + 1))
    assert (reply.status, reply.json) == (413, {"error": f"the body is larger than {MB} bytes"})


def test_headers_without_end_are_not_read_on(client: Client) -> None:
    n_sent = 0
    with suppress(ConnectionError), socket.create_connection((HOST, client.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        while n_sent < 50 * MB and not select([connection], [], [], 0)[0]:
            connection.sendall(b"x" * 0x10000)
            n_sent += 0x10000
    assert n_sent < 20 * MB


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b"])
def test_a_body_that_does_not_say_so_is_stopped_while_it_is_read(client: Client, kind: str) -> None:
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    start = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    n_sent = 0
    with raw_request(client, f"Content-Type: {kind}\r\nTransfer-Encoding: chunked") as connection:
        connection.sendall(f"{len(start):x}\r\n".encode() + start + b"\r\n")
        with suppress(ConnectionError):
            while n_sent < 50 * MB and not select([connection], [], [], 0)[0]:
                connection.sendall(chunk)
                n_sent += len(chunk)
        status, answer = reply_of(connection)
    assert status == 413
    assert answer == {"error": f"the body is larger than {MB} bytes"}
    # What the sockets hold comes on top of the limit.
    assert n_sent < 20 * MB
