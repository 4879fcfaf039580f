"""The content hash of a rule's code changes with what the code computes, and with nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engram
from engram.files import source
from engram.files.source import essence, source_digest

PACKAGE = Path(engram.__file__).parent
SCRIPTS = PACKAGE.parent / "scripts"
PYTHONS = sorted({*Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python"), *Path("/usr/bin").glob("python3.1[1-9]")})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose files may be edited."""
    copy = tmp_path / "engram"
    shutil.copytree(PACKAGE, copy)
    monkeypatch.setattr(source, "PACKAGE", copy)
    return copy


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    stamp = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(stamp, stamp))


def digests():
    return {path.stem: source_digest(path) for path in SCRIPTS.glob("*.py")}


def test_a_changed_value_in_an_indirectly_imported_module_changes_the_digest(package):
    before = source_digest(SCRIPTS / "train.py")
    edit(package / "training/optimizers.py", '"fused": True', '"fused": False')
    assert source_digest(SCRIPTS / "train.py") != before


def test_comments_docstrings_layout_and_touching_do_not_change_it(package):
    before = source_digest(SCRIPTS / "train.py")
    edit(package / "training/batches.py", "STEPS_PER_BLOCK = 32", "# a better comment\nSTEPS_PER_BLOCK  =  32")
    edit(package / "training/training.py", '"""Training the models', '"""How to train the models')
    (package / "training/lockstep.py").touch()
    assert source_digest(SCRIPTS / "train.py") == before


def test_modules_that_a_stage_does_not_use_do_not_count(package):
    before = source_digest(SCRIPTS / "train.py")
    edit(package / "analyses/neighbors.py", "def distance_ratio", "x = 1\n\n\ndef distance_ratio")
    assert source_digest(SCRIPTS / "train.py") == before


def test_what_only_type_checkers_read_does_not_count(package):
    before = digests()
    for path in ("scores/__init__.py", "likelihood/__init__.py", "models/__init__.py"):
        edit(package / path, "if TYPE_CHECKING:", "if TYPE_CHECKING:\n    from engram.analyses import neighbors")
    for path in ("scores/public.py", "likelihood/public.py", "lazy.py", "cli.py"):
        edit(package / path, '"""', '"""A new word. ')
        (package / path).write_text((package / path).read_text() + "\nNEW = 1\n")
    assert digests() == before


REWORDED = [
    ("files/artifacts.py", "is damaged or not an engram artifact", "cannot be used"),
    ("files/untrusted.py", "is a link, not an array", "is only a link"),
    ("training/training.py", "diverged in epoch", "went astray in epoch"),
    ("training/training.py", "lower experiments", "try to lower experiments"),
    ("training/training.py", '"continuing %s %s in epoch %d"', '"going on with %s %s in epoch %d"'),
    ("training/trained.py", "its parameters and its model do not fit", "model and parameters differ"),
    ("errors.py", "free some space", "make room"),
    ("runtime/jobs.py", "unexpected error, please report it", "this is a fault of engram"),
    ("models/known.py", "KNOWN = {\n", 'KNOWN = {\n    "trial": Known("engram.models.trial:Trial", ()),\n'),
]


@pytest.mark.parametrize(("file", "old", "new"), REWORDED, ids=[f"{file} {old}" for file, old, _ in REWORDED])
def test_another_message_or_another_entry_of_a_registry_changes_no_digest(package, file, old, new):
    before = digests()
    edit(package / file, old, new)
    assert digests() == before


MY_MODEL = """from engram.models.mlp_vae import BernoulliMLPVAE
from {}layers import WIDTH


class Tiny(BernoulliMLPVAE):
    pass
"""


@pytest.fixture(params=["my_models", "my_package.my_models"])
def my_model(request, tmp_path, monkeypatch):
    """A user's model beside a module of its own, as plain files and as a package: its name and its folder."""
    folder = tmp_path / "mine" / ("my_package" if "." in request.param else "")
    folder.mkdir(parents=True)
    if "." in request.param:
        (folder / "__init__.py").write_text("")
    (folder / "my_models.py").write_text(MY_MODEL.format("." if "." in request.param else ""))
    (folder / "layers.py").write_text("import numpy\nWIDTH = 4\n")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    return f"{request.param}:Tiny", folder


