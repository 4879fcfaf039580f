"""Small data sets in the exact published formats, and a server on the loopback device that hands them out."""

import gc
import gzip
import hashlib
import io
import pickle
import tarfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

STALL = 1.0  # seconds for which a stalled request is kept waiting


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes (LeCun's format)."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def mnist_arrays(rng: np.random.Generator, train: int = 6, test: int = 3) -> dict[str, np.ndarray]:
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (train, 28, 28)),
        "train-labels-idx1-ubyte": rng.integers(0, 10, train),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (test, 28, 28)),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, test),
    }


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}


def cifar_rows(rng: np.random.Generator, per_batch: int = 4) -> list[np.ndarray]:
    """Six batches of rows (label, 1,024 red, 1,024 green, 1,024 blue)."""
    return [np.hstack([rng.integers(0, 10, (per_batch, 1)), rng.integers(0, 256, (per_batch, 3072))]) for _ in range(6)]


def cifar_python(rows: list[np.ndarray]) -> dict[str, bytes]:
    """The files of cifar-10-batches-py."""
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {
        name: pickle.dumps({"data": batch[:, 1:].astype(np.uint8), "labels": batch[:, 0].tolist()}, protocol=2)
        for name, batch in zip(names, rows, strict=True)
    }
    return files | {"batches.meta": pickle.dumps({"label_names": list("abcdefghij"), "num_vis": 3072}, protocol=2)}


def cifar_binary(rows: list[np.ndarray]) -> dict[str, bytes]:
    """The files of cifar-10-batches-bin."""
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    return {name: batch.astype(np.uint8).tobytes() for name, batch in zip(names, rows, strict=True)}


def tar_gz(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "jpeg", quality=100, subsampling=0)
    return buffer.getvalue()


def celeba(faces: list[np.ndarray], partition: list[int]) -> dict[str, bytes]:
    """The six files that torchvision downloads, for faces (218, 178, 3)."""
    names = [f"{i:06d}.jpg" for i in range(1, len(faces) + 1)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, face in zip(names, faces, strict=True):
            archive.writestr(f"img_align_celeba/{name}", jpeg(face))

    def table(header: str, row: str) -> bytes:
        return (header + "".join(f"{name}  {row}\n" for name in names)).encode()

    parts = "".join(f"{name} {part}\n" for name, part in zip(names, partition, strict=True))
    return {
        "img_align_celeba.zip": buffer.getvalue(),
        "list_attr_celeba.txt": table(f"{len(names)}\nMale Young\n", "-1  1"),
        "identity_CelebA.txt": table("", "7"),
        "list_bbox_celeba.txt": table(f"{len(names)}\nimage_id x_1 y_1 width height\n", "95  71 226 313"),
        "list_landmarks_align_celeba.txt": table(f"{len(names)}\n{' '.join('abcdefghij')}\n", " ".join(["70"] * 10)),
        "list_eval_partition.txt": parts.encode(),
    }


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


class Server:
    """`files` by name; `faults`, used up in turn, spoil answers: "truncated", "stalled", "damaged" or a status."""

    def __init__(self, files: dict[str, bytes]):
        self.files, self.faults, self.requests = files, [], []


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[tuple[Server, str]]:
    """The server and its address."""
    state = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            content = state.files[name]
            if self.headers.get("Method") == "HEAD":  # torchvision asks so whether the address is redirected
                self.answer(200, len(content), b"")
                return
            state.requests.append(name)
            fault = state.faults.pop(0) if state.faults else None
            if isinstance(fault, int):
                self.answer(fault, 0, b"")
            elif fault == "stalled":
                self.answer(200, len(content), content[: len(content) // 2])
                time.sleep(STALL)
            elif fault == "damaged":
                self.answer(200, len(content), bytes(len(content)))
            else:
                self.answer(200, len(content), content[: len(content) // 2] if fault == "truncated" else content)

        def answer(self, status: int, length: int, body: bytes):
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        gc.collect()  # urllib leaves the socket of an HTTP error to the garbage collector, which warns: here, not later


class Gdown:
    """Stands in for the module gdown, whose address of Google Drive cannot be changed: the file's id is its name."""

    def __init__(self, address: str):
        self.address = address

    def download(self, id: str, output: str, quiet: bool, user_agent: str) -> None:
        urllib.request.urlretrieve(self.address + id, output)
