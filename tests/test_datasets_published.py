"""Published data sets: read from a mirror, and downloaded by torchvision's own code from the loopback device."""

import contextlib
import gzip
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST, CelebA
from torchvision.transforms.v2 import functional

import published_files
from engram import datasets
from engram.datasets import cifar, download, idx
from engram.errors import UserError
from published_files import md5, put

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # see published_files.serving


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    monkeypatch.delenv("ENGRAM_DATA_ROOT", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.0)


@pytest.fixture
def digits(rng, monkeypatch):
    """Small IDX files, plain, whose MD5 sums count as the published ones."""
    arrays = published_files.mnist_arrays(rng)
    files = {name: published_files.idx(array) for name, array in arrays.items()}
    packed = published_files.gzipped(files)
    monkeypatch.setitem(idx.MD5, "mnist", {name: md5(content) for name, content in files.items()})
    monkeypatch.setattr(MNIST, "resources", [(name, md5(content)) for name, content in packed.items()])
    return arrays, files, packed


@pytest.fixture
def pictures(rng, monkeypatch):
    """Small CIFAR-10 batches: rows, and the two archives, whose MD5 sums count as the published ones."""
    rows = published_files.cifar_rows(rng)
    batches = published_files.cifar_python(rows)
    python = published_files.tar_gz(cifar.PYTHON, batches)
    binary = published_files.tar_gz(cifar.BINARY, published_files.cifar_binary(rows))
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(python))
    monkeypatch.setattr(
        CIFAR10, "train_list", [[f"data_batch_{i}", md5(batches[f"data_batch_{i}"])] for i in range(1, 6)]
    )
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(batches["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(batches["batches.meta"])})
    monkeypatch.setattr(cifar, "BINARY_MD5", md5(binary))
    monkeypatch.setattr(cifar, "BATCH_IMAGES", len(rows[0]))
    return rows, python, binary


@pytest.fixture
def faces(rng, monkeypatch):
    """Six smooth faces and CelebA's files for them, whose MD5 sums count as the published ones."""
    small = torch.from_numpy(rng.integers(0, 256, (6, 3, 14, 11))).float()
    pixels = torch.nn.functional.interpolate(small, (218, 178), mode="bicubic").clamp(0, 255).byte()
    files = published_files.celeba(list(pixels.permute(0, 2, 3, 1).numpy()), [2, 0, 0, 1, 0, 0])
    monkeypatch.setattr(CelebA, "file_list", [(name, md5(content), name) for name, content in files.items()])
    return pixels, files


def assert_is_mnist(image_set, arrays):
    square = image_set.images.reshape(-1, 32, 32)
    expected = np.concatenate([arrays["train-images-idx3-ubyte"], arrays["t10k-images-idx3-ubyte"]])
    np.testing.assert_array_equal(square[:, 2:30, 2:30], expected)
    assert square.sum() == expected.sum()
    np.testing.assert_array_equal(
        image_set.labels, np.concatenate([arrays["train-labels-idx1-ubyte"], arrays["t10k-labels-idx1-ubyte"]])
    )
    assert image_set.split.tolist() == [0] * 6 + [1] * 3
    assert image_set.source_index.tolist() == list(range(9))
    assert image_set.image_shape == (1, 32, 32)


def assert_is_cifar(image_set, rows):
    rows = np.concatenate(rows)
    np.testing.assert_array_equal(image_set.images, rows[:, 1:])
    np.testing.assert_array_equal(image_set.labels, rows[:, 0])
    assert image_set.split.tolist() == [0] * 20 + [1] * 4
    assert image_set.image_shape == (3, 32, 32)


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw", "../MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_idx_files_plain_or_gzipped(digits, tmp_path, folder, packed):
    arrays, plain, gzipped = digits
    root = put(tmp_path / "root", {})
    put(root / folder, gzipped if packed else plain)
    assert_is_mnist(datasets.make("mnist", data_root=root), arrays)


RENAMED = {
    "dots": lambda name: name.replace("-idx", ".idx"),
    "underscores and capitals": lambda name: name.upper().replace("-", "_") + ".bin",
    "a folder of the file's name": lambda name: f"{name}/{name}",
    "a folder for each part": lambda name: f"a/b/{name[:5]}/{name}",
    "packed under a plain name": lambda name: name,
    "plain under the name of a packed one": lambda name: f"{name}.gz",
    "no name at all": lambda name: md5(name.encode()),
}


@pytest.mark.parametrize("way", RENAMED)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_known_by_their_content_whatever_they_are_called(digits, tmp_path, way, packed):
    arrays, plain, gzipped = digits
    for (name, content), other in zip(plain.items(), gzipped.values(), strict=True):
        path = tmp_path / RENAMED[way](name)
        put(path.parent, {path.name: other if packed else content})
    assert_is_mnist(datasets.make("mnist", data_root=tmp_path), arrays)


def test_a_damaged_file_beside_a_good_one_of_another_name_is_passed_over(digits, tmp_path):
    put(tmp_path, digits[1] | {"train-images-idx3-ubyte": b"<html>404</html>"})
    put(tmp_path / "again", {"images.bin": digits[1]["train-images-idx3-ubyte"]})
    assert_is_mnist(datasets.make("mnist", data_root=tmp_path), digits[0])


def test_idx_files_of_another_data_set_are_refused(digits, tmp_path):
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte: is not the published file: its content's MD5 is"):
        datasets.make("fashion_mnist", data_root=put(tmp_path, digits[1]))


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_idx_file_is_one_line_with_its_name(digits, tmp_path, packed):
    file = "t10k-images-idx3-ubyte" + (".gz" if packed else "")
    put(tmp_path, digits[2 if packed else 1])
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"^.*{file}: [^\n]*(truncated|ended before)[^\n]*; get the file again$"):
        datasets.make("mnist", data_root=tmp_path)


def test_a_file_that_is_not_idx_is_one_line_with_its_name(digits, tmp_path):
    put(tmp_path, digits[1] | {"train-labels-idx1-ubyte": b"<html>404</html>"})
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte: is not an IDX file"):
        datasets.make("mnist", data_root=tmp_path)


@pytest.mark.parametrize("name", datasets.PUBLISHED)
def test_a_mirror_without_the_files_says_what_was_looked_for(name, tmp_path):
    with pytest.raises(UserError, match=rf"^data_root: folder '.*' has no files of {name}; expected [^\n]*$"):
        datasets.make(name, data_root=tmp_path)


@pytest.mark.parametrize("archive", [0, 1], ids=["python", "binary"])
@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar10_is_read_from_either_archive_or_from_its_folder(pictures, tmp_path, archive, unpacked):
    rows, *contents = pictures
    name = (cifar.PYTHON_ARCHIVE, cifar.BINARY_ARCHIVE)[archive]
    files = (published_files.cifar_python, published_files.cifar_binary)[archive](rows)
    if unpacked:
        put(tmp_path / "cifar10" / (cifar.PYTHON, cifar.BINARY)[archive], files)
    else:
        put(tmp_path, {name: contents[archive]})
    assert_is_cifar(datasets.make("cifar10", data_root=tmp_path), rows)


@pytest.mark.parametrize("archive", [0, 1], ids=["python", "binary"])
@pytest.mark.parametrize("way", ["renamed", "unzipped", "deep", "batches in the root", "batches deep down"])
def test_cifar10_is_known_by_its_content_whatever_it_is_called(pictures, tmp_path, archive, way):
    rows, *contents = pictures
    files = (published_files.cifar_python, published_files.cifar_binary)[archive](rows)
    match way:
        case "renamed":
            put(tmp_path, {"cifar (1).tgz": contents[archive]})
        case "unzipped":
            put(tmp_path, {"cifar.tar": gzip.decompress(contents[archive])})
        case "deep":
            put(tmp_path / "a" / "b", {(cifar.PYTHON_ARCHIVE, cifar.BINARY_ARCHIVE)[archive]: contents[archive]})
        case "batches in the root":
            put(tmp_path, files)
        case _:
            put(tmp_path / "x" / "y" / "z", files)
    assert_is_cifar(datasets.make("cifar10", data_root=tmp_path), rows)


def test_python_batches_are_known_by_their_content(pictures, tmp_path):
    batches = published_files.cifar_python(pictures[0])
    put(tmp_path, {f"part {number}": content for number, content in enumerate(batches.values())})
    assert_is_cifar(datasets.make("cifar10", data_root=tmp_path), pictures[0])


@pytest.mark.parametrize("archive", [cifar.PYTHON_ARCHIVE, cifar.BINARY_ARCHIVE])
def test_a_truncated_archive_is_not_the_published_file(pictures, tmp_path, archive):
    content = pictures[1 if archive == cifar.PYTHON_ARCHIVE else 2]
    with pytest.raises(UserError, match=rf"{archive}: is not the published file"):
        datasets.make("cifar10", data_root=put(tmp_path, {archive: content[:-10]}))


def test_a_pickle_with_a_wrong_checksum_is_never_opened(pictures, tmp_path):
    folder = put(tmp_path / cifar.PYTHON, published_files.cifar_python(pictures[0]))
    (folder / "data_batch_3").write_bytes(b"cbuiltins\nexit\n(I3\ntR.")  # would end the process
    with pytest.raises(UserError, match="a batch is missing or has a wrong checksum"):
        datasets.make("cifar10", data_root=tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda batch: batch[:-1], "damaged or truncated"),
        (lambda batch: b"\x0b" + batch[1:], "holds the label 11, must be 0 to 9"),
        (lambda batch: None, "has no data_batch_2.bin"),
    ],
)
def test_a_damaged_binary_batch_is_one_line(pictures, tmp_path, change, complaint):
    batches = published_files.cifar_binary(pictures[0])
    changed = change(batches.pop("data_batch_2.bin"))
    put(tmp_path / cifar.BINARY, batches | ({} if changed is None else {"data_batch_2.bin": changed}))
    with pytest.raises(UserError, match=complaint):
        datasets.make("cifar10", data_root=tmp_path)


