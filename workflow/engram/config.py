"""Checking config.yaml before anything runs: each mistake is one line naming the key, the value, and what would be right."""

import difflib
import hashlib
import json
import math
import os
import reprlib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from engram import datasets
from engram.config_audited import is_audited
from engram.config_experiment import in_experiment
from engram.config_given import is_given, mixed, settings_of
from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.datasets.known import KINDS, images_of, mistakes_in_manifold, number_planted, with_source
from engram.datasets.paths import absent, expanded
from engram.errors import UserError, suggest

SCHEMA = Path(__file__).parent / "schemas" / "config.schema.yaml"
# Anchors let a few lines of YAML unfold to billions of values. At most: values in all, levels, and characters of a text.
MOST_ENTRIES, DEEPEST, LONGEST = 100_000, 20, 4096
SHORT = reprlib.Repr()  # of values that may be long
SHORT.maxlevel, SHORT.maxlist, SHORT.maxdict, SHORT.maxstring, SHORT.maxother = 3, 20, 8, 80, 80


def _is_whole(_checker: Any, value: Any) -> bool:
    """40.0 is a whole number for JSON, but no number of epochs for Python."""
    return isinstance(value, int) and not isinstance(value, bool)


Validator = validators.extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole)
)


def validate(config: dict[str, Any]) -> None:
    """Raise UserError with one line per mistake in `config`."""
    schema = yaml.safe_load(SCHEMA.read_text())
    problems = _unreasonable(config)
    problems = problems or _of_two_kinds(config)
    problems = problems or [_explain(error) for error in Validator(schema).iter_errors(config)]
    problems = problems or _inconsistencies(config)
    if problems:
        raise UserError("\n".join(f"config: {problem}" for problem in dict.fromkeys(problems)))


def estimator(config: dict[str, Any], experiment: str, name: str) -> dict[str, Any]:
    """Settings of an estimator as an experiment uses it: its entry under `estimators`, changed by the experiment's overrides.

    Of log p that is given, its statistic and permutations.
    """
    if is_given(config["experiments"][experiment]):
        return settings_of(config["experiments"][experiment])
    overrides = config["experiments"][experiment].get("overrides", {})
    return config["estimators"][name] | overrides.get(name, {})


def require_unchanged(config: dict[str, Any], at_start: bool) -> None:
    """Raise UserError in a job if the config is no longer that of the workflow's start, which passes on its hash to the jobs.

    A job reads config.yaml anew. Without this check it would compute by the new one what Snakemake notes as made by the old one.
    """
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    if at_start:
        os.environ["ENGRAM_CONFIG_SHA256"] = digest
    if os.environ.get("ENGRAM_CONFIG_SHA256", digest) != digest:
        raise UserError(
            "config: config.yaml was changed while the workflow runs; what is finished is kept: start again, "
            "and whatever depends on the change is made by the new config"
        )


def _of_two_kinds(config: Any) -> list[str]:
    """Experiments that give log p and ask for it: said before the schema calls the keys of one kind unknown."""
    experiments = config.get("experiments") if isinstance(config, dict) else None
    named = experiments.items() if isinstance(experiments, dict) else ()
    return [problem for name, experiment in named for problem in mixed(name, experiment)]


def _unreasonable(config: Any) -> list[str]:
    """Values that are too large to be checked or even printed, that JSON cannot hold, or that would upset a terminal or a path."""
    problems, waiting, entries = [], [((), config)], 0
    while waiting:
        path, value = waiting.pop()
        entries += 1
        if entries > MOST_ENTRIES or len(path) > DEEPEST:
            return [
                f"config.yaml holds more than {MOST_ENTRIES} values or {DEEPEST} levels, anchors counted; shorten it"
            ]
        key = ".".join(path) or "config.yaml"
        if isinstance(value, dict):
            has_epochs = path[:1] == ("experiments",) and path[2:] == ("log_px",)
            for name in value:
                if has_epochs and not isinstance(name, str):
                    continue  # a number, as it should be, or what is said of epochs later
                if not isinstance(name, str):
                    problems.append(
                        f"{key} has a key that is no text but a {type(name).__name__}; write it with quotes"
                    )
                elif oddity := _oddity(name):
                    problems.append(f"{key} has a key that is {oddity}")
            waiting += [
                ((*path, str(name)), entry) for name, entry in value.items() if has_epochs or isinstance(name, str)
            ]
        elif isinstance(value, list):
            waiting += [((*path, str(position)), entry) for position, entry in enumerate(value)]
        elif oddity := _oddity(value):
            problems.append(f"{key} is {oddity}")
    return problems


