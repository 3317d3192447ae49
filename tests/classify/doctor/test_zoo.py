"""Every planted fault is named, and nothing severe is said of what is sound."""

from pathlib import Path
from typing import Any

import pytest

from headbench.classify.doctor.finding import Severity
from tests.classify.doctor.zoo import PROJECTS
from tests.classify.doctor.zoo.project import Project

# Keras says so of one of them itself.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
BROKEN = [each for each in PROJECTS if each.code]
SOUND = [each for each in PROJECTS if not each.code]
# One of each kind for every day; every finding has a quick test of its own beside the zoo.
QUICK = (
    "eight photographs under two labels",
    "test photographs in train",
    "fit takes the last files for validation",
    "half of a class cut off",
    "run: sound, mean colours",
    "train, val and test",
)


def cases(projects: list[Project]) -> list[Any]:
    """The projects by name; those that take long are marked."""
    return [
        pytest.param(each, id=each.name, marks=[] if each.name in QUICK else [pytest.mark.long])
        for each in projects
    ]


def test_there_are_enough_of_both() -> None:
    assert len(BROKEN) >= 20
    assert len(SOUND) >= 10
    assert {*QUICK} < {each.name for each in PROJECTS}


@pytest.mark.real
@pytest.mark.parametrize("project", cases(BROKEN))
def test_a_planted_fault_is_named_and_no_other(
    project: Project, shared: Path, tmp_path: Path
) -> None:
    findings = project.make(tmp_path, shared).examine().findings
    named = {each.code for each in findings if each.severity > Severity.NOTE}
    severe = {each.code for each in findings if each.severity is Severity.SEVERE}
    assert {project.code, *project.too} <= named
    assert severe <= {project.code, *project.too, *project.also}


@pytest.mark.real
@pytest.mark.parametrize("project", cases(SOUND))
def test_nothing_severe_is_said_of_a_sound_project(
    project: Project, shared: Path, tmp_path: Path
) -> None:
    findings = project.make(tmp_path, shared).examine().findings
    assert [each for each in findings if each.severity is Severity.SEVERE] == []
