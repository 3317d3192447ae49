"""What extraction is measured against, each as its documentation sets it up.

``python -m tests.benchmarks.contenders NAME PRECISION PHOTOS OUT`` loads the same ResNet50, embeds
every photograph of a folder at 224 px and writes one HDF5 file; it prints its seconds. ``prepare``
makes the files of the peers' network.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image

from headbench.extract.images.stream import map_ahead

SIZE_PX, SHORTER_PX, DIM, BATCH = 224, 256, 2048, 16
N_CORES = os.cpu_count() or 1
MEAN = np.array([103.939, 116.779, 123.68], dtype=np.float32)
# Never in the checkout: what is written here is 190 MB.
NETWORKS = Path(os.environ.get("HEADBENCH_BENCH_NETWORKS", "runs/bench"))
WEIGHTS = os.environ.get("HEADBENCH_BENCH_WEIGHTS", "random")
BARE_IMAGES = 256
PRECISIONS = FLOAT32, BFLOAT16 = ("float32", "bfloat16")


def decoded(path: Path) -> np.ndarray:
    """By Pillow, as everybody does it: float32 (3, 224, 224), BGR, mean subtracted."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    scale = SHORTER_PX / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIZE_PX) // 2, (height - SIZE_PX) // 2
    picture = picture.crop((left, top, left + SIZE_PX, top + SIZE_PX))
    pixels = np.asarray(picture, dtype=np.float32)[..., ::-1] - MEAN
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def in_batches(paths: list[Path], size: int) -> Iterator[np.ndarray]:
    """Decoded in as many threads as there are cores, while the network is at work."""
    waiting: list[np.ndarray] = []
    for pixels in map_ahead(decoded, paths, N_CORES, 64):
        waiting.append(pixels)
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def write(out: Path, embeddings: np.ndarray) -> None:
    """All of them, in one dataset."""
    with h5py.File(out, "w") as file:
        file["embeddings"] = embeddings.astype(np.float32, copy=False)


class Peer(NamedTuple):
    """A loaded network.

    Attributes
    ----------
    embed : callable
        From one batch to embeddings.
    batch_size : int
        Its fastest.
    n_streams : int
        Threads that call it at the same time.
    run : callable or None
        From files to HDF5, where it has its own way.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    n_streams: int = 1
    run: Callable[[list[Path], Path], None] | None = None

    def extract(self, paths: list[Path], out: Path) -> None:
        """From files to HDF5: decoded in threads while the network is at work."""
        if self.run is not None:
            self.run(paths, out)
            return
        batches = in_batches(paths, self.batch_size)
        rows = map_ahead(self.embed, batches, self.n_streams, 2 * self.n_streams)
        write(out, np.concatenate(list(rows)))


def keras_predict(precision: str) -> Peer:
    """As in most tutorials: `image_dataset_from_directory` and `model.predict`."""
    import keras

    if precision == BFLOAT16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    base = _keras_base()

    def run(paths: list[Path], out: Path) -> None:
        dataset = keras.utils.image_dataset_from_directory(
            paths[0].parents[1],
            label_mode=None,
            image_size=(SIZE_PX, SIZE_PX),
            shuffle=False,
            verbose=False,
        )
        preprocessed = dataset.map(keras.applications.resnet50.preprocess_input)
        write(out, base.predict(preprocessed.prefetch(2), verbose=0))

    return Peer(lambda images: base.predict_on_batch(images.transpose(0, 2, 3, 1)), 32, 1, run)


def pytorch(precision: str) -> Peer:
    """A `DataLoader`, a process per core; traced, fused, channels last: the fastest we found.

    In bfloat16 by `torch.autocast`.
    """
    import torch

    network = torch.load(NETWORKS / "resnet50.pt", weights_only=False)
    network = network.to(memory_format=torch.channels_last)
    example = torch.zeros(BATCH, 3, SIZE_PX, SIZE_PX).to(memory_format=torch.channels_last)
    is_bfloat16 = precision == BFLOAT16
    cast = torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16, cache_enabled=False)
    with torch.inference_mode(), cast:
        traced = torch.jit.trace(network, example)
        fuse = torch.jit.freeze if is_bfloat16 else torch.jit.optimize_for_inference
        network = fuse(traced.eval())

    class Photographs(torch.utils.data.Dataset):
        def __init__(self, paths: list[Path]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, row: int) -> np.ndarray:
            return decoded(self.paths[row])

    def embed(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return network(images.to(memory_format=torch.channels_last)).float().numpy()

    def run(paths: list[Path], out: Path) -> None:
        loader = torch.utils.data.DataLoader(Photographs(paths), BATCH, num_workers=N_CORES)
        write(out, np.concatenate([embed(images) for images in loader]))

    return Peer(lambda images: embed(torch.from_numpy(images)), BATCH, 1, run)


def onnx_runtime(_: str) -> Peer:
    """As many streams as cores, a thread each: as fast as one stream on all, or faster."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = NETWORKS / "resnet50.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Peer(lambda images: session.run(None, {"x": images})[0], 8, N_CORES)


