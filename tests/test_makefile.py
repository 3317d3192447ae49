"""The Makefile: its help, and what it makes of its variables; nothing is run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headbench.command_line import VERBS
from tests.conftest import ROOT, needs_posix

pytestmark = needs_posix

PYTHON_M = ".venv/bin/python -m headbench "


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile in a folder whose environment counts as installed."""
    folder = tmp_path / "checkout"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv/.ready").touch()
    (folder / ".venv/.ready-dev").touch()
    return folder


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands of ours that make would run, each on a line."""
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()[3:]) for line in lines if line.startswith(PYTHON_M)]


def test_make_alone_prints_every_target_and_variable(checkout: Path) -> None:
    done = make(checkout)
    assert done.returncode == 0
    text = (checkout / "Makefile").read_text("utf-8")
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    [known] = re.findall(r"^KNOWN += (.*)$", text, re.MULTILINE)
    for target in set(phony.split()) - {"types", "links"}:
        assert f"  make {target} " in done.stdout
    for variable in known.split():
        assert re.search(rf"^  (\w+, )?{variable}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("mistyped", "said"),
    [("SIEZ=96", "SIEZ: did you mean SIZE?"), ("FOLDS=5", 'ARGS="--folds 5"'), ("data=x", "data")],
)
def test_a_variable_that_nobody_knows_is_an_error(checkout: Path, mistyped: str, said: str) -> None:
    done = make(checkout, "-n", "features", "DATA=photos", mistyped)
    assert done.returncode == 2
    assert f"unknown variable {mistyped.split('=')[0]}" in done.stderr
    assert said in done.stderr


def test_variables_of_the_environment_are_nobodys_mistake(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIEZ", "96")
    assert make(checkout, "-n", "features", "DATA=photos").returncode == 0
    assert make(checkout, "-j2", "-n", "features", "DATA=photos").returncode == 0


@pytest.mark.parametrize(
    ("target", "given", "expected"),
    [
        (
            "features",
            ["DATA=my photos 写真", "WEIGHTS=w 1.h5", "SIZE=96", "SEED=3", "BACKBONE=resnet101"],
            'features "my photos 写真" --weights "w 1.h5" --size "96" --seed "3" '
            '--backbone "resnet101"',
        ),
        ("features", ["DATA=p", "NAME=x", "ARGS=--jobs 4"], 'features "p" --name "x" --jobs 4'),
        ("features", [], "features"),
        ("verify", ["NAME=x", "SEED=3", "ARGS=--rerun 64"], 'verify "x" --seed "3" --rerun 64'),
        ("heads", ["HEADS=logreg mlp", "SEED=1"], 'heads --heads logreg mlp --seed "1"'),
        ("heads", ["DATA=photos", "ARGS=--folds 5"], 'heads "photos" --folds 5'),
        ("report", ["DATA=p", "HEAD=ridge"], 'report "p" --head "ridge" --data "p"'),
        ("open", ["NAME=x"], 'open "x"'),
        ("compare", ["ARGS=a b"], "compare a b"),
        (
            "backbones",
            ["DATA=p", "SIZE=96", "ARGS=--try a,b"],
            'backbones "p" --size "96" --try a,b',
        ),
        (
            "finetune",
            ["NAME=x", "ARGS=--unfreeze block4 --no-augment"],
            'finetune "x" --unfreeze block4 --no-augment',
        ),
        ("preset", ["DATA=p", "ARGS=origin-half"], 'preset origin-half "p"'),
        (
            "origin",
            ["DATA=p", "SIZE=96", "HEAD=ridge", "ARGS=--epochs 2"],
            'origin "p" --size "96" --head "ridge" --epochs 2',
        ),
        (
            "predict",
            ["NAME=x", "IMAGES='p/**/*.jpg' a.jpg", "ARGS=--min-confidence 0.6"],
            "predict \"x\" --images 'p/**/*.jpg' a.jpg --min-confidence 0.6",
        ),
        ("predict", ["ARGS=--help"], "predict --help"),
        ("similar", ["DATA=p", "IMAGES=a.jpg b/"], 'similar "p" --images a.jpg b/'),
        ("similar", ["NAME=x", "ARGS=--pairs 0.95"], 'similar "x" --pairs 0.95'),
        (
            "suggest",
            ["NAME=x", "HEAD=ridge", "ARGS=--from new --n 9"],
            'suggest "x" --head "ridge" --from new --n 9',
        ),
        (
            "export",
            ["HEAD=ridge", "ARGS=--out 'my model'"],
            "export --head \"ridge\" --out 'my model'",
        ),
        ("serve", ["NAME=x", "ARGS=--port 9000"], 'serve "x" --port 9000'),
        ("doctor", ["DATA=p", "NAME=x", "ARGS=m.keras"], 'doctor "p" "x" m.keras'),
        ("demo", [], "demo"),
        (
            "food101",
            ["SIZE=96", "HEADS=ridge"],
            [
                'features "runs/downloads/food-101" --size "96"',
                "heads food-101 --heads ridge",
                'report food-101 --data "runs/downloads/food-101"',
            ],
        ),
        (
            "food101",
            ["DATA=my disk/food", "NAME=my run"],
            [
                'features "my disk/food" --name "my run"',
                'heads "my run"',
                'report "my run" --data "my disk/food"',
            ],
        ),
    ],
)
def test_variables_become_options_and_empty_ones_leave_the_defaults(
    checkout: Path, target: str, given: list[str], expected: str | list[str]
) -> None:
    done = make(checkout, "-n", target, *given)
    assert done.returncode == 0, done.stderr
    assert commands(done) == ([expected] if isinstance(expected, str) else expected)


def test_every_command_has_a_target(checkout: Path) -> None:
    for verb in VERBS:
        assert [line.split()[0] for line in commands(make(checkout, "-n", verb))] == [verb]


def test_a_served_run_brings_its_packages(checkout: Path) -> None:
    assert '".[serve]"' in make(checkout, "-n", "serve").stdout


def test_food101_is_fetched_from_where_the_user_says(checkout: Path) -> None:
    given = ["DATA=my disk/food", "URL=http://a/b c?d&e", "SHA256=12ab"]
    done = " ".join(make(checkout, "-n", "food101", *given).stdout.replace("\\\n", " ").split())
    assert 'folder="my disk/food"' in done
    assert '"http://a/b c?d&e"; do' in done
    assert 'test "$found" = "12ab"' in done


def test_several_extras_are_installed_side_by_side(checkout: Path) -> None:
    done = make(checkout, "-n", "install", "EXTRAS=hub heic")
    assert '".[hub]"' in done.stdout
    assert '".[heic]"' in done.stdout


def test_an_old_python_is_named_before_anything_is_made(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    old = checkout / "old-python"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.1;; *) exit 1;; esac\n')
    old.chmod(0o755)
    done = make(checkout, "demo", "PYTHON=./old-python")
    assert done.returncode == 2
    assert "expected Python 3.11 to 3.13, found Python 3.9.1" in done.stderr
    assert not (checkout / ".venv").exists()


def test_each_test_belongs_to_one_of_two_targets(checkout: Path) -> None:
    quick, long = (make(checkout, "-n", each).stdout for each in ("test", "test-long"))
    assert '-m "not long"' in quick
    some = make(checkout, "-n", "test-long", "TESTS=tests/extract tests/cache").stdout
    assert long.strip().endswith("-m long")
    assert some.strip().endswith("-m long tests/extract tests/cache")


PIP = """#!/bin/sh
echo "Collecting numpy"
echo "WARNING: a page of packages is ignored" >&2
/bin/sleep 1
test ! -e no-network || { echo "ERROR: no numpy was found" >&2; exit 1; }
"""


@pytest.mark.parametrize("has_network", [True, False])
def test_an_installation_shows_that_it_goes_on_and_errors_but_no_warnings(
    checkout: Path, has_network: bool
) -> None:
    (checkout / "bin").mkdir()
    (checkout / ".venv/bin").mkdir()
    for name, text in {
        "bin/sleep": "#!/bin/sh\nexec /bin/sleep 0.1\n",
        ".venv/bin/pip": PIP,
        ".venv/bin/python": PIP,
    }.items():
        (checkout / name).write_text(text)
        (checkout / name).chmod(0o755)
    (checkout / ".venv/.ready").unlink()
    if not has_network:
        (checkout / "no-network").touch()
    done = make(checkout, "install", PATH=f"{checkout / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == (0 if has_network else 2)
    first, *ticks = done.stdout.splitlines()
    assert first == "installing into .venv (a few minutes, once)"
    assert re.fullmatch(r"  [01] s: Collecting numpy", ticks[0])
    assert "WARNING" not in done.stderr
    assert ("ERROR: no numpy was found" in done.stderr) is not has_network
    assert (checkout / ".venv/.ready").exists() is has_network


def test_nothing_is_installed_again_when_nothing_changed(checkout: Path) -> None:
    done = make(checkout, "-n", "install", ".venv/.ready-dev")
    assert "pip" not in done.stdout
    (checkout / "constraints.txt").touch()
    (checkout / ".venv/.ready").touch()
    assert "pip" in make(checkout, "-n", ".venv/.ready-dev").stdout
