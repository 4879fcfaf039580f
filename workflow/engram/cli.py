"""The command `engram`: each subcommand reads files, calls one public function, and writes its table."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engram
from engram.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit code 0, 1 after a mistake in what was given, 2 for a command that cannot be parsed."""
    parser = argparse.ArgumentParser(prog="engram", description=engram.__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"engram {engram.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    chosen = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = _one_line
        try:
            chosen.run(chosen)
        except UserError as error:
            for line in str(error).splitlines():
                print(f"engram: error: {line}", file=sys.stderr)
            return 1
    return 0


def _one_line(message: Warning | str, *_: object) -> None:
    print(f"engram: warning: {message}", file=sys.stderr)


def _add_score(commands) -> None:
    says = "memorization scores from log p of images under models and what each model was trained on"
    parser = commands.add_parser(
        "score",
        help=says,
        description=f"{says.capitalize()}: docs/python.md, `engram.score`.",
        epilog="Files are .npy, .npz, .csv or .h5; FILE:NAME picks one array of several.",
    )
    parser.add_argument("log_px", metavar="LOG_PX", help="log p in nats, a row a model and a column an image")
    parser.add_argument("in_training", metavar="IN_TRAINING", help="1 where the model was trained on the image, else 0")
    parser.add_argument(
        "--repeat", metavar="FILE", help="each model's split of the data; left out, the training sets are independent"
    )
    parser.add_argument("--output", metavar="FILE", required=True, help="where the table goes, as .csv")
    parser.set_defaults(run=_score)


def _score(chosen: argparse.Namespace) -> None:
    from engram.files import atomic, matrices
    from engram.scores.permutation import FDR

    if Path(chosen.output).suffix != ".csv":
        raise UserError(f"--output: is {chosen.output}, must end in .csv")
    repeat = chosen.repeat and matrices.read_vector(chosen.repeat)
    table = engram.score(matrices.read(chosen.log_px), matrices.read(chosen.in_training), repeat)
    atomic.write(chosen.output, table.to_csv().encode())
    memorized = int((table["q_value"] <= FDR).sum())
    says = f"{memorized} of {len(table)} images are memorized at a false discovery rate of {FDR:.0%}"
    print(f"{chosen.output}: {f'scores of {len(table)} images' if table['q_value'].hasnans else says}")


def _add_check(commands) -> None:
    says = "what is wrong with a model, found on one small batch"
    parser = commands.add_parser(
        "check",
        help=says,
        description=f"{says.capitalize()}, as every run looks before it trains: docs/own_model.md. Nothing is trained.",
        epilog="A setting is NAME=VALUE, the value as in config.yaml: latent_dim=16, hidden=[64,32].",
    )
    parser.add_argument("model", metavar="MODEL", help="a name as in config.yaml, or module:Class from this folder")
    parser.add_argument("--image-shape", metavar="N", type=int, nargs=3, required=True, help="channels height width")
    parser.add_argument("--setting", metavar="NAME=VALUE", action="append", default=[], help="repeat it for several")
    parser.set_defaults(run=_check)


def _check(chosen: argparse.Namespace) -> None:
    import torch

    from engram.checks.stage import check

    torch.set_num_threads(1)  # as the rule has; for one small batch, more threads wait for one another
    sys.path += [folder for folder in [os.getcwd()] if folder not in sys.path]  # for a module of the user's own
    outcome = check(chosen.model, tuple(chosen.image_shape), dict(map(_setting, chosen.setting)))
    left_out = "".join(f"; not checked: {line}" for line in outcome.not_checked)
    says = f"checked: {', '.join(outcome.checked) or 'nothing'}{left_out}"
    try:
        outcome.raise_findings(chosen.model)
    finally:
        print(says)


def _add_audit(commands) -> None:
    says = "what a diffusion model that someone else trained remembers of given images"
    parser = commands.add_parser(
        "audit",
        help=says,
        description=f"{says.capitalize()}: docs/audit.md. An audit that was ended goes on where it was.",
    )
    parser.add_argument("checkpoint", metavar="FOLDER", help="folder as diffusers' save_pretrained writes it")
    parser.add_argument("--images", metavar="FOLDER", required=True, help="images asked about")
    parser.add_argument("--training", metavar="FOLDER", help="images that it was trained on")
    parser.add_argument("--held-out", metavar="FOLDER", help="images like those that it was not trained on")
    parser.add_argument("--prompts", metavar="CSV", help="for models of text: the columns image (its file) and prompt")
    parser.add_argument(
        "--output", metavar="FOLDER", required=True, help="where audit.h5, audit.csv and report.html go"
    )
    parser.add_argument("--resize", action="store_true", help="resize the middle squares of images of other sizes")
    parser.add_argument("--half", action="store_true", help="compute in half precision, and measure its error")
    says = "draw all samples again, by embeddings of the prompts moved to this share of the median guidance norm, such as 0.5"
    parser.add_argument("--prevent", metavar="SHARE", type=float, help=says)
    for name, says in AUDIT_NUMBERS.items():
        parser.add_argument(f"--{name}", metavar="N", type=int, help=says)
    parser.set_defaults(run=_audit)


AUDIT_NUMBERS = {
    "samples": "samples that are compared with the training images (1000)",
    "steps": "steps of each sample (250, with prompts 50)",
    "evaluations": "evaluations of each bound, a multiple of 4 (64)",
    "probes": "directions that estimate each dimension; 0: all of them (16)",
    "judged": "training images, and held-out ones, that are judged at most (1000)",
    "batch": "images at once (16)",
    "seed": "root of all random numbers (42)",
}


def _audit(chosen: argparse.Namespace) -> None:
    import torch

    from engram.audit import stage
    from engram.audit.given import Asked
    from engram.report import audit as page

    given = {name: value for name, value in vars(chosen).items() if name in Asked._fields and value is not None}
    keys = {name: f"--{name.replace('_', '-')}" for name in Asked._fields} | {"checkpoint": "checkpoint"}
    output = Path(chosen.output)
    stage.run(Asked(**given), output, keys, threads=torch.get_num_threads())
    page.write(output / "report.html", output / "audit.h5")
    print(f"{output}: audit.h5, audit.csv and report.html")


def _setting(text: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE; the value as config.yaml would read it."""
    import yaml

    name, equals, value = text.partition("=")
    try:
        return name, yaml.safe_load(value if equals else "[")
    except yaml.YAMLError:
        raise UserError(f"--setting: is {text!r}, must be NAME=VALUE, such as latent_dim=16") from None


COMMANDS = (_add_score, _add_check, _add_audit)
