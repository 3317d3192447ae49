"""``make bench-similar``: exact search for similar images against an index of faiss (HNSW)."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import create_hdf5, fixed_text, write_array, write_dataset
from headbench.cache.format import SPLITS, Config, Identity, Table
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import write_about
from headbench.classify.inspection.nearest_images import find_nearest
from headbench.classify.inspection.principal_axes import unit
from tests.benchmarks.results import Result, in_turns, report

SIZES = (10_000, 1_000_000)
# Embeddings of photographs vary in far fewer directions than they have columns.
DIM, N_DIRECTIONS, N_CLUSTERS, NOISE = 128, 24, 2000, 0.1
K, N_QUERIES, N_TURNS = 10, 200, 3
LINKS, BREADTH_BUILT, BREADTH_SEARCHED = 32, 80, 128
SPAN_ROWS = 65_536


def main() -> None:
    """Run all of it; a million rows take ten minutes, nearly all to build the index."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.similar")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS")
    parser.add_argument("--no-index", action="store_true", help="measure the exact search alone")
    given = parser.parse_args()
    results = [each for size in given.sizes for each in measured(size, not given.no_index)]
    if not given.no_index:
        report("similar", results)


def measured(n_rows: int, has_index: bool) -> Iterator[Result]:
    """Processor seconds of the exact search and of the index, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_clusters(Path(folder) / "features.h5", n_rows)
        queries = clusters()(slice(n_rows, n_rows + N_QUERIES))
        if not has_index:
            for n in (1, N_QUERIES):
                taken = processor_seconds(lambda n=n: exact(path, queries[:n]))
                print(f"{n_rows} rows, {n} queries: {taken:.3f} processor seconds", flush=True)
            return
        index_path = Path(folder) / "index.faiss"
        built = processor_seconds(lambda: build(path, index_path))
        found = indexed(index_path, queries)
        expected = exact(path, queries)
        recall = np.mean([len({*a} & {*b}) / K for a, b in zip(found, expected, strict=True)])
        n_mb = index_path.stat().st_size / 1e6
        peer = f"HNSW: recall {recall:.3f}, {n_mb:.0f} MB, built in {built:.0f} processor seconds"
        for n in (1, N_QUERIES):
            ours, theirs = in_turns(
                lambda n=n: processor_seconds(lambda: exact(path, queries[:n])),
                lambda n=n: processor_seconds(lambda: indexed(index_path, queries[:n])),
                N_TURNS,
            )
            name = f"{n_rows} rows, {n} queries, file opened"
            yield Result(name, "cpu s", ours, theirs, peer)
        yield in_memory(path, index_path, queries, n_rows, peer)


def in_memory(
    path: Path, index_path: Path, queries: NDArray[np.float32], n_rows: int, peer: str
) -> Result:
    """One query where embeddings and index are loaded, as in a server."""
    import faiss

    with FeatureFile(path) as features:
        X = np.concatenate([unit(features.read(rows)) for rows in spans(n_rows)])
    index = faiss.read_index(str(index_path))
    index.hnsw.efSearch = BREADTH_SEARCHED

    def ours() -> None:
        similarity = X @ queries[0]
        np.argpartition(-similarity, K)

    times = [processor_seconds(work) for work in (ours, lambda: index.search(queries[:1], K)) * 20]
    return Result(
        f"{n_rows} rows, 1 query, in memory",
        "cpu s",
        float(np.median(times[::2])),
        float(np.median(times[1::2])),
        peer,
    )


def exact(path: Path, queries: NDArray[np.float32]) -> list[list[int]]:
    """Rows that the exact search finds, with the file opened anew."""
    with FeatureFile(path) as features:
        found: list[list[int]] = find_nearest(
            features, queries, K, np.arange(features.n_images)
        ).rows.tolist()
    return found


def build(path: Path, index_path: Path) -> None:
    """Write an index of all embeddings."""
    import faiss

    index = faiss.IndexHNSWFlat(DIM, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BREADTH_BUILT
    with FeatureFile(path) as features:
        for rows in spans(features.n_images):
            index.add(unit(features.read(rows)))
    faiss.write_index(index, str(index_path))


def indexed(index_path: Path, queries: NDArray[np.float32]) -> list[list[int]]:
    """Rows that the index finds, opened anew."""
    import faiss

    index = faiss.read_index(str(index_path))
    index.hnsw.efSearch = BREADTH_SEARCHED
    found: list[list[int]] = index.search(unit(queries), K)[1].tolist()
    return found


def processor_seconds(work: Callable[[], object]) -> float:
    """What all threads of this process take for one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def spans(n_rows: int) -> Iterator[NDArray[np.intp]]:
    """Rows, some at a time."""
    for start in range(0, n_rows, SPAN_ROWS):
        yield np.arange(start, min(start + SPAN_ROWS, n_rows))


def clusters() -> Callable[[slice], NDArray[np.float32]]:
    """Embeddings around cluster centres in a few directions of all columns, with noise."""
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((N_DIRECTIONS, DIM)).astype(np.float32)
    centres = rng.standard_normal((N_CLUSTERS, N_DIRECTIONS)).astype(np.float32)

    def rows_of(rows: slice) -> NDArray[np.float32]:
        own = np.random.default_rng(rows.start + 1)
        shape = (rows.stop - rows.start, N_DIRECTIONS)
        latent = centres[own.integers(N_CLUSTERS, size=shape[0])]
        latent = latent + 0.7 * own.standard_normal(shape, dtype=np.float32)
        noise = own.standard_normal((shape[0], DIM), dtype=np.float32)
        return latent @ axes + NOISE * noise

    return rows_of


def write_clusters(path: Path, n_rows: int) -> Path:
    """A feature file of them, float16, without anything else that the search reads."""
    nothing: Any = np.zeros(n_rows, dtype=np.int32)
    identity = Identity("synthetic", "none", "none", 224, "none", "avg", "float32")
    config = Config(identity, "none", {"folder": "synthetic", "seed": 0}, "float16")
    none = np.empty((0, 32), dtype=np.uint8)
    table = Table((), nothing, nothing.astype(np.uint8), none, ("one", "two"), (), config)
    with create_hdf5(path) as file:
        write_about(file, table)
        write_array(file, "labels", table.labels)
        write_array(file, "splits", table.splits)
        file["splits"].attrs["names"] = fixed_text(SPLITS)
        write_array(file, "content_sha256", np.zeros((n_rows, 32), dtype=np.uint8))
        write_array(file, "paths", np.full(n_rows, b"a"))
        write_dataset(file, "embeddings", (n_rows, DIM), "float16", clusters())
    return path


if __name__ == "__main__":
    main()