def unpack_faces(root: Path, files: dict[str, bytes]) -> Path:
    from torchvision.datasets.utils import extract_archive

    put(root / "celeba", {name: files[name] for name in ("list_eval_partition.txt", "img_align_celeba.zip")})
    extract_archive(root / "celeba" / "img_align_celeba.zip", remove_finished=True)
    return root / "celeba" / "img_align_celeba"


@pytest.mark.parametrize("unpacked", [False, True])
def test_celeba_is_cropped_and_resized_as_torchvision_does(faces, tmp_path, unpacked):
    pixels, files = faces
    if unpacked:
        unpack_faces(tmp_path, files)
    else:
        put(tmp_path, files)
    image_set = datasets.make("celeba", data_root=tmp_path)
    assert image_set.source_index.tolist() == [1, 2, 4, 5, 0, 3]
    assert image_set.split.tolist() == [0, 0, 0, 0, 1, 1]
    assert (image_set.labels == -1).all() and image_set.label_names == []
    window = functional.crop(pixels, top=40, left=15, height=148, width=148)  # the box (15, 40, 163, 188)
    expected = functional.resize(window, [32, 32], antialias=True).flatten(1)[image_set.source_index]
    np.testing.assert_allclose(image_set.images.astype(int), expected.int(), atol=3)  # JPEG and rounding