def _oddity(value: Any) -> str | None:
    match value:
        case str() if len(value) > LONGEST:
            return f"a text of {len(value)} characters; at most {LONGEST} are allowed"
        case str() if not value.isprintable():
            return f"{SHORT.repr(value)}; control characters and line ends are not allowed"
        case int() if abs(value) >= 2**63:
            return "a whole number of more than 64 bits"
        case float() if not math.isfinite(value):
            return f"{value}, not a finite number"
        case str() | bool() | int() | float() | None:
            return None
        case _:
            return f"{SHORT.repr(value)}, a {type(value).__name__}; write a text (with quotes), a number, a list or a mapping"


def _explain(error: ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path)) or "config.yaml"
    value = error.instance
    shown = "empty (null)" if value is None else SHORT.repr(value)
    match error.validator:
        case "additionalProperties":
            return _explain_unknown_key(error, key)
        case "required":
            missing = [name for name in error.validator_value if name not in value]
            instead = "; or give log p in files by log_px: docs/own_log_px.md" if "model" in missing else ""
            return f"{key} lacks {', '.join(missing)}{instead}"
        case "enum":
            choices = ", ".join(
                f'"{choice}" (with quotes)' if choice == "null" else choice for choice in error.validator_value
            )
            return f"{key} is {shown}; choose {choices}"
        case "type":
            return f"{key} is {shown}, not {_a(error.validator_value)}{_hint(value, error.validator_value, key)}"
        case "minItems" | "maxItems":
            bound = "at least" if error.validator == "minItems" else "at most"
            return f"{key} is {shown}; it must have {bound} {error.validator_value} entries"
        case "minimum" | "minProperties":
            return f"{key} is {shown}; it must be at least {error.validator_value}"
        case "exclusiveMinimum":
            return f"{key} is {shown}; it must be above {error.validator_value}"
        case "maximum":
            return f"{key} is {shown}; it must not be above {error.validator_value}"
        case "exclusiveMaximum":
            return f"{key} is {shown}; it must be below {error.validator_value}"
        case "pattern":
            return f"{key}: the name {shown} may hold only letters, digits, '.', '_' and '-', 64 at most, a letter or digit first"
        case "not":
            return f"{key}: the name {shown} is reserved; choose another"
        case "oneOf":
            return f"{key} is {shown}; {_choose_kind(value)}"
        case "anyOf":
            return f"{key} is {shown}; write white, black or a colour such as '#808080' (with quotes)"
        case "uniqueItems":
            return f"{key} is {shown}; it must not name anything twice"
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


def _choose_kind(definition: dict[str, Any]) -> str:
    """What to write in an entry of `datasets` that has no kind, or several."""
    kinds = ["subset_of", "canaries_of", *KINDS]
    there = [kind for kind in kinds if kind in definition]
    if there:
        return f"its images come from {' and '.join(there)}; write one of them"
    close = [match for key in definition for match in difflib.get_close_matches(key, kinds, 1)]
    advice = f"; did you mean {close[0]}?" if close else ""
    ways = "{subset_of, train, test}, {canaries_of}, {folder}, {npz}, {hdf5}, {manifold, train, test}"
    return f"write one of {ways}{advice}"


def _hint(value: Any, kind: str | list[str], key: str) -> str:
    """How to write what is meant. YAML reads 1e-3 as text, and a path alone is no data set."""
    if isinstance(value, str) and kind == "object" and key.startswith("datasets."):
        return f"; write {{folder: {value}}}, or npz or hdf5 for arrays" if value else ""
    try:
        return f"; write {Decimal(value):f}" if isinstance(value, str) and kind == "number" else ""
    except InvalidOperation:
        return ""


