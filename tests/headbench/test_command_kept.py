import json
import shlex
import sys

import pytest

from headbench.classify.finetuning import finetune_stage
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.command_line import main


def command_of(run: Run) -> str:
    record = json.loads((run.trained_folder("centroid") / "record.json").read_text("utf-8"))
    return str(record["command"])


def test_a_head_keeps_the_command_that_trained_it_ready_for_a_shell(run: Run) -> None:
    spaced = run.folder.rename(run.folder.with_name("my run"))
    arguments = ["heads", str(spaced), "--heads", "centroid"]
    main(arguments)
    command = command_of(Run(spaced))
    assert command == f"headbench heads '{spaced}' --heads centroid"
    assert shlex.split(command)[1:] == arguments


def test_without_arguments_the_command_is_that_of_the_process(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["heads", str(run.folder), "--heads", "centroid"]
    monkeypatch.setattr(sys, "argv", ["headbench", *given])
    main()
    assert command_of(run) == shlex.join(["headbench", *given])


def test_fine_tuning_is_given_its_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(finetune_stage, "finetune", lambda *arguments: given.extend(arguments))
    train_heads(run, ["logreg"], seed=0)
    main(["finetune", str(run.folder), "--epochs", "1"])
    assert given[1] == FinetuneSettings(epochs=1)
    assert given[4] == f"headbench finetune {run.folder} --epochs 1"
