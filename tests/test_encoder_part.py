"""The encoder part of a score, by hand and for an encoder whose shortfall is known."""

import numpy as np
import pytest
from matplotlib.text import Text

from engram.analyses import encoder_part, stage
from engram.analyses.encoder_part import decompose, read_interval, summarize
from engram.designs.membership import design
from engram.errors import UserError
from engram.figures import style
from engram.figures.encoder_part import encoder_part as draw
from engram.files import artifacts, provenance
from engram.files.artifacts import variable
from engram.scores.statistics import log_mean_exp, memorization_scores

N, EPOCHS = 500, [20, 40]
SHORTFALL = {True: 1.1, False: 2.2}  # nats, under models that saw the image and that did not


def estimates(rng, statistic="mean_log"):
    """Scores, U and V at two epochs by a perfect proposal and by an encoder that falls short by SHORTFALL on average."""
    membership = design({"design": "k_fold", "folds": 5, "repeats": 4}, np.zeros(N), np.full(N, -1), 42, "made up")
    is_in = membership.counted_as_in
    log_px = [rng.normal(-90, 4, is_in.shape) + epoch / 8 * is_in for epoch in EPOCHS]
    fall = [np.where(is_in, *SHORTFALL.values()) + rng.normal(0, 0.3, N) for _ in EPOCHS]

    def by(values):
        return {
            "score": np.array([memorization_scores(v, is_in, statistic) for v in values]),
            "log_p_in": np.array([log_mean_exp(v, is_in) for v in values]),
            "log_p_out": np.array([log_mean_exp(v, ~is_in) for v in values]),
        }

    return by([v - f for v, f in zip(log_px, fall, strict=True)]), by(log_px)


@pytest.fixture
def score_paths(tmp_path, rng):
    """Score artifacts of both, with attributes that `attributes` can change."""

    def write(**attributes):
        paths = {name: tmp_path / f"{name}.h5" for name in ("encoder_fixed", "corrected")}
        for (name, path), values in zip(paths.items(), estimates(rng), strict=True):
            variables = {"epoch": variable(("epoch",), EPOCHS, "1", "epoch")}
            variables["sample"] = variable(("sample",), 3 + np.arange(N), "1", "sample")
            values |= {"standard_error": np.ones((len(EPOCHS), N))}
            variables |= {key: variable(("epoch", "sample"), value, "nats", key) for key, value in values.items()}
            not_read = dict.fromkeys(("label", "p_value", "q_value"), np.zeros(N))
            variables |= {key: variable(("sample",), value, "1", key) for key, value in not_read.items()}
            changed = attributes if name == "corrected" else {}
            artifacts.write(path, "scores", variables, {"statistic": "mean_log", "dataset_sha256": "0" * 64} | changed)
        return paths

    return write


def analysed(paths, folder):
    output = folder / "encoder_part.h5"
    stage.run("encoder_part", {"scores": [*paths.values()]}, [*paths], output, "made_up", 42)
    return artifacts.read(output, "encoder_part")


def test_two_images_by_hand():
    encoder = {"score": np.array([5.0, 1]), "log_p_in": np.array([-91.0, -80]), "log_p_out": np.array([-96.0, -81])}
    laplace = {"score": np.array([3.0, 1.5]), "log_p_in": np.array([-90.0, -80]), "log_p_out": np.array([-93.0, -81.5])}
    parts = decompose(encoder, laplace)
    np.testing.assert_allclose(parts.encoder_part, [2, -0.5])
    np.testing.assert_allclose(parts.decoder_part, [3, 1.5])
    np.testing.assert_allclose(parts.shortfall_in, [1, 0])
    np.testing.assert_allclose(parts.shortfall_out, [3, -0.5])


@pytest.mark.parametrize("statistic", ["mean_log", "log_mean_exp"])
def test_an_encoder_that_falls_short_by_more_on_held_out_images_adds_just_that_to_the_score(rng, statistic):
    parts = decompose(*estimates(rng, statistic))
    np.testing.assert_allclose(parts.encoder_part, 1.1, atol=1e-9)
    np.testing.assert_allclose(parts.shortfall_out - parts.shortfall_in, 1.1, atol=1e-9)
    assert parts.shortfall_in.mean() == pytest.approx(1.1, abs=0.05)


def test_an_encoder_as_good_on_images_it_never_saw_has_no_part_in_the_score(rng):
    _, laplace = estimates(rng)
    encoder = {key: value - (0 if key == "score" else 1.7) for key, value in laplace.items()}
    parts = decompose(encoder, laplace)
    assert not parts.encoder_part.any()
    np.testing.assert_allclose([parts.shortfall_in, parts.shortfall_out], 1.7)


def test_the_summary_counts_images_above_one_nat_and_covers_the_mean(rng):
    encoder = np.repeat([0.5, 1.0, 1.5, 3.0], 25)
    decoder = encoder**3
    found = summarize(encoder_part.Parts(encoder, decoder, encoder, 2 * encoder))
    assert found["share_above_1_nat"].estimate == 0.5
    assert found["mean"].low < found["mean"].estimate == 1.5 < found["mean"].high
    assert found["mean_shortfall_out"].estimate == 3
    assert found["spearman"].estimate == pytest.approx(1)


def test_the_artifact_holds_every_epoch_and_sums_up_the_last(score_paths, tmp_path):
    found = analysed(score_paths(), tmp_path)
    assert found["encoder_part"].dims == ("epoch", "sample")
    assert found["epoch"].values.tolist() == EPOCHS and found["sample"].values[0] == 3
    assert all(found[name].units == "nats" for name in encoder_part.Parts._fields)
    assert found.attrs["mean"] == pytest.approx(1.1) and found.attrs["share_above_1_nat"] == 1
    assert read_interval(found, "mean_shortfall_out").estimate == pytest.approx(
        float(found["shortfall_out"].sel(epoch=40).mean())
    )
    assert (found.attrs["encoder_estimator"], found.attrs["laplace_estimator"]) == ("encoder_fixed", "corrected")
    assert set(provenance.attributes("made_up", 42, {})) <= set(found.attrs)


@pytest.mark.parametrize("changed", [{"statistic": "log_mean_exp"}, {"dataset_sha256": "1" * 64}])
def test_scores_that_differ_in_more_than_the_proposal_are_refused(score_paths, tmp_path, changed):
    with pytest.raises(UserError, match=rf"{next(iter(changed))} of the scores by encoder_fixed is .* by corrected"):
        analysed(score_paths(**changed), tmp_path)


def test_scores_of_other_images_are_refused(score_paths, tmp_path):
    paths = score_paths()
    fewer = artifacts.read(paths["corrected"], "scores").isel(sample=slice(10))
    fewer.to_netcdf(paths["corrected"], engine="h5netcdf")
    with pytest.raises(UserError, match="axis sample of the scores by encoder_fixed differs"):
        analysed(paths, tmp_path)


def test_the_figure_is_saved_and_states_the_mean(score_paths, tmp_path):
    drawn = draw(analysed(score_paths(), tmp_path))
    assert all(axes.get_xlabel() for axes in drawn.axes)
    texts = " ".join(text.get_text() for text in drawn.findobj(Text))
    assert "mean 1.10 [1.10, 1.10]" in texts and "100 % of images" in texts
    assert len(drawn.axes[1].lines[0].get_xdata()) == N
    style.save(drawn, tmp_path / "figure.pdf", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