def _inconsistencies(config: dict[str, Any]) -> list[str]:
    """Mistakes between keys, which the schema cannot see."""
    experiments, estimators = config["experiments"], config["estimators"]
    problems = [
        f"run names {name!r}, which is no experiment; {suggest(name, experiments)}"
        for name in config["run"]
        if name not in experiments
    ]
    root = config.get("data_root")
    if root is not None and not os.path.isdir(expanded(root)):  # unlike Path's, it does not raise on a name too long
        problems.append(
            f"data_root: folder {root!r} does not exist{absent(root)}; give a folder with data sets as published, or null"
        )
    defined = config.get("datasets") or {}
    known = [*datasets.known(), *defined]
    for name, definition in defined.items():
        source = definition.get("subset_of")
        if name in datasets.known():
            problems.append(f"datasets.{name}: this name is built in; choose another")
        if source is not None and source not in datasets.known():
            problems.append(f"datasets.{name}.subset_of is {source!r}; {suggest(source, datasets.known())}")
        elif source is not None:
            problems += _in_subset(name, definition)
        if "canaries_of" in definition:
            problems += _in_canaries(name, defined)
        if "manifold" in definition:
            problems += [f"datasets.{name}{mistake}" for mistake in mistakes_in_manifold(definition)]
        black, white = definition.get("value_range", (0, 1))
        if black >= white:
            problems.append(
                f"datasets.{name}.value_range is {[black, white]}; the first number is black, and below white"
            )
    for name, experiment in experiments.items():
        of_experiment = in_experiment(experiment, known, estimators, defined)
        problems += [f"experiments.{name}.{problem}" for problem in of_experiment]
    for name, reproduction in config.get("reproductions", {}).items():
        problems += [f"reproductions.{name}{problem}" for problem in _in_reproduction(name, reproduction, experiments)]
    return problems


def _in_subset(name: str, definition: dict[str, Any]) -> list[str]:
    """A subset that is larger than what it is drawn from."""
    source = definition["subset_of"]
    there = dict(zip(("train", "test"), images_of(source) or (), strict=False))
    return [
        f"datasets.{name}.{part} is {definition[part]}; {source} has {most} {part} images to draw from"
        for part, most in there.items()
        if definition[part] > most
    ]


def _in_canaries(name: str, defined: dict[str, Any]) -> list[str]:
    """Canaries in a data set that is unknown, has canaries itself, or has too few images."""
    definition = with_source(name, defined)
    source, known = definition["canaries_of"], [*datasets.known(), *defined]
    if source not in known:
        return [f"datasets.{name}.canaries_of is {source!r}, which is unknown; {suggest(source, known)}"]
    if "canaries_of" in defined.get(source, {}):
        return [
            f"datasets.{name}.canaries_of is {source!r}, which has canaries itself; name a data set without canaries"
        ]
    planted, there = number_planted(definition), images_of(source, defined.get(source))
    if there is not None and planted >= there[0]:
        return [
            f"datasets.{name} plants {planted} images in place of training images, of which {source} has {there[0]}; plant fewer"
        ]
    return []


def _in_reproduction(name: str, reproduction: dict[str, str], experiments: dict[str, Any]) -> list[str]:
    problems = [": an experiment has this name, too; choose another"] if name in experiments else []
    for published, ours in reproduction.items():
        if ours not in experiments:
            problems.append(f".{published} is {ours!r}, which is no experiment; {suggest(ours, experiments)}")
            continue
        if is_given(experiments[ours]) or is_audited(experiments[ours]):
            what = "whose log p is given" if is_given(experiments[ours]) else "which audits a checkpoint"
            problems.append(f".{published} is {ours!r}, {what}; the paper's experiments train models")
            continue
        for estimator in AS_PUBLISHED_AND_CORRECTED.values():
            if estimator not in experiments[ours]["estimators"]:
                problems.append(f".{published} is {ours!r}, whose estimators lack {estimator!r}; add it there")
    return problems
