"""Measures of memorization by engram and by the programs of their authors, on the same arrays and one thread, in turns.

uv run python benchmarks/measures_against_peers.py --peers FOLDER
"""

import argparse
import warnings
from pathlib import Path

import peer_attacks
import peer_attributions
import torch
from common import print_table
from peer_programs import DISAGREES, Peer

PEERS = [
    Peer("privacy_meter", "ml_privacy_meter/attacks.py", peer_attacks.rmia),
    Peer("LiRA", "privacy/research/mi_lira_2021/plot.py", peer_attacks.lira),
    Peer("traker", "trak.score_computers", peer_attributions.trak),
    Peer("dattri", "dattri.metric", peer_attributions.linear_datamodeling_score),
]


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(1)
    rows = []
    for peer in PEERS:
        try:
            module = peer.load(options.peers)
        except (FileNotFoundError, ImportError) as missing:
            print(f"{peer.name} is left out: {missing}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows += [comparison.row(peer.name, options.rounds) for comparison in peer.compare(module)]
    if rows:
        print_table(rows, options.csv)
    if any(row["verdict"] == DISAGREES for row in rows):
        raise SystemExit("engram and a peer disagree where they should not")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", type=Path, required=True, help="folder with the peers' repositories, each by its name"
    )
    parser.add_argument("--rounds", type=int, default=7, help="times are medians over so many rounds")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