@pytest.mark.parametrize("file", ["my_models.py", "layers.py"])
def test_a_users_model_and_the_modules_it_imports_count(my_model, file):
    name, folder = my_model
    before = source_digest(SCRIPTS / "train.py", name)
    (folder / "unrelated.py").write_text("x = 1")
    (folder / file).touch()
    assert source_digest(SCRIPTS / "train.py", name) == before
    (folder / file).write_text((folder / file).read_text() + "\nMORE = 1\n")
    assert source_digest(SCRIPTS / "train.py", name) != before


def test_a_users_model_is_hashed_without_being_run(my_model):
    name, folder = my_model
    (folder / "my_models.py").write_text("raise SystemExit('was run')")
    if (folder / "__init__.py").exists():
        (folder / "__init__.py").write_text("raise SystemExit('was run')")
    assert source_digest(SCRIPTS / "train.py", name)


def test_installed_packages_that_a_users_model_imports_belong_to_the_environment(my_model):
    name, _ = my_model
    names = {module.name for module in source._imports(source.find(name.partition(":")[0]))}
    assert any(found.endswith("layers") for found in names)
    assert not any(found.split(".")[0] in ("torch", "numpy") for found in names)


def test_a_model_that_is_nowhere_counts_by_its_name():
    assert source_digest(SCRIPTS / "train.py", "nowhere:A") != source_digest(SCRIPTS / "train.py", "nowhere:B")


SAID = [
    ("def f(x):\n    raise ValueError(f'{x} is bad')", "def f(x):\n    raise ValueError(f'{x} is wrong') from None"),
    ("def f(x):\n    log.info('a')\n    return x", "def f(x):\n    return x"),
    ("def f(x):\n    why = f'a {x}'\n    raise E(why)", "def f(x):\n    why = f'b {x}'\n    raise E(why)"),
    (
        "def f(x):\n    raise E(_why(x))\ndef _why(x):\n    return 'a'",
        "def f(x):\n    raise E(_why(x))\ndef _why(x):\n    return 'b'",
    ),
]


@pytest.mark.parametrize(("one", "other"), SAID)
def test_what_is_only_said_does_not_count(one, other):
    assert essence(one) == essence(other)


COMPUTED = [
    ("def f(x):\n    if x > 1:\n        raise E", "def f(x):\n    if x > 2:\n        raise E"),
    ("def f(x):\n    raise ValueError('a')", "def f(x):\n    raise TypeError('a')"),
    ("NAME = 'a'", "NAME = 'b'"),
    ("def f():\n    name = 'a'\n    return name", "def f():\n    name = 'b'\n    return name"),
    ("def f(x):\n    return _g(x)\ndef _g(x):\n    return 1", "def f(x):\n    return _g(x)\ndef _g(x):\n    return 2"),
    ("x = 1", "x = 1.0"),
    ("x = True", "x = 1"),
    ("x = 'a'", "x = b'a'"),
    ("x = f'{a:{b}}'", "x = f'{a:{c}}'"),
    ("def f(a, *, b): pass", "def f(a, b): pass"),
]


@pytest.mark.parametrize(("one", "other"), COMPUTED)
def test_what_may_change_a_number_counts(one, other):
    assert essence(one) != essence(other)


ON_EVERY_PYTHON = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from engram.files.source import essence, source_digest
import hashlib
package = Path(sys.argv[1])
files = sorted([*package.rglob("*.py"), *(package.parent / "tests").glob("*.py")])
everything = "".join(essence(path.read_text(encoding="utf-8")) for path in files)
print(source_digest(package / "scripts" / "train.py", "engram.models.mlp_vae:BernoulliMLPVAE"))
print(hashlib.sha256(everything.encode()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(len(PYTHONS) < 2, reason=f"needs two Pythons of 3.11 or later; here are {list(map(str, PYTHONS))}")
def test_every_python_here_has_the_same_hashes():
    said = {}
    for python in PYTHONS:
        command = [str(python), "-B", "-W", "ignore", "-c", ON_EVERY_PYTHON, str(PACKAGE.parent)]
        said[str(python)] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(set(said.values())) == 1, said


def test_this_python_has_the_hash_that_every_python_had(tmp_path):
    # Nested format specifications, empty texts, defaults and annotations are where Pythons' own dumps differ.
    text = 'def f(a: int = 1, *b, c="", **d):\n    return f"{a!r:>{c}}{b:{a}.{c}}" + f"" + rf"\\d{a}"\n'
    text += "match x:\n    case {'a': 1, **rest} if rest: y = [*rest]\n"
    (tmp_path / "sample.py").write_text(text)
    assert source_digest(tmp_path / "sample.py") == "8d67bebb5dbac1d3", sys.version
