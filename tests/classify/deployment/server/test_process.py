"""The server as a process of its own, and what keeps it from starting."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headbench.cache import cli
from headbench.classify import __main__ as classify
from headbench.classify.commands import serve
from headbench.classify.deployment.classifier import Classifier, open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.deployment.server import process
from headbench.classify.deployment.server.app import EVERYWHERE
from headbench.classify.deployment.server.process import welcome
from headbench.classify.run import Run
from tests.classify.deployment.server.client import HOST, Client
from tests.conftest import ROOT


@contextmanager
def started(run: Run, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, once it listens, and what it said until then."""
    command = [
        sys.executable,
        "-m",
        "headbench.classify",
        "serve",
        str(run.folder),
        "--port",
        "0",
        *more,
    ]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    said = ""
    try:
        while not said.rstrip().endswith("/predict"):
            line = process.stdout.readline()
            assert line, process.communicate()
            said += line
        yield process, said
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_predict_predicts_until_it_is_told_to_end(
    network_run: Run, network_photos: Path, how: signal.Signals
) -> None:
    head = "finetuned" if how == signal.SIGINT else "logreg"
    path = network_photos / "red/000.png"
    classifier = open_classifier(network_run, head, None)
    [expected] = predict_files(classifier, [path], 3)
    with started(network_run, "--head", head) as (process, said):
        port = re.search(rf"http://{HOST}:(\d+)", said)
        assert port
        assert f"head {head}, weights RANDOM" in said
        reply = Client(int(port[1])).predict(path.read_bytes())
        assert [each["class"] for each in reply.json["predictions"]] == [n for n, _ in expected.top]
        for each, (_, proba) in zip(reply.json["predictions"], expected.top, strict=True):
            assert each["probability"] == pytest.approx(proba, abs=1e-5)
        assert reply.json["model"]["has_random_weights"]
        assert bool(reply.json["similar"]) == (head == "logreg")
        assert b"RANDOM WEIGHTS" in Client(int(port[1])).ask("GET", "/").body
        os.kill(process.pid, how)
        rest, errors = process.communicate()
    assert (process.returncode, rest) == (0, "stopped\n")
    assert "Traceback" not in errors


def call(run: Run, *more: object) -> int:
    return cli.run(classify.main, ["serve", str(run.folder), *map(str, more)])


def test_a_port_in_use_ends_with_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert call(run, "--port", port) == 2
    error = capsys.readouterr().err
    assert f"error: {HOST}, port {port}: cannot be listened on (Address already in use" in error
    assert "Choose another, --port" in error


def test_an_address_that_is_not_ours_ends_with_2(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run, "--host", "192.0.2.1", "--port", 0) == 2
    assert "cannot be listened on" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--port", 65536), ("--max-mb", 0), ("--max-batch", "many")])
def test_a_setting_out_of_range_ends_with_2(run: Run, options: tuple[object, ...]) -> None:
    with pytest.raises(SystemExit) as end:
        call(run, *options)
    assert end.value.code == 2


def test_a_missing_package_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "fastapi" else "there")
    assert call(run) == 2
    assert "'make install EXTRAS=serve'" in capsys.readouterr().err


def test_an_address_that_others_reach_is_warned_of() -> None:
    assert "no authentication" in welcome(EVERYWHERE[0], 80)[-1]
    assert "no authentication" not in "".join(welcome(HOST, 80))
    assert welcome("::1", 80)[0].startswith("http://[::1]:80")


class _ChosenError(Exception):
    """Carries what was to be served."""


def test_where_val_and_test_prefer_different_heads_serve_takes_vals(
    torn_run: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Run, classifier: Classifier, *__: object) -> None:
        raise _ChosenError(classifier.name)

    run, best = torn_run
    monkeypatch.setattr(process, "open_engine", stop)
    with pytest.raises(_ChosenError, match=best):
        cli.run(classify.main, ["serve", str(run.folder), "--port", "0"])