@pytest.mark.parametrize("way", ["renamed", "in a folder of its own name", "apart", "images in the root", "too deep"])
def test_celeba_is_known_by_its_content_whatever_it_lies_in(faces, tmp_path, way):
    expected = datasets.make("celeba", data_root=put(tmp_path / "as published", faces[1]))
    root = tmp_path / "mirror"
    partition, archive = faces[1]["list_eval_partition.txt"], faces[1]["img_align_celeba.zip"]
    match way:
        case "renamed":
            put(root, {"partition (1).txt": partition, "faces.zip": archive})
        case "in a folder of its own name":
            folder = unpack_faces(tmp_path / "b", faces[1])
            put(root / "Eval", {"list_eval_partition.txt": partition})
            shutil.copytree(folder, root / "img_align_celeba" / "img_align_celeba")
        case "apart":
            put(root / "Eval", {"list_eval_partition.txt": partition})
            put(root / "Img", {"img_align_celeba.zip": archive})
        case "too deep":
            root = unpack_faces(root, faces[1])
        case _:
            shutil.copytree(unpack_faces(tmp_path / "b", faces[1]), root)
            put(root, {"list_eval_partition.txt": partition})
    image_set = datasets.make("celeba", data_root=root)
    np.testing.assert_array_equal(image_set.images, expected.images)
    assert image_set.path.tolist() == [f"00000{index + 1}.jpg" for index in image_set.source_index]


def test_the_crop_of_celeba_touches_no_pixel_outside_of_its_box(monkeypatch, tmp_path):
    face = np.zeros((218, 178, 3))
    face[40:188, 15:163] = (255, 128, 0)
    files = published_files.celeba([face, face], [0, 1])
    monkeypatch.setattr(CelebA, "file_list", [(name, md5(content), name) for name, content in files.items()])
    colours = datasets.make("celeba", data_root=put(tmp_path, files)).images[0].reshape(3, 1024)
    np.testing.assert_allclose(colours, np.repeat([[255], [128], [0]], 1024, axis=1), atol=6)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda path: path.unlink(), "000003.jpg: cannot be read as an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "000003.jpg: cannot be read as an image"),
        (
            lambda path: path.write_bytes(published_files.jpeg(np.zeros((9, 8, 3)))),
            r"000003.jpg: is a \(8, 9\) RGB image",
        ),
    ],
)
def test_a_bad_face_is_one_line_with_its_name(faces, tmp_path, change, complaint):
    change(unpack_faces(tmp_path, faces[1]) / "000003.jpg")
    with pytest.raises(UserError, match=complaint):
        datasets.make("celeba", data_root=tmp_path)


def test_a_changed_partition_of_celeba_is_refused(faces, tmp_path):
    put(tmp_path, faces[1] | {"list_eval_partition.txt": b"000001.jpg 0\n"})
    with pytest.raises(UserError, match=r"list_eval_partition.txt: is not the published file"):
        datasets.make("celeba", data_root=tmp_path)


