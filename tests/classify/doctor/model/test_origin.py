"""The model that headbench came from: what is wrong with it is said, and no more than is known."""

import re
from pathlib import Path

import pytest

from headbench.classify.doctor.finding import Finding
from tests.classify.doctor.zoo.models import ORIGIN, origin

PERCENT = r"(\d+\.\d) % \[\d+\.\d, \d+\.\d\]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("origin")


def named(folder: Path, shared: Path, *, said: bool) -> dict[str, Finding]:
    findings = origin(folder, shared, said=said).examine().findings
    return {each.code: each for each in findings}


@pytest.mark.real
@pytest.mark.long
def test_with_the_scaling_said_all_of_it_is_named_and_proved(folder: Path, shared: Path) -> None:
    found = named(folder, shared, said=True)
    assert found.keys() >= ORIGIN
    assert "RGB, / 255 when" in found["wrong-scaling"].what
    assert "which expects BGR" in found["wrong-scaling"].what
    pattern = rf"{PERCENT} with batch statistics.*{PERCENT} with the moving"
    [(by_batch, inference)] = re.findall(pattern, "\n".join(found["batch-statistics"].evidence))
    assert float(by_batch) > 30
    assert float(inference) < 15


@pytest.mark.real
@pytest.mark.long
def test_without_it_only_what_can_be_known_is_said(folder: Path, shared: Path) -> None:
    found = named(folder, shared, said=False)
    assert found.keys() >= ORIGIN
    scaling = found["wrong-scaling"]
    assert scaling.what.startswith("ResNet expects pixels as BGR, the mean of ImageNet subtracted")
    assert "/255" in scaling.what
    assert "equally accurate" in scaling.what
    assert not re.search("so it was trained on|Pixels are RGB", "".join(scaling.evidence))
    modes = found["batch-statistics"]
    assert "is unknown" in modes.evidence[0]
    # A row for each scaling that it may be.
    assert modes.grid is not None
    assert len(modes.grid.rows) > 1
    for _, *both, _ in modes.grid.rows:
        by_batch, inference = (float(each.split()[0]) for each in both)
        assert by_batch > inference + 10
    assert "200 of 200 with /255" in modes.evidence[-1]
