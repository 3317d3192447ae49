"""The Makefile: its help, and what it makes of its variables; nothing is run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs_posix

pytestmark = needs_posix

PYTHON_M = ".venv/bin/python -m headbench"


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


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_prints_every_target_and_variable(checkout: Path) -> None:
    done = make(checkout)
    assert done.returncode == 0
    for word in (
        *("demo", "features", "verify", "heads", "report", "finetune", "predict", "export"),
        *(
            "test",
            "test-long",
            "test-mutants",
            "check",
            "food101",
            "SHA256",
            "bench-cache",
            "bench-extract",
            "bench-heads",
            "bench-report",
            "bench-serve",
            "serve",
            "MIN_CONFIDENCE",
            "PORT",
            "open",
            "compare",
            "preset",
            "origin",
            "bench-finetune",
            "UNFREEZE",
            "AUGMENT",
            "VAL_SHARE",
            "STORE",
            "DRY_RUN",
            "REPAIR",
            "SAMPLE",
            "RERUN",
            "JOBS",
            "BACKEND",
            "SCHEDULER",
        ),
        *("BACKBONE", "POOLING", "DEVICE", "ENGINE", "PRECISION", "BATCH", "EXTRAS"),
        *("DATA", "NAME", "WEIGHTS", "SIZE", "HEADS", "IMAGES", "SEED"),
    ):
        assert f"{word} " in done.stdout


def test_names_with_spaces_and_quotes_stay_whole(checkout: Path) -> None:
    (checkout / "my photos 写真").mkdir()
    done = make(checkout, "-n", "features", "DATA=my photos 写真", "WEIGHTS=w 1.h5", "SIZE=96")
    assert (
        '-m headbench.extract "my photos 写真" --out "runs/my photos 写真/features.h5"'
        in done.stdout
    )
    assert '--weights "w 1.h5" --size "96"' in done.stdout


def test_every_choice_of_network_and_device_reaches_the_command(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    variables = {
        "BACKBONE": ("backbone", "resnet101"),
        "POOLING": ("pooling", "max"),
        "PRECISION": ("precision", "float32"),
        "DEVICE": ("device", "cpu"),
        "ENGINE": ("engine", "tensorflow"),
        "BATCH": ("batch-size", "7"),
    }
    given = [f"{name}={value}" for name, (_, value) in variables.items()]
    features = make(checkout, "-n", "features", "DATA=photos", *given).stdout
    for option, value in variables.values():
        assert f'--{option} "{value}"' in features
    predict = make(checkout, "-n", "predict", "NAME=photos", "IMAGES=a.jpg", *given).stdout
    assert '--device "cpu" --engine "tensorflow" --batch-size "7"' in " ".join(predict.split())


def test_every_choice_of_machines_reaches_the_command(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    features = make(checkout, "-n", "features", "DATA=photos", "JOBS=4").stdout
    assert '--jobs "4"' in features
    assert "--backend" not in features
    given = ["BACKEND=dask", "SCHEDULER=tcp://10.0.0.1:8786"]
    features = make(checkout, "-n", "features", "DATA=photos", *given).stdout
    wanted = '--backend "dask" --scheduler "tcp://10.0.0.1:8786"'
    assert wanted in " ".join(features.replace("\\\n", " ").split())


def test_every_setting_of_heads_reaches_the_command(checkout: Path) -> None:
    given = ["CLASS_WEIGHT=balanced", "CONFIG=my heads.toml", "C_GRID=0.1 1", "MAX_ROUNDS=9"]
    given += ["MAX_EPOCHS=8", "REFIT=1", "AGAIN=1", "CURVE=1", "FOLDS=5", "JOBS=2", "STREAM=always"]
    given += ["BACKEND=dask", "SCHEDULER=tcp://10.0.0.1:8786"]
    heads = make(checkout, "-n", "heads", "NAME=photos", *given).stdout
    for option in (
        *('--class-weight "balanced"', '--config "my heads.toml"', "--c-grid 0.1 1"),
        *('--max-rounds "9"', '--max-epochs "8"', "--refit", "--again", "--curve"),
        *('--folds "5"', '--jobs "2"', '--stream "always"'),
        *('--backend "dask"', '--scheduler "tcp://10.0.0.1:8786"'),
    ):
        assert option in heads


def test_every_choice_of_the_report_reaches_the_command(checkout: Path) -> None:
    report = make(checkout, "-n", "report", "NAME=photos", "HEAD=ridge", "DATA=my photos").stdout
    assert 'report "runs/photos" --head "ridge" --data "my photos"' in report
    assert 'classify open "runs/photos"' in make(checkout, "-n", "open", "NAME=photos").stdout
    compare = make(checkout, "-n", "compare", "A=runs/a b", "B=runs/c").stdout
    assert 'classify compare "runs/a b" "runs/c"' in compare


def test_every_choice_of_fine_tuning_reaches_the_command(checkout: Path) -> None:
    given = ["UNFREEZE=block4", "START=mlp", "EPOCHS=3", "LEARNING_RATE=0.001", "AUGMENT=1"]
    given += ["LABEL_SMOOTHING=0.1", "WEIGHT_DECAY=0.01", "TRUNK_CACHE=off", "AGAIN=1", "BATCH=8"]
    done = make(checkout, "-n", "finetune", "NAME=photos", "PRECISION=float32", *given).stdout
    for option in (
        *('--unfreeze "block4"', '--start "mlp"', '--epochs "3"', '--learning-rate "0.001"'),
        *('--label-smoothing "0.1"', '--weight-decay "0.01"', '--precision "float32"'),
        *("--augment", "--no-trunk-cache", "--again", '--batch-size "8"'),
    ):
        assert option in done
    plain = make(checkout, "-n", "finetune", "NAME=photos").stdout
    assert "--augment" not in plain
    assert "--no-trunk-cache" not in plain


def test_a_preset_is_one_command_in_a_run_of_its_own(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    done = make(checkout, "-n", "preset", "PRESET=origin-half", "DATA=photos", "WEIGHTS=w.h5")
    assert 'preset "origin-half" "photos" "runs/photos-origin-half"' in done.stdout
    assert '--weights "w.h5"' in done.stdout
    done = make(checkout, "preset", "PRESET=origin")
    assert done.returncode == 2
    assert "Say PRESET=origin DATA=folder" in done.stderr.splitlines()[0]


def test_every_choice_of_the_origin_reaches_the_command(checkout: Path) -> None:
    (checkout / "my photos").mkdir()
    given = ["DATA=my photos", "WEIGHTS=w 1.h5", "SIZE=96", "SEED=3", "EPOCHS=2", "HEAD=ridge"]
    done = make(checkout, "-n", "origin", *given, "BACKBONE=resnet101", "BATCH=8").stdout
    assert (
        'classify origin "my photos" --out "runs/my photos/origin" --weights "w 1.h5" --size "96" '
        '--seed "3" --epochs "2" --backbone "resnet101" --head "ridge" --batch-size "8"'
    ) in " ".join(done.replace("\\\n", " ").split())
    assert "runs/.last" not in done
    (checkout / "runs").mkdir()
    (checkout / "runs/.last").write_text("food\n")
    done = make(checkout, "origin")
    assert done.returncode == 2
    assert "Say DATA=folder" in done.stderr.splitlines()[0]


def test_every_choice_of_predictions_reaches_the_command(checkout: Path) -> None:
    given = ["IMAGES=-", "FORMAT=jsonl", "MIN_CONFIDENCE=0.6", "TOP=5", "HEAD=ridge"]
    predict = make(checkout, "-n", "predict", "NAME=photos", *given).stdout
    options = '--head "ridge" --top "5" --format "jsonl" --min-confidence "0.6"'
    assert "--images - " in predict
    assert options in " ".join(predict.replace("\\\n", " ").split())
    pattern = make(checkout, "-n", "predict", "NAME=photos", "IMAGES='p/**/*.jpg' a.jpg").stdout
    assert "--images 'p/**/*.jpg' a.jpg " in pattern


def test_every_choice_of_the_server_reaches_the_command(checkout: Path) -> None:
    given = ["NAME=photos", "PORT=9000", "HEAD=vote", "WEIGHTS=w 1.h5", "DATA=my photos"]
    served = make(checkout, "-n", "serve", *given, "ENGINE=tensorflow").stdout
    assert '".[serve]"' in served
    options = '--head "vote" --weights "w 1.h5" --data "my photos" --port "9000"'
    said = " ".join(served.replace("\\\n", " ").split())
    assert f'classify serve "runs/photos" {options} --engine "tensorflow"' in said


def test_every_choice_of_an_export_reaches_the_command(checkout: Path) -> None:
    given = ["HEAD=ridge", "WEIGHTS=w 1.h5", "DATA=my photos", "OUT=my model"]
    export = make(checkout, "-n", "export", "NAME=photos", *given, "FORMATS=keras onnx").stdout
    assert (
        'export "runs/photos" --head "ridge" --weights "w 1.h5" --data "my photos" '
        '--out "my model" --formats keras onnx'
    ) in " ".join(export.replace("\\\n", " ").split())


def test_food101_is_fetched_and_then_a_run_like_any_other(checkout: Path) -> None:
    done = make(checkout, "-n", "food101", "SIZE=96", "HEADS=ridge").stdout
    commands = [line.strip(" \\") for line in done.splitlines() if "/python -m" in line]
    assert commands == [
        f'{PYTHON_M}.extract "runs/downloads/food-101" --out "runs/food-101/features.h5"',
        f'{PYTHON_M}.classify train "runs/food-101/features.h5"',
        f'{PYTHON_M}.classify report "runs/food-101"  --data "runs/downloads/food-101"',
    ]
    assert '--size "96"' in done
    assert "--heads ridge" in done
    given = ["DATA=my disk/food", "URL=http://a/b c?d&e", "SHA256=12ab", "NAME=my run"]
    done = " ".join(make(checkout, "-n", "food101", *given).stdout.replace("\\\n", " ").split())
    assert 'folder="my disk/food"' in done
    assert '"http://a/b c?d&e"; do' in done
    assert 'test "$found" = "12ab"' in done
    assert 'extract "my disk/food" --out "runs/my run/features.h5"' in done
    assert 'report "runs/my run" --data "my disk/food"' in done


def test_food101_has_no_dry_run(checkout: Path) -> None:
    done = make(checkout, "food101", "DRY_RUN=1")
    assert done.returncode == 2
    assert "DRY_RUN=1 is for make features" in done.stderr.splitlines()[0]


def test_one_run_cannot_be_compared(checkout: Path) -> None:
    done = make(checkout, "compare", "A=runs/a")
    assert done.returncode == 2
    assert "Say A=runs/x B=runs/y" in done.stderr.splitlines()[0]


def test_several_extras_are_installed_side_by_side(checkout: Path) -> None:
    done = make(checkout, "-n", "install", "EXTRAS=cpu heic")
    assert '".[cpu]"' in done.stdout
    assert '".[heic]"' in done.stdout


@pytest.mark.parametrize("data", ["photos", "photos/", "./photos", "../checkout/photos/."])
def test_a_run_is_named_after_its_folder(checkout: Path, data: str) -> None:
    (checkout / "photos").mkdir()
    assert "runs/photos/features.h5" in make(checkout, "-n", "features", f"DATA={data}").stdout


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("my photos/the list.csv", "the list"),
        ("s3://bucket/lists/food.v2.parquet", "food.v2"),
        ("list.tsv", "list"),
        ("list.CSV", "list"),
        ("zip://photos::all.zip", "all"),
        ("zip://photos::s3://bucket/all.zip", "all"),
        ("zip://list.csv::all.zip", "all"),
        ("zip::my photos.zip", "my photos"),
        ("tar://photos::more/all.tar.gz", "all"),
        ("simplecache::s3://bucket/photos.v2", "photos.v2"),
        ("photos.csv.d", "photos.csv.d"),
    ],
)
def test_a_run_is_named_after_its_list_or_archive(checkout: Path, data: str, name: str) -> None:
    done = make(checkout, "-n", "features", f"DATA={data}").stdout
    assert f'-m headbench.extract "{data}" --out "runs/{name}/features.h5"' in done


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("pets.tar", "pets"),
        ("my pets/{000..099}.tar", "my pets"),
        ("pets/{train,val}/{0..9}.tar", "pets"),
        ("pets/a.tar::more/b.tar", "pets"),
        ("s3://bucket/pets/{0..9}.tar::s3://bucket/more/{0..9}.tar", "pets"),
        ("simplecache::s3://bucket/pets/{0..9}.tar", "pets"),
        ("{0..9}.tar", "checkout"),
    ],
)
def test_a_run_is_named_after_the_folder_of_its_first_shards(
    checkout: Path, data: str, name: str
) -> None:
    done = make(checkout, "-n", "features", f"DATA={data}").stdout
    assert f'-m headbench.extract "{data}" --out "runs/{name}/features.h5"' in done


def test_a_folder_called_like_a_list_keeps_its_name(checkout: Path) -> None:
    (checkout / "photos.csv").mkdir()
    assert (
        "runs/photos.csv/features.h5" in make(checkout, "-n", "features", "DATA=photos.csv").stdout
    )


def test_unset_variables_leave_the_commands_their_own_defaults(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    done = make(checkout, "-n", "features", "DATA=photos")
    for option in ("--weights", "--size", "--seed", "--overwrite"):
        assert option not in done.stdout


def test_the_last_run_goes_on_without_being_named(checkout: Path) -> None:
    (checkout / "runs").mkdir()
    (checkout / "runs/.last").write_text("food\n")
    assert 'train "runs/food/features.h5"' in make(checkout, "-n", "heads").stdout
    assert 'train "runs/other/features.h5"' in make(checkout, "-n", "heads", "NAME=other").stdout


def test_a_dry_run_is_not_the_last_run(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    done = make(checkout, "-n", "features", "DATA=photos", "DRY_RUN=1", "STORE=float16")
    assert '--store "float16"' in done.stdout
    assert "--dry-run" in done.stdout
    assert "runs/.last" not in done.stdout


def test_verify_repairs_only_when_asked(checkout: Path) -> None:
    assert "--repair" not in make(checkout, "-n", "verify", "NAME=food").stdout
    done = make(checkout, "-n", "verify", "NAME=food", "REPAIR=1")
    assert '-m headbench.cache "runs/food/features.h5" --repair' in done.stdout


def test_verify_embeds_images_again_when_asked(checkout: Path) -> None:
    assert "rerun" not in make(checkout, "-n", "verify", "NAME=food").stdout
    given = ["RERUN=64", "SEED=3", "DATA=my photos", "WEIGHTS=w.h5", "DEVICE=cpu", "NAME=food"]
    words = " ".join(make(checkout, "-n", "verify", *given).stdout.replace("\\\n", " ").split())
    first, second = words.index("-m headbench.cache"), words.index("-m headbench.extract.rerun")
    assert first < second
    assert words[second:].startswith(
        '-m headbench.extract.rerun "runs/food/features.h5" --rerun "64" --seed "3" '
        '--data "my photos" --weights "w.h5" --device "cpu"'
    )


def test_verify_takes_a_sample_when_asked(checkout: Path) -> None:
    assert "--sample" not in make(checkout, "-n", "verify", "NAME=food").stdout
    done = make(checkout, "-n", "verify", "NAME=food", "SAMPLE=20", "SEED=3")
    assert '--sample "20" --seed "3"' in done.stdout


@pytest.mark.parametrize(
    "target",
    ["features", "verify", "heads", "report", "open", "finetune", "predict", "export", "serve"],
)
def test_no_run_and_no_data_is_one_clear_line(checkout: Path, target: str) -> None:
    done = make(checkout, target)
    assert done.returncode == 2
    assert "DATA=folder" in done.stderr.splitlines()[0]
    assert not (checkout / "runs").exists()


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


def test_nothing_is_installed_again_when_nothing_changed(checkout: Path) -> None:
    done = make(checkout, "-n", "install", ".venv/.ready-dev")
    assert "pip" not in done.stdout
    (checkout / "constraints.txt").touch()
    (checkout / ".venv/.ready").touch()
    assert "pip" in make(checkout, "-n", ".venv/.ready-dev").stdout


@pytest.mark.parametrize(
    ("target", "flags"),
    [
        ("features", ["OVERWRITE", "DRY_RUN"]),
        ("verify", ["REPAIR"]),
        ("heads", ["REFIT", "AGAIN", "CURVE"]),
        ("finetune", ["AUGMENT", "AGAIN"]),
    ],
)
def test_a_flag_of_0_is_as_good_as_none(checkout: Path, target: str, flags: list[str]) -> None:
    """REFIT=0 once fitted on val."""
    plain = make(checkout, "-n", target, "DATA=photos").stdout
    zeros = make(checkout, "-n", target, "DATA=photos", *(f"{flag}=0" for flag in flags)).stdout
    assert zeros == plain
    ones = make(checkout, "-n", target, "DATA=photos", *(f"{flag}=1" for flag in flags)).stdout
    for flag in flags:
        option = f"--{flag.lower().replace('_', '-')}"
        assert option in ones
        assert option not in plain
