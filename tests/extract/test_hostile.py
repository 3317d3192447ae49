"""The corpus of hostile files, one by one and as a whole folder."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.cache.writer import installed_version
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import ROOT, needs_posix, write_image
from tests.data.corpus.case import encode
from tests.data.hostile import UNREADABLE, hostile_cases, write_hostile

pytestmark = needs_posix

CASES = hostile_cases()
N_NEIGHBOURS = 12


@contextmanager
def not_root() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that somebody else may enter and write to; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o777)
        yield Path(path)


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("path", CASES)
def test_each_file_gets_its_verdict(path: str) -> None:
    case = CASES[path]
    if case.reason is not None:
        with pytest.raises(UnusableImageError) as refusal:
            decode(case.data, 32)
        assert str(refusal.value).startswith(case.reason)
        return
    pixels = decode(case.data, 32)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    if case.picture is not None:
        expected = decode(encode(case.picture, "PNG"), 32).astype(int)
        assert np.abs(pixels - expected).mean() < case.most_off


def test_a_whole_folder_of_them_is_extracted(folder: Path) -> None:
    photos, out = folder / "photos", folder / "runs/features.h5"
    verdicts = write_hostile(photos)
    seeds = iter(range(1000))
    for kind in {path.split("/")[0] for path in verdicts}:
        for number in range(N_NEIGHBOURS):
            path = f"{kind}/{'aimz'[number % 4]}-neighbour-{number}.png"
            write_image(photos / path, next(seeds))
            verdicts[path] = None
    settings = ExtractSettings(backbone="mean-color", size_px=32, batch_size=8)
    installed_version("headbench")  # imports modules that only root may be able to read
    with not_root():
        table = extract_features(photos, out, settings)
        with FeatureFile(out) as features:
            for split in ("train", "val", "test"):
                embeddings = features.load(split)[0]
                for row, embedding in zip(features.rows(split), embeddings, strict=True):
                    pixels = decode((photos / table.paths[row]).read_bytes(), 32)
                    np.testing.assert_allclose(embedding, pixels.mean(axis=(0, 1)), rtol=1e-6)
            reasons = {each.path: each.reason for each in features.rejected}
    assert set(table.paths) == {path for path, reason in verdicts.items() if reason is None}
    assert reasons.keys() == {path for path, reason in verdicts.items() if reason is not None}
    for path, reason in reasons.items():
        assert reason.startswith(verdicts[path] or ""), path
    assert UNREADABLE in reasons


def test_nothing_is_printed_even_where_warnings_are_errors() -> None:
    code = """
from headbench.extract.images.decode import decode
from headbench.extract.errors import UnusableImageError
from tests.data.hostile import hostile_cases
for path, case in hostile_cases().items():
    try:
        decode(case.data, 32)
        assert case.reason is None, path
    except UnusableImageError as error:
        assert case.reason is not None, (path, error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
