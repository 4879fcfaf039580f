"""Checking config.yaml before anything runs: each mistake is one line naming the key, the value, and what would be right."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from engram import datasets
from engram.errors import UserError

SCHEMA = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"


def validate(config: dict[str, Any]) -> None:
    """Raise UserError with one line per mistake in `config`."""
    schema = yaml.safe_load(SCHEMA.read_text())
    problems = [_explain(error) for error in Draft202012Validator(schema).iter_errors(config)]
    problems = problems or _inconsistencies(config)
    if problems:
        raise UserError("\n".join(f"config: {problem}" for problem in dict.fromkeys(problems)))


def _explain(error: ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path)) or "config.yaml"
    value = error.instance
    match error.validator:
        case "additionalProperties":
            return _explain_unknown_key(error, key)
        case "required":
            missing = [name for name in error.validator_value if name not in value]
            return f"{key} lacks {', '.join(missing)}"
        case "enum":
            choices = ", ".join(
                f'"{choice}" (with quotes)' if choice == "null" else choice for choice in error.validator_value
            )
            return f"{key} is {value!r}; choose {choices}"
        case "type":
            return f"{key} is {value!r}, not {_a(error.validator_value)}{_hint(value, error.validator_value)}"
        case "minimum" | "minItems" | "minProperties":
            return f"{key} is {value!r}; it must be at least {error.validator_value}"
        case "exclusiveMinimum":
            return f"{key} is {value!r}; it must be above {error.validator_value}"
        case "maximum" | "exclusiveMaximum":
            return f"{key} is {value!r}; it must not be above {error.validator_value}"
        case "pattern":
            return f"{key}: the name {value!r} may hold only letters, digits, '.', '_' and '-', 64 at most, a letter or digit first"
        case "not":
            return f"{key}: the name {value!r} is reserved; choose another"
        case "oneOf":
            return f"{key} is {value!r}; write one of {{subset_of, train, test}}, {{folder}}, {{npz}}, {{hdf5}}"
        case "uniqueItems":
            return f"{key} is {value!r}; it must not name anything twice"
        case _:
            return f"{key}: {error.message}"


def _explain_unknown_key(error: ValidationError, key: str) -> str:
    known = error.schema["properties"]
    lines = []
    for name in set(error.instance) - set(known):
        close = difflib.get_close_matches(str(name), known, 1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        lines.append(f"{key} has an unknown key {name!r}; {advice}")
    return "; ".join(sorted(lines))


def _a(kind: str | list[str]) -> str:
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "a text",
        "array": "a list",
        "object": "a mapping",
    }
    return " or ".join(words.get(k, k) for k in ([kind] if isinstance(kind, str) else kind))


def _hint(value: Any, kind: str | list[str]) -> str:
    """YAML reads 1e-3 as text; say how to write it."""
    try:
        return f"; write {float(value):f}".rstrip("0") if isinstance(value, str) and kind == "number" else ""
    except ValueError:
        return ""


def _inconsistencies(config: dict[str, Any]) -> list[str]:
    """Mistakes between keys, which the schema cannot see."""
    experiments, estimators = config["experiments"], config["estimators"]
    problems = [
        f"run names {name!r}, which is no experiment; {_choose(name, experiments)}"
        for name in config["run"]
        if name not in experiments
    ]
    root = config.get("data_root")
    if root is not None and not Path(root).is_dir():
        problems.append(
            f"data_root: folder {root!r} does not exist; give a folder with data sets as published, or null"
        )
    known = [*datasets.known(), *(config.get("datasets") or {})]
    for name, definition in (config.get("datasets") or {}).items():
        source = definition.get("subset_of")
        if name in datasets.known():
            problems.append(f"datasets.{name}: this name is built in; choose another")
        if source is not None and source not in datasets.known():
            problems.append(f"datasets.{name}.subset_of is {source!r}; {_choose(source, datasets.known())}")
    for name, experiment in experiments.items():
        problems += [f"experiments.{name}.{problem}" for problem in _in_experiment(experiment, known, estimators)]
    return problems


def _in_experiment(experiment: dict[str, Any], known: list[str], estimators: dict[str, Any]) -> list[str]:
    problems = []
    if experiment["dataset"] not in known:
        problems.append(
            f"dataset is {experiment['dataset']!r}, which is unknown; {_choose(experiment['dataset'], known)}"
        )
    for estimator in experiment["estimators"]:
        if estimator not in estimators:
            problems.append(f"estimators names {estimator!r}, which is not defined; {_choose(estimator, estimators)}")
    epochs, scored = experiment["training"]["epochs"], experiment["scored_epochs"]
    if scored != sorted(scored) or scored[-1] > epochs:
        problems.append(f"scored_epochs is {scored}; it must rise and not pass training.epochs, which is {epochs}")
    membership = experiment["membership"]
    if membership["design"] in ("k_fold", "null") and "folds" not in membership:
        problems.append(f"membership lacks folds, which the design {membership['design']} needs")
    return problems


def _choose(name: str, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), 1)
    return f"did you mean {close[0]!r}?" if close else f"choose {', '.join(known)}"