@pytest.fixture
def mnist_server(digits, monkeypatch):
    with published_files.serving(digits[2]) as (server, address):
        monkeypatch.setattr(MNIST, "mirrors", [address])
        yield server


def test_mnist_is_downloaded_once(digits, mnist_server, tmp_path, capsys):
    assert_is_mnist(datasets.make("mnist", download_dir=tmp_path), digits[0])
    assert "100%" in capsys.readouterr().err  # torchvision's progress bar
    assert mnist_server.requests == list(digits[2])
    assert_is_mnist(datasets.make("mnist", download_dir=tmp_path), digits[0])
    assert mnist_server.requests == list(digits[2])
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]


@pytest.mark.parametrize("fault", ["truncated", "damaged", "stalled", 404, 503])
def test_a_download_that_fails_twice_succeeds_at_the_third_try(digits, mnist_server, tmp_path, fault, monkeypatch):
    monkeypatch.setattr(download, "STALLED_SECONDS", 0.2)
    mnist_server.faults = [None, fault, fault]
    assert_is_mnist(datasets.make("mnist", download_dir=tmp_path), digits[0])
    first, second, *rest = digits[2]
    assert mnist_server.requests == [first, second, second, second, *rest]  # good files are kept


@pytest.mark.parametrize("fault", ["truncated", "damaged", "stalled", 404])
def test_a_download_that_fails_three_times_is_one_line_and_leaves_nothing(mnist_server, tmp_path, fault, monkeypatch):
    monkeypatch.setattr(download, "STALLED_SECONDS", 0.2)
    mnist_server.faults = [None] + [fault] * 3
    with pytest.raises(
        UserError, match=r"^dataset mnist: the download failed 3 times \([^\n]+\); check the network, or [^\n]*$"
    ):
        datasets.make("mnist", download_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_line_and_leaves_nothing(digits, tmp_path, monkeypatch):
    with published_files.serving({}) as (_, address):
        pass
    monkeypatch.setattr(MNIST, "mirrors", [address])  # nobody listens there any more
    with pytest.raises(UserError, match=r"^dataset mnist: the download failed 3 times \(.*refused"):
        datasets.make("mnist", download_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(mnist_server, tmp_path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MNIST, "_load_data", interrupt)
    with pytest.raises(KeyboardInterrupt):
        datasets.make("mnist", download_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_damaged_after_its_download_is_passed_over_for_its_packed_copy_or_found_out(
    digits, mnist_server, tmp_path
):
    datasets.make("mnist", download_dir=tmp_path)
    path = tmp_path / "mnist/MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert_is_mnist(datasets.make("mnist", download_dir=tmp_path), digits[0])
    path.with_suffix(".gz").unlink()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte: is not the published file"):
        datasets.make("mnist", download_dir=tmp_path)


def test_cifar10_is_downloaded(pictures, tmp_path, monkeypatch):
    with published_files.serving({cifar.PYTHON_ARCHIVE: pictures[1]}) as (server, address):
        monkeypatch.setattr(CIFAR10, "url", address + cifar.PYTHON_ARCHIVE)
        server.faults = ["truncated"]
        assert_is_cifar(datasets.make("cifar10", download_dir=tmp_path), pictures[0])
    assert len(server.requests) == 2
    assert_is_cifar(datasets.make("cifar10", download_dir=tmp_path), pictures[0])


def test_celeba_is_downloaded(faces, tmp_path, monkeypatch):
    with published_files.serving(faces[1]) as (server, address):
        monkeypatch.setitem(sys.modules, "gdown", published_files.Gdown(address))
        server.faults = [None, 403]
        image_set = datasets.make("celeba", download_dir=tmp_path / "a")
    assert image_set.images.shape == (6, 3072) and image_set.split.sum() == 2
    assert len(server.requests) == 7
    mirrored = datasets.make("celeba", data_root=put(tmp_path / "b", faces[1]))
    np.testing.assert_array_equal(image_set.images, mirrored.images)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_whole_data_set_is_read_from_an_installed_mirror(name):
    for root in filter(os.path.isdir, [os.environ.get("ENGRAM_TEST_DATA_ROOT", ""), "/usr/share/datasets"]):
        with contextlib.suppress(UserError):
            image_set = datasets.make(name, data_root=root)
            break
    else:
        pytest.skip(f"{name} is neither in ENGRAM_TEST_DATA_ROOT nor in /usr/share/datasets")
    assert image_set.images.shape == (70_000, 1024)
    assert image_set.split.sum() == 10_000
    published = {"mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], "fashion_mnist": [6000] * 10}
    np.testing.assert_array_equal(np.bincount(image_set.labels[:60_000]), published[name])