def openvino(precision: str) -> Peer:
    """One image a request, in throughput mode, a thread for each of its streams: the fastest.

    Where the processor has bfloat16, that is what it takes by itself.
    """
    import openvino as ov

    core = ov.Core()
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": OPENVINO[precision]}
    compiled = core.compile_model(NETWORKS / "resnet50.xml", "CPU", hints)
    local = threading.local()

    def embed(images: np.ndarray) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return np.array(local.request.infer({0: images})[0])

    return Peer(embed, 1, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))


# OpenVINO's names.
OPENVINO = {FLOAT32: "f32", BFLOAT16: "bf16"}
PEERS: dict[str, Callable[[str], Peer]] = {
    "Keras predict": keras_predict,
    "PyTorch": pytorch,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
}
# ONNX Runtime has no kernels in bfloat16 for processors.
FLOAT32_ALONE = {"ONNX Runtime"}


def run_peer(name: str, precision: str, photos: Path, out: Path) -> dict[str, float]:
    """Seconds for loading, for files to HDF5, and for one image in the bare network."""
    started = time.perf_counter()
    peer = PEERS[name](precision)
    loaded = time.perf_counter()
    peer.extract(sorted(photos.glob("*/*.jpg")), out)
    done = time.perf_counter()
    pixels = np.zeros((peer.batch_size, 3, SIZE_PX, SIZE_PX), dtype=np.float32)
    bare = seconds_per_image(peer.embed, pixels, peer.n_streams)
    return {"load": loaded - started, "run": done - loaded, "bare": bare}


def run_headbench(engine: str, precision: str, photos: str, out: Path) -> dict[str, float]:
    """Ours, from a folder or URL to the feature file: with hashes, splits, checksums and all."""
    from headbench.extract.networks.keras_network import KerasBackbone
    from headbench.extract.settings import ExtractSettings
    from headbench.extract.stage import extract_features

    opened: list[tuple[float, Any]] = []
    load = KerasBackbone.open

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        embedder = load(*arguments)
        opened.append((time.perf_counter() - started, embedder))
        return embedder

    KerasBackbone.open = timed  # type: ignore[method-assign]
    started = time.perf_counter()
    settings = ExtractSettings(weights=WEIGHTS, engine=engine, precision=precision)
    extract_features(photos, out, settings)
    seconds = time.perf_counter() - started
    [(loading, embedder)] = opened
    pixels = np.zeros((embedder.batch_size, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    bare = seconds_per_image(embedder.engine.infer, pixels, embedder.engine.n_streams)
    return {"load": loading, "run": seconds - loading, "bare": bare}


def seconds_per_image(
    embed: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray, n_streams: int
) -> float:
    """In the network alone, with as many streams as it likes."""
    batches = [pixels] * (BARE_IMAGES // len(pixels))
    started = time.perf_counter()
    list(map_ahead(embed, batches, n_streams, 2 * n_streams))
    return (time.perf_counter() - started) / (len(batches) * len(pixels))


def prepare() -> None:
    """Write the peers' network, with the weights of ours."""
    import openvino as ov
    import torch

    from tests.benchmarks.torch_resnet50 import build

    network = build(_keras_base())
    example = torch.zeros(BATCH, 3, SIZE_PX, SIZE_PX)
    axes = {"x": {0: "n"}}
    torch.onnx.export(
        network, (example,), NETWORKS / "resnet50.onnx", input_names=["x"], dynamic_axes=axes,
        dynamo=False,
    )  # fmt: skip
    torch.save(network, NETWORKS / "resnet50.pt")
    model = ov.convert_model(NETWORKS / "resnet50.onnx")
    model.reshape([1, 3, SIZE_PX, SIZE_PX])
    # By default weights are rounded to float16, which would be another network.
    ov.save_model(model, NETWORKS / "resnet50.xml", compress_to_fp16=False)


def _keras_base() -> Any:
    from headbench.extract.networks.keras_network import KerasBackbone

    return KerasBackbone("resnet50", WEIGHTS, SIZE_PX).base()


def main() -> None:
    """Run one, in a process of its own."""
    name, *arguments = sys.argv[1:]
    if name == "prepare":
        prepare()
        return
    precision, photos, out = arguments
    if name.startswith("headbench"):
        found = run_headbench(name.partition(":")[2], precision, photos, Path(out))
    else:
        found = run_peer(name, precision, Path(photos), Path(out))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
