"""Every planted fault is named, and nothing severe is said of what is sound."""

from pathlib import Path

import pytest

from headbench.classify.doctor.finding import Severity
from tests.classify.doctor.zoo import PROJECTS
from tests.classify.doctor.zoo.project import Project

# Keras says so of one of them itself.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
BROKEN = [each for each in PROJECTS if each.code]
SOUND = [each for each in PROJECTS if not each.code]


def test_there_are_enough_of_both() -> None:
    assert len(BROKEN) >= 20
    assert len(SOUND) >= 10


@pytest.mark.real
@pytest.mark.parametrize("project", BROKEN, ids=lambda each: each.name)
def test_a_planted_fault_is_named_and_no_other(
    project: Project, shared: Path, tmp_path: Path
) -> None:
    findings = project.make(tmp_path, shared).examine().findings
    named = {each.code for each in findings if each.severity > Severity.NOTE}
    severe = {each.code for each in findings if each.severity is Severity.SEVERE}
    assert {project.code, *project.too} <= named
    assert severe <= {project.code, *project.too, *project.also}


@pytest.mark.real
@pytest.mark.parametrize("project", SOUND, ids=lambda each: each.name)
def test_nothing_severe_is_said_of_a_sound_project(
    project: Project, shared: Path, tmp_path: Path
) -> None:
    findings = project.make(tmp_path, shared).examine().findings
    assert [each for each in findings if each.severity is Severity.SEVERE] == []
