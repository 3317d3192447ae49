"""Whatever happens to a folder: the file equals a fresh one, and only new contents cost a pass."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from PIL import Image

from headbench.cache.reader import FeatureFile
from headbench.extract import hashes, stage
from headbench.extract.networks import backbone as backbones
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import COLORS, content_of

CLASSES = st.sampled_from(sorted(COLORS))
PICK = st.integers(0, 10_000)
# Times that many files share: what a tool that unpacks an archive leaves.
TIMES = st.sampled_from([0, 1_000_000_000])

# Short, so that hashes of files that are a few steps old are trusted, as they are in real life.
TICK_NS = 10_000_000


def write_photo(path: Path, seed: int) -> None:
    """A picture like any other, of the same size in bytes as any other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=0)


class ChangingFolder(RuleBasedStateMachine):
    """A folder of photographs, changed at random, and its feature file."""

    @initialize()
    def make_folder(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.photos, self.out = self.folder / "photos", self.folder / "run/features.h5"
        self.seed, self.n_written = 0, 0
        for name in COLORS:
            for _ in range(12):
                self.add(name)
        self.known: set[bytes] = set()
        self.extract()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def files(self) -> list[Path]:
        return sorted(self.photos.glob("*/*.png"))

    def pick(self, number: int) -> Path:
        files = self.files()
        return files[number % len(files)]

    def fresh_path(self, name: str) -> Path:
        self.n_written += 1
        return self.photos / name / f"{self.n_written:04}.png"

    @rule(name=CLASSES)
    def add(self, name: str) -> None:
        path = self.fresh_path(name)
        write_photo(path, self.n_written)
        os.utime(path, (0, 0))

    @rule(number=PICK, when=TIMES)
    def change(self, number: int, when: int) -> None:
        path = self.pick(number)
        self.n_written += 1
        write_photo(path, self.n_written)
        os.utime(path, (when, when))

    @rule(number=PICK)
    def spoil(self, number: int) -> None:
        self.pick(number).write_bytes(b"spoilt %d" % number)

    @rule(number=PICK)
    def remove(self, number: int) -> None:
        path = self.pick(number)
        if len(list(path.parent.iterdir())) > 10:
            path.unlink()

    @rule(number=PICK, name=CLASSES)
    def rename_or_relabel(self, number: int, name: str) -> None:
        path = self.pick(number)
        if len(list(path.parent.iterdir())) > 10:
            path.rename(self.fresh_path(name))

    @rule(first=PICK, second=PICK, when=TIMES)
    def swap(self, first: int, second: int, when: int) -> None:
        one, other = self.pick(first), self.pick(second)
        spare = self.folder / "spare"
        one.rename(spare)
        if other.exists():
            other.rename(one)
        spare.rename(other)
        for path in {one, other}:
            os.utime(path, (when, when))

    @rule(number=PICK, name=CLASSES)
    def duplicate(self, number: int, name: str) -> None:
        shutil.copy2(self.pick(number), self.fresh_path(name))

    @rule(seed=st.integers(0, 3))
    def resplit(self, seed: int) -> None:
        self.seed = seed

    @rule(after=st.integers(0, 3))
    def killed(self, after: int) -> None:
        """Stopped in the middle: what had been finished by then counts as known."""
        parts = 0
        add = stage.Parts.add

        def stopping(parts_: stage.Parts, contents: list[bytes], embeddings: object) -> object:
            nonlocal parts
            if parts == after:
                raise KeyboardInterrupt
            parts += 1
            self.known |= set(contents)
            return add(parts_, contents, embeddings)

        with (
            mock.patch.object(stage, "PART_IMAGES", 2),
            mock.patch.object(stage.Parts, "add", stopping),
        ):
            try:
                extract_features(self.photos, self.out, self.settings())
            except KeyboardInterrupt:
                return
        self.known = content_hashes(self.out)

    @rule()
    def extract(self) -> None:
        """Bring the file up to date and compare it with one made from nothing."""
        n_embedded = self.run(self.out)
        fresh = self.folder / "fresh/features.h5"
        self.run(fresh)
        assert content_of(self.out) == content_of(fresh)
        now = content_hashes(self.out)
        assert n_embedded == len(now - self.known)
        self.known = now
        shutil.rmtree(fresh.parent)

    def settings(self) -> ExtractSettings:
        return ExtractSettings(backbone="mean-color", size_px=16, batch_size=4, seed=self.seed)

    def run(self, out: Path) -> int:
        """Extract; gives the number of images that went through the backbone."""
        n_embedded = 0
        embed = backbones.embed_mean_color

        def counting(batches: Iterator) -> Iterator:
            nonlocal n_embedded
            for embedded in embed(batches):
                n_embedded += len(embedded.rows)
                yield embedded

        with (
            mock.patch.object(backbones, "embed_mean_color", counting),
            mock.patch.object(hashes, "TICK_NS", TICK_NS),
        ):
            extract_features(self.photos, out, self.settings())
        return n_embedded


def content_hashes(path: Path) -> set[bytes]:
    with FeatureFile(path) as features:
        return set(features.table.contents())


def settings_of(n_examples: int) -> settings:
    return settings(
        max_examples=n_examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


class TestChangingFolder(ChangingFolder.TestCase):  # type: ignore[misc]
    settings = settings_of(10)


@pytest.mark.long
class TestChangingFolderForLong(ChangingFolder.TestCase):  # type: ignore[misc]
    settings = settings_of(100)
