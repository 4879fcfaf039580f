"""Measures of memorization by engram and by their authors' programs: the same arrays, process and thread, taking turns.

    uv run --with kronfluence==1.0.1 --with dattri==0.3.0 --with traker==0.3.2 --with seaborn \
        python benchmarks/measures_against_peers.py --peers FOLDER

FOLDER holds clones of the public GitHub repositories below, each under its own name. The other three programs are packages on
PyPI, and seaborn is what FLD needs besides. Nothing of them is edited or copied. What is missing is said and left out.

    ml_privacy_meter    privacytrustlab/ml_privacy_meter   e384af8fd931
    privacy             tensorflow/privacy                 03035d5d4a27, of which research/mi_lira_2021
    data-copying        casey-meehan/data-copying          a0ba2db5b42d
    dgm-eval            layer6ai-labs/dgm-eval             74c79f7527fb
    fld                 marcojira/fld                      ffbbf2041115

The first table holds each quantity by both programs, the second the times. Where a convention or a fault parts them, a second
row shows that with it engram has the peer's number. The script fails where they disagree otherwise. docs/peers.md has the
tables as measured.
"""

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import peer_attacks
import peer_attributions
import peer_copies
import peer_gradients
import torch
from common import print_table
from peer_programs import DISAGREES, Comparison, Peer

PEERS = [
    Peer("privacy_meter", "ml_privacy_meter/attacks.py", peer_attacks.rmia),
    Peer("LiRA", "privacy/research/mi_lira_2021/plot.py", peer_attacks.lira),
    Peer("data-copying", "data-copying/data_copying_tests.py", peer_copies.statistic),
    Peer("dgm-eval", "dgm-eval/dgm_eval/metrics/ct.py", peer_copies.statistic_of_dgm_eval),
    Peer("dgm-eval", "dgm-eval/dgm_eval/metrics/authpct.py", peer_copies.authenticity),
    Peer("FLD", "fld/fld/metrics/FLD.py", peer_copies.gap),
    Peer("dattri", "dattri", peer_gradients.attributors),
    Peer("kronfluence", "kronfluence.analyzer", peer_gradients.factored_curvature),
    Peer("traker", "trak.score_computers", peer_attributions.trak),
    Peer("dattri", "dattri.metric", peer_attributions.linear_datamodeling_score),
]


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        compared = list(_comparisons(options.peers))
        values = [comparison.values(name) for name, comparison in compared]
        if not values:
            return
        print_table(values)
        print(f"\nprocessor time of one thread, median of {options.rounds} rounds; of ratios also lowest and highest\n")
        print_table([comparison.times(name, options.rounds) for name, comparison in compared if comparison.timed])
    wrong = [row["quantity"] for row in values if row["verdict"] == DISAGREES]
    if wrong:
        raise SystemExit(f"engram and its peers should agree, and do not: {'; '.join(wrong)}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder with the peers' repositories")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)


def _comparisons(peers: Path) -> Iterator[tuple[str, Comparison]]:
    """Of every peer that is there, with its name."""
    for peer in PEERS:
        try:
            module = peer.load(peers)
        except (FileNotFoundError, ImportError) as missing:
            print(f"{peer.name} ({peer.source}) is left out: {missing}")
            continue
        for comparison in peer.compare(module):
            yield peer.name, comparison


if __name__ == "__main__":
    main()
