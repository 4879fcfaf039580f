"""Mutated and hostile configs: each is refused in clear lines or is as good as a careful one. No traceback, no hang."""

import copy
import json
import math
import random
import time
from pathlib import Path

import pytest
import yaml

import workspace
from engram import config
from engram.errors import UserError
from engram.models.known import KNOWN

SHIPPED = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())
MUTANTS = 300
LONGEST_CHECK = 5.0  # seconds of this process, as the machine may be busy

HOSTILE = [
    *(None, True, False, 0, -1, 1.5, 40.0, 10**9, 10**18, 2**63, 10**400, 1 << 20000, -(10**30)),
    *(math.nan, math.inf, -math.inf, 1e308, 5e-324),
    *(
        "",
        " ",
        "..",
        "../..",
        "../../etc/passwd",
        "/etc/passwd",
        "~root",
        "C:\\con",
        ".",
        "-rf",
        "--config",
        "nan",
        "1e-3",
    ),
    *("a; touch hacked", "$(touch hacked)", "`touch hacked`", "a|b", "a&b", "a>b", "a'b", 'a"b', "*", "{experiment}"),
    *("a\n", "a\nb", "a\0b", "\x1b[2J", "\ud800", "\u202e", "\u00e9t\u00e9", "\U0001f600", "x" * 300, "x" * 100_000),
    *([], {}, [[]], [None], [{}], {"": ""}, {"a": {"b": {"c": 1}}}, ["a"] * 1000, list(range(5000))),
    *(b"bytes", {1, 2}, object(), yaml.safe_load("2026-01-01")),
    *("os:system", "subprocess:Popen", "__import__:x", "repeat-00", "full", "paper", "datasets"),
]
HOSTILE_KEYS = [*(value for value in HOSTILE if isinstance(value, str | int | float | bool | bytes) or value is None)]


def places(value, path=()):
    """Paths of every value in a config."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def mutate(whole, rng):
    """`whole` with one value replaced, removed, renamed, added or moved elsewhere."""
    mutant = copy.deepcopy(whole)
    paths = [path for path in places(mutant) if path]
    *parents, last = rng.choice(paths)
    place = mutant
    for key in parents:
        place = place[key]
    match rng.randrange(5):
        case 0 | 1:
            place[last] = rng.choice(HOSTILE)
        case 2:
            del place[last]
        case 3 if isinstance(place, dict):
            place[rng.choice(HOSTILE_KEYS)] = place.pop(last) if rng.random() < 0.5 else copy.deepcopy(place[last])
        case _:
            source = mutant
            for key in rng.choice(paths):
                source = source[key] if isinstance(source, dict | list) and _has(source, key) else source
            place[last] = copy.deepcopy(source)
    return mutant


def _has(place, key):
    return key in place if isinstance(place, dict) else isinstance(key, int) and key < len(place)


def verdict(mutant):
    """None for an accepted config, else what is said of it. Fails on a traceback, a hang, and what no terminal should see."""
    started = time.process_time()
    try:
        config.validate(mutant)
        said = None
    except UserError as error:
        said = str(error)
    assert time.process_time() - started < LONGEST_CHECK
    if said is None:
        assert_harmless(mutant)
    else:
        for line in said.splitlines():
            assert line.startswith("config: ") and line.isprintable() and len(line) < 10_000, line[:500]
    return said


def assert_harmless(accepted):
    """What later stages rely on: plain JSON, whole and finite numbers, names that are names in every path and shell."""
    assert json.loads(json.dumps(accepted)) == accepted
    names = [*accepted["experiments"], *accepted["estimators"], *(accepted.get("datasets") or {})]
    for name in names:
        assert name.isascii() and not set(name) & set("/\\ ;|&$`'\"<>*?{}()\n") and name[0] not in ".-"
    for experiment in accepted["experiments"].values():
        assert set(experiment["estimators"]) <= set(accepted["estimators"])
        training = experiment.get("training")
        if training is None:
            assert "scored_epochs" not in experiment and is_perhaps_fitted(experiment["model"]["name"])
            continue
        assert type(training["epochs"]) is int and 0 < training["learning_rate"] < math.inf
        assert all(type(epoch) is int and epoch <= training["epochs"] for epoch in experiment["scored_epochs"])


def is_perhaps_fitted(name):
    return ":" in name or KNOWN[name].is_fitted


@pytest.mark.parametrize("seed", range(10))
def test_mutated_configs_are_refused_in_clear_lines_or_harmless(seed):
    rng = random.Random(seed)
    refused = 0
    for _ in range(MUTANTS // 10):
        mutant = SHIPPED
        for _ in range(rng.choice([1, 1, 2, 5])):
            mutant = mutate(mutant, rng)
        refused += verdict(mutant) is not None
    assert refused > MUTANTS // 20  # or the mutants are too tame to test anything


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_no_hostile_value_in_place_of_the_whole_config_or_a_part_is_more_than_a_line(value):
    assert verdict(value) is not None
    for key in SHIPPED:
        verdict(SHIPPED | {key: value})


def bomb(levels):
    """Nine references to nine references to ...: 9**levels values from a few lines of YAML."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return yaml.safe_load("\n".join(lines))


