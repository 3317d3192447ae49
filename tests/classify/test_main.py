import json
import shlex
import sys

import pytest

from headbench.classify.__main__ import main
from headbench.classify.commands import finetune as module
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.run import Run


def command_of(run: Run) -> str:
    record = json.loads((run.trained_folder("centroid") / "record.json").read_text("utf-8"))
    return str(record["command"])


def test_a_head_keeps_the_command_that_trained_it_ready_for_a_shell(run: Run) -> None:
    spaced = run.folder.rename(run.folder.with_name("my run"))
    arguments = ["train", str(spaced), "--heads", "centroid"]
    main(arguments)
    command = command_of(Run(spaced))
    assert command == f"python -m headbench.classify train '{spaced}' --heads centroid"
    assert shlex.split(command)[3:] == arguments


def test_without_arguments_the_command_is_that_of_the_process(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["train", str(run.folder), "--heads", "centroid"]
    monkeypatch.setattr(sys, "argv", ["headbench", *given])
    main()
    assert command_of(run) == shlex.join(["python", "-m", "headbench.classify", *given])


def test_fine_tuning_is_given_its_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(module, "finetune", lambda *arguments: given.extend(arguments))
    main(["finetune", str(run.folder), "--epochs", "1"])
    assert given[1] == FinetuneSettings(epochs=1)
    assert given[4] == f"python -m headbench.classify finetune {run.folder} --epochs 1"
