"""The server as a process of its own, and what keeps it from starting."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from headbench.classify.deployment.classifier import Classifier, open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.deployment.server import EVERYWHERE, ServerSettings, process
from headbench.classify.deployment.server.process import welcome
from headbench.classify.run import Run
from headbench.commands import serve
from tests.classify.deployment.server.client import HOST, Client
from tests.conftest import ROOT, needs_posix
from tests.headbench.command import call


@contextmanager
def started(run: Run, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, once it listens, and what it said until then."""
    module = [sys.executable, "-m", "headbench"]
    command = [*module, "serve", str(run.folder), "--port", "0", *more]
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


@needs_posix
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_what_predict_predicts_until_it_is_told_to_end(
    request: pytest.FixtureRequest, how: signal.Signals
) -> None:
    # One with a network, in a process of its own, is enough.
    head, run_name = {
        signal.SIGTERM: ("finetuned", "network_run"),
        signal.SIGINT: ("logreg", "served_run"),
    }[how]
    run: Run = request.getfixturevalue(run_name)
    is_network = head == "finetuned"
    path = run.folder.parents[1] / "photos/red/000.png"
    classifier = open_classifier(run, head, None)
    [expected] = predict_files(classifier, [path], 3)
    with started(run, "--head", head) as (process, said):
        port = re.search(rf"http://{HOST}:(\d+)", said)
        assert port
        assert f"head {head}, weights " in said
        reply = Client(int(port[1])).predict(path.read_bytes())
        assert [each["class"] for each in reply.json["predictions"]] == [n for n, _ in expected.top]
        for each, (_, proba) in zip(reply.json["predictions"], expected.top, strict=True):
            assert each["probability"] == pytest.approx(proba, abs=1e-5)
        assert bool(reply.json["similar"]) != is_network
        os.kill(process.pid, how)
        rest, errors = process.communicate()
    assert (process.returncode, rest) == (0, "stopped\n")
    assert "Traceback" not in errors


LOADING_FOR_EVER = """
import sys, time
from headbench import terminal
from headbench.command_line import main
from headbench.classify.deployment.server import process
process.open_classifier = lambda *_: (print("loading", flush=True), time.sleep(600))
sys.exit(terminal.run(main))
"""


def test_told_to_end_while_it_loads_it_ends_well_and_has_cut_nobody_off(run: Run) -> None:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", LOADING_FOR_EVER, "serve", run.folder, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        process.terminate()
        rest, _ = process.communicate()
    assert (process.returncode, rest) == (0, "stopped\n")


# The signal comes when a module is about to be imported.
TOLD_WHILE_IT_IMPORTS = """
import os, runpy, signal, sys
class Finder:
    def find_spec(name, *_):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder)
runpy.run_module("headbench", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["numpy", "uvicorn"])
def test_told_to_end_while_it_imports_it_ends_well(run: Run, module: str) -> None:
    command = [sys.executable, "-c", TOLD_WHILE_IT_IMPORTS, "serve", run.folder, "--head", module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


def serving(run: Run, *more: object) -> int:
    return call("serve", run.folder, *more)


def test_a_port_in_use_ends_with_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert serving(run, "--port", port) == 2
    error = capsys.readouterr().err
    assert (
        f"error: {HOST}, port {port}: the server cannot listen there (Address already in use"
        in error
    )
    assert "Choose another port with --port" in error


def test_an_address_that_is_not_ours_ends_with_2(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serving(run, "--host", "192.0.2.1", "--port", 0) == 2
    assert "the server cannot listen there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--port", 65536),
        ("--max-mb", 0),
        ("--max-megapixels", 0),
        ("--max-batch", "many"),
        ("--allowed-hosts", "own.example:8000"),
        ("--allowed-hosts", "http://own.example"),
        ("--allowed-hosts", "own*"),
    ],
)
def test_a_setting_out_of_range_ends_with_2(run: Run, options: tuple[object, ...]) -> None:
    assert serving(run, *options) == 2


def test_a_missing_package_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "fastapi" else "there")
    assert serving(run) == 2
    assert 'pip install "headbench[serve]"' in capsys.readouterr().err


def test_an_address_that_others_reach_is_warned_of_and_says_who_is_answered() -> None:
    public = "\n".join(welcome(ServerSettings(host=EVERYWHERE[0], allowed_hosts=("mine",)), 80))
    assert "no authentication" in public
    assert f"{socket.gethostname()}" in public
    assert "mine" in public
    assert "Allow it with --allowed-hosts NAME" in public
    assert len(welcome(ServerSettings(host=HOST), 80)) == 2
    assert welcome(ServerSettings(host="::1"), 80)[0].startswith("http://[::1]:80")


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
        serving(run, "--port", "0")