def test_a_bomb_of_anchors_is_refused_before_it_is_unfolded():
    assert "holds more than 100000 values" in verdict(SHIPPED | {"run": bomb(30)["a29"]})
    assert "holds more than 100000 values" in verdict(SHIPPED | {"datasets": bomb(30)})


def test_a_config_that_contains_itself_is_refused():
    knot = yaml.safe_load("&a [*a, *a]")
    assert "20 levels" in verdict(SHIPPED | {"run": knot})
    loop = copy.deepcopy(SHIPPED)
    loop["experiments"]["quickstart"]["model"]["again"] = loop
    assert "levels" in verdict(loop)


def test_a_line_end_after_a_name_does_not_slip_through():
    for place in ("experiments", "estimators", "datasets"):
        changed = copy.deepcopy(SHIPPED)
        name = next(iter(changed[place]))
        changed[place][f"{name}\n"] = changed[place][name]
        assert "has a key that is" in verdict(changed)


def test_a_number_of_epochs_must_be_whole_and_a_rate_a_number():
    for key, value in {"epochs": 40.0, "learning_rate": math.nan, "batch_size": 64.0}.items():
        changed = copy.deepcopy(SHIPPED)
        changed["experiments"]["quickstart"]["training"][key] = value
        assert f"training.{key} is {value}" in verdict(changed)


def test_a_job_of_a_run_whose_config_was_changed_stops(monkeypatch):
    monkeypatch.setenv("ENGRAM_CONFIG_SHA256", "")
    config.require_unchanged(SHIPPED, at_start=True)
    config.require_unchanged(copy.deepcopy(SHIPPED), at_start=False)
    with pytest.raises(UserError, match=r"config\.yaml was changed while the workflow runs; .* start again"):
        config.require_unchanged(SHIPPED | {"run": []}, at_start=False)


TEXTS = {
    "a python object": ("run: !!python/object/apply:os.system ['touch hacked']\n", "config.yaml, line 1, column 6: "),
    "half of a file": ("experiments:\n  quickstart:\n    model: {name: bern", "config.yaml, line 3, column 23: "),
    "a bomb": ("run: [x]\n" + yaml.safe_dump({"bomb": 0}) + "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)), "holds more than"),
    "a shell command": ("run: ['$(touch hacked)']\nexperiments: {'; touch hacked': {}}\nestimators: {}\n", "may hold only"),
    "a number beyond bounds": ("run: [a]\nexperiments: {a: {seed: 1.0e+400}}\nestimators: {}\n", "not a finite number"),
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_on_the_command_line_a_hostile_file_runs_nothing_and_ends_in_a_line(tmp_path, text):
    folder = workspace.create(tmp_path / "engram")
    (folder / "config.yaml").write_text(TEXTS[text][0])
    run = workspace.snakemake(folder, "--dry-run", timeout=120)
    assert run.returncode != 0 and TEXTS[text][1] in run.stdout, run.stdout
    assert "Traceback" not in run.stdout and len(run.stdout) < 20_000
    assert not list(folder.rglob("hacked"))
