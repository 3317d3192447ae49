"""Free memory, by files as Linux shows them."""

from pathlib import Path

import psutil
import pytest

from headbench.classify.arrays import free_memory

MB = 1 << 20
MACHINE = 1000 * MB


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type("Memory", (), {"available": MACHINE})()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def write_group(folder: Path, limit: object, used_mb: int, inactive_mb: int = 0) -> None:
    """A group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used_mb * MB}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive_mb * MB}\nslab 2\n")


def free(tmp_path: Path, membership: str) -> int:
    path = tmp_path / "membership"
    path.write_text(membership)
    return free_memory(tmp_path / "groups", path) // MB


def test_a_container_leaves_its_limit_less_what_is_used_and_needed(tmp_path: Path) -> None:
    write_group(tmp_path / "groups", 500 * MB, used_mb=300, inactive_mb=40)
    assert free(tmp_path, "0::/\n") == 240
    # As of a container that is told its path outside.
    assert free(tmp_path, "0::/docker/12ab\n") == 240
    assert free(tmp_path, "0::/../12ab\n") == 240
    (tmp_path / "groups/memory.stat").unlink()
    assert free(tmp_path, "0::/\n") == 200
    write_group(tmp_path / "groups", 500 * MB, used_mb=600)
    assert free(tmp_path, "0::/\n") == 0


def test_the_limit_of_version_1_counts_too(tmp_path: Path) -> None:
    folder = tmp_path / "groups/memory/docker/12ab"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{400 * MB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{100 * MB}\n")
    (folder / "memory.stat").write_text(f"inactive_file 0\ntotal_inactive_file {5 * MB}\n")
    membership = "5:cpu,cpuacct:/docker\n4:hugetlb,memory:/docker/12ab\n0::/\n"
    assert free(tmp_path, membership) == 305
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # as without a limit
    assert free(tmp_path, membership) == 1000


def test_of_groups_within_groups_the_tightest_counts(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    write_group(groups / "job", 300 * MB, used_mb=100)
    write_group(groups / "job/step", "max", used_mb=50)
    write_group(groups / "other", 10 * MB, used_mb=0)
    assert free(tmp_path, "0::/job/step\n") == 200
    write_group(groups / "job/step", 60 * MB, used_mb=50)
    assert free(tmp_path, "0::/job/step\n") == 10


def test_without_a_limit_or_without_its_files_the_machine_counts(tmp_path: Path) -> None:
    assert free_memory(tmp_path / "none", tmp_path / "none") == MACHINE
    assert free(tmp_path, "0::/\n4:memory:/x\n") == 1000
    write_group(tmp_path / "groups", "max", used_mb=300)
    assert free(tmp_path, "0::/\n") == 1000
    write_group(tmp_path / "groups", 2 * MACHINE, used_mb=300)
    assert free(tmp_path, "0::/\n") == 1000
    (tmp_path / "groups/memory.current").write_text("?\n")
    assert free(tmp_path, "0::/\n") == 1000
