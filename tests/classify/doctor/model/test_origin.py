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


def both_accuracies(finding: Finding) -> list[tuple[float, float]]:
    """By the batch and in inference, of each scaling that is named."""
    pattern = rf"{PERCENT} with batch statistics.*?{PERCENT} with the moving"
    found = re.findall(pattern, "\n".join(finding.evidence))
    return [(float(by_batch), float(inference)) for by_batch, inference in found]


@pytest.mark.real
@pytest.mark.long
def test_with_the_scaling_said_all_of_it_is_named_and_proved(folder: Path, shared: Path) -> None:
    found = named(folder, shared, said=True)
    assert found.keys() >= ORIGIN
    assert "RGB, / 255 when" in found["wrong-scaling"].what
    assert "which expects BGR" in found["wrong-scaling"].what
    [(by_batch, inference)] = both_accuracies(found["batch-statistics"])
    assert by_batch > 30
    assert inference < 15


@pytest.mark.real
@pytest.mark.long
def test_without_it_only_what_can_be_known_is_said(folder: Path, shared: Path) -> None:
    found = named(folder, shared, said=False)
    assert found.keys() >= ORIGIN
    scaling = found["wrong-scaling"]
    assert scaling.what.startswith("Pixels are not BGR, the mean of ImageNet subtracted")
    assert "/255" in scaling.what
    assert "equally accurate" in scaling.what
    assert not re.search("so it was trained on|Pixels are RGB", "".join(scaling.evidence))
    modes = found["batch-statistics"]
    assert "is unknown" in modes.evidence[0]
    # One pair of accuracies for each scaling that it may be.
    pairs = both_accuracies(modes)
    assert len(pairs) > 1
    assert all(by_batch > inference + 10 for by_batch, inference in pairs)
    assert "200 of 200 with /255" in modes.evidence[-1]
