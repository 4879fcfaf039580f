"""The benchmark beside the peers' programs: what is missing is said, what disagrees is found; stand-ins take the peers' places."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from engram.analyses import attacks

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import measures_against_peers  # noqa: E402
import peer_attacks  # noqa: E402
import peer_programs  # noqa: E402
from peer_attacks import LogP, peers_shadows  # noqa: E402
from peer_programs import Comparison, Peer, largest_difference  # noqa: E402

# C_T by counting pairs, in a module with the interface of the published program; SHIFT is a fault to be found.
DATA_COPYING = """
    import numpy as np
    SHIFT = {shift}
    def Zu(Pn, Qm, T):
        fresh, samples = (np.linalg.norm(rows[:, None] - T, axis=2).min(1) for rows in (Pn, Qm))
        n, m = len(fresh), len(samples)
        u = (samples[:, None] > fresh).sum() + (samples[:, None] == fresh).sum() / 2
        return np.array([(u - m * n / 2 + 0.5) / np.sqrt(m * n * (m + n + 1) / 12) + SHIFT])
    def C_T(Pn, Pn_cells, Qm, Qm_cells, T, T_cells, tau):
        shares, total = 0.0, 0.0
        for cell in np.unique(T_cells):
            parts = [rows[cells == cell] for rows, cells in ((Pn, Pn_cells), (Qm, Qm_cells), (T, T_cells))]
            if len(parts[1]) / len(Qm) > tau:
                z = Zu(*parts)
                assert isinstance(z, float), "an array of one is no number any more"
                shares, total = shares + len(parts[0]), total + len(parts[0]) * z
        return total / shares
    """


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def from_files(monkeypatch):
    """Only the peers that are read from files, of which a folder may have none."""
    of_files = [peer for peer in measures_against_peers.PEERS if peer.source.endswith(".py")]
    monkeypatch.setattr(measures_against_peers, "PEERS", of_files)
    return of_files


def write(folder: Path, shift: float) -> None:
    (folder / "data-copying").mkdir()
    code = textwrap.dedent(DATA_COPYING.format(shift=shift))
    (folder / "data-copying" / "data_copying_tests.py").write_text(code)


def test_without_any_peer_it_says_which_are_missing_and_ends_well(tmp_path, capsys, from_files):
    measures_against_peers.main(["--peers", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    left_out = [line for line in lines if "left out" in line]
    assert len(left_out) == len(from_files) and str(tmp_path / from_files[0].source) in left_out[0]
    assert not any(line.startswith("|") for line in lines)


def test_a_package_that_is_not_installed_is_left_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measures_against_peers, "PEERS", [Peer("nobody's", "no_such_package.part", list)])
    measures_against_peers.main(["--peers", str(tmp_path)])
    assert "nobody's (no_such_package.part) is left out: No module named 'no_such_package'" in capsys.readouterr().out


def test_a_peer_that_is_there_gets_its_rows_and_times(tmp_path, capsys, from_files):
    write(tmp_path, shift=0)
    paths = list(sys.path)
    measures_against_peers.main(["--peers", str(tmp_path), "--rounds", "1"])
    rows = [
        line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "| data-copying |" in line
    ]
    values, times = rows[:3], rows[3:]
    assert [row[5] for row in values] == ["agrees"] * 3 and [row[0] for row in times] == [row[0] for row in values]
    copying, best, under_fitting = (float(row[2]) for row in values)
    assert copying < -5 < best < 5 < under_fitting
    assert sys.path == paths


def test_a_peer_that_disagrees_makes_it_fail(tmp_path, capsys, from_files):
    write(tmp_path, shift=0.01)
    with pytest.raises(SystemExit, match="C_T, copying; C_T, at the best"):
        measures_against_peers.main(["--peers", str(tmp_path), "--rounds", "1"])
    assert peer_programs.DISAGREES in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "theirs", "within", "verdict"),
    [
        (1.0, 1.0, 0.0, "agrees"),
        (1.0, 1.2, 0.1, "DISAGREES"),
        (1.0, np.nan, 0.1, "DISAGREES"),
        (1.0, 2.0, None, "differs"),
    ],
)
def test_a_verdict_on_two_numbers(ours, theirs, within, verdict):
    row = Comparison("number", lambda: ours, lambda: theirs, within, "").values("peer")
    assert row["verdict"] == verdict and row["engram"] == "1"


def test_differences_of_arrays():
    nan = np.nan
    assert largest_difference(np.array([1.0, nan, np.inf]), np.array([0.5, nan, np.inf])) == 0.5
    assert largest_difference(np.array([1.0, 2.0]), np.array([1.0, nan])) == np.inf
    with pytest.raises(ValueError, match="shape"):
        largest_difference(np.zeros(2), np.zeros(3))


def test_shadows_of_the_lira_program_by_hand():
    """In: 0, 1, 5 of the first image and 2, 4, 6 of the second. Out: one value each."""
    log_px = np.array([[0.0, 2], [1, 4], [5, 6], [-1, -2]])
    shadows = peers_shadows(log_px, np.array([[True, True]] * 3 + [[False, False]]))
    assert shadows.mean_in.tolist() == [1, 4] and shadows.mean_out.tolist() == [-1, -2]
    assert shadows.sd_in == pytest.approx([np.sqrt(14 / 3), np.sqrt(8 / 3)])
    assert shadows.fixed_sd_out == shadows.fixed_sd_in == pytest.approx(np.std([0, 1, 5, 2, 4, 6]))


def test_made_up_log_p_has_the_known_separation():
    """AUC of calibrated scores: Phi(gain / root of both variances, and that of the mean of the shadows)."""
    log_p = LogP.drawn()
    assert (log_p.is_in[::2] != log_p.is_in[1::2]).all() and (log_p.is_in.sum(1) == peer_attacks.IMAGES / 2).all()
    noise_in, noise_out = peer_attacks.NOISE_IN**2, peer_attacks.NOISE_OUT**2
    of_means = 2 * noise_out / (peer_attacks.PAIRS - 1)
    area = norm.cdf(peer_attacks.GAIN / np.sqrt(noise_in + noise_out + of_means))
    assert log_p.area(attacks.calibrated(log_p.x[:2], log_p.shadows, None)) == pytest.approx(area, abs=0.012)
