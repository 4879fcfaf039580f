"""The command `engram`: each subcommand reads files, calls one public function, and writes its table."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

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
            print(f"engram: error: {error}", file=sys.stderr)
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


COMMANDS = (_add_score,)
