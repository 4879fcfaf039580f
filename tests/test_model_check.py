"""The check of a model before it trains: wrong models are answered in one line each, right ones pass, and it takes seconds."""

import inspect
import json
import math
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import right_models
import sound_models
import workspace
import wrong_models
from engram import cli
from engram.checks import stage, tiny
from engram.checks.density import DRAWS, Ratios, standard_errors
from engram.checks.examination import Uses, examine
from engram.checks.findings import Outcome
from engram.errors import UserError
from engram.files import artifacts
from engram.files.kept import digest
from engram.files.layout import Layout
from engram.models.known import KNOWN, known_models
from engram.models.samples import sample
from engram.report import page
from workspace import edit, planned, snakemake

SHAPE = (1, 4, 4)
NEEDS_SAMPLE = ("neighbors", "mode_collapse")

# What the one line must say: class and method, and what was found there.
WRONG = {
    "NoObjective": ["NoObjective lacks forward(x, noise)"],
    "UnknownObservation": ["UnknownObservation.observation", "binary, logit, pixels or centred", "'grey'"],
    "NoWayToLogP": ["NoWayToLogP.log_prob", "encode, decode and log_prob_given_latent, or log_prob, or bound", "none"],
    "NoDecoder": ["NoDecoder.decode", "no decode"],
    "FailsToBuild": ["wrong_models.py, line", "in __init__: ZeroDivisionError"],
    "TextForANumber": ["experiments.mine.model.latent_dim: is '16', must be a whole number"],
    "FailsInDecode": ["FailsInDecode.forward", "wrong_models.py, line", "in decode: RuntimeError"],
    "FailsInBatchesOfOne": ["FailsInBatchesOfOne.encode", "x (1, 1, 4, 4)", "ValueError: I need two images"],
    "ObjectiveOfTheBatch": ["ObjectiveOfTheBatch.forward", "(8,)", "found ()"],
    "ObjectivePerPixel": ["ObjectivePerPixel.forward", "(8,)", "found (8, 16)"],
    "ObjectiveIsATuple": ["ObjectiveIsATuple.forward", "found a tuple"],
    "EncodesOneTensor": ["EncodesOneTensor.encode", "mean and log-variance", "found (8, 6)"],
    "EncodesTransposed": ["EncodesTransposed.encode", "(8, 3)", "found (3, 8)"],
    "SqueezesBatchesOfOne": ["SqueezesBatchesOfOne.log_prob", "(1,)", "found ()"],
    "MergesLeadingAxes": ["MergesLeadingAxes.decode", "(3, 8, 16)", "found (24, 16)"],
    "IgnoresLeadingAxes": ["IgnoresLeadingAxes.log_prob_given_latent", "each sample alone", "other values"],
    "SumsOverSamples": ["SumsOverSamples.log_prob_given_latent", "(3, 8)", "found (8,)"],
    "InformationOfOtherShape": ["InformationOfOtherShape.information", "(8, 16)", "found (8,)"],
    "NegativeInformation": ["NegativeInformation.information", "at least 0"],
    "MeanIsLogits": ["MeanIsLogits.mean", "in [0, 1]"],
    "MeanIsFlat": ["MeanIsFlat.mean", "(8, 1, 4, 4)", "found (8, 16)"],
    "SampleIsFlat": ["SampleIsFlat.sample", "(3, 1, 4, 4)", "found (3, 16)"],
    "DependsOnNeighbours": ["DependsOnNeighbours.encode", "do not depend on the others of its batch"],
    "DependsOnNeighboursInLogP": ["DependsOnNeighboursInLogP.log_prob", "do not depend on the others of its batch"],
    "UnusedParameters": ["UnusedParameters.forward", "forgotten.bias, forgotten.weight without gradient"],
    "Lazy": ["Lazy.__init__", "decoder.0.weight uninitialized"],
    "NothingToTrain": ["NothingToTrain.__init__", "at least one parameter"],
    "ReassignsABuffer": ["ReassignsABuffer.forward", "seen replaced"],
    "ChangesX": ["ChangesX.forward", "x changed in place, in training mode"],
    "ChangesXInEvaluation": ["ChangesXInEvaluation.log_prob", "x changed in place, in evaluation mode"],
    "ChangesNoise": ["ChangesNoise.forward", "noise changed in place"],
    "ChangesNoiseInDraw": ["ChangesNoiseInDraw.forward", "noise changed in place"],
    "NotFinite": ["NotFinite.log_prob_given_latent", "nan in evaluation mode"],
    "NotFiniteInEvaluation": ["NotFiniteInEvaluation.log_prob_given_latent", "infinity in evaluation mode"],
    "NotFiniteInTraining": ["NotFiniteInTraining.forward", "nan in training mode"],
    "GradientNotFinite": ["GradientNotFinite.forward", "finite gradients", "encoder_mean.bias"],
    "DropoutAlways": ["DropoutAlways.decode", "same values at every call in evaluation mode"],
    "NoiseOfItsOwn": ["NoiseOfItsOwn.forward", "same values at every call in evaluation mode"],
    "RandomLogP": ["RandomLogP.log_prob", "same values at every call in evaluation mode"],
    "WeightsByNumpy": ["WeightsByNumpy.__init__", "same initial weights", "shift", "numpy"],
    "NoiseByNumpy": ["NoiseByNumpy.forward", "under the same torch seed, in training mode", "numpy"],
    "Detached": ["Detached.forward", "an objective with a gradient", "no_grad"],
    "Item": ["Item.forward", "an objective with a gradient", ".item()"],
    "PositiveLogP": ["PositiveLogP.log_prob_given_latent", "at most 0 nats", "binary"],
    "PositiveExactLogP": ["PositiveExactLogP.log_prob", "at most 0 nats"],
    "MeanOverPixels": ["MeanOverPixels.log_prob_given_latent", "summed over pixels"],
    "MeanOverPixelsOfFixedSize": ["MeanOverPixelsOfFixedSize.log_prob_given_latent", "summed over pixels"],
    "MeanOverPixelsNotDrawn": ["MeanOverPixelsNotDrawn.log_prob_given_latent", "sum over all 16 images of 1 x 2 x 2"],
    "SquaredErrorNotDrawn": ["SquaredErrorNotDrawn.log_prob_given_latent", "the integral over images of 1 x 1 x 2"],
    "SquaredErrorWithoutNormalizer": ["SquaredErrorWithoutNormalizer.log_prob_given_latent", "normalized density"],
    "FixedWithoutNormalizer": ["FixedWithoutNormalizer.log_prob_given_latent", "score about log_variance"],
    "WithoutTheHalf": ["WithoutTheHalf.log_prob_given_latent", "for x drawn by observe"],
    "TwiceTooCertain": ["TwiceTooCertain.log_prob", "for x drawn by sample(n, observation=True)"],
    "ExactMeanOverPixels": ["ExactMeanOverPixels.log_prob", "summed over pixels"],
    "InformationOfVariance": ["InformationOfVariance.information", "the Fisher information", "0.14 times that"],
    "InformationWithoutSquare": ["InformationWithoutSquare.information", "the Fisher information"],
    "RatioUpsideDown": ["RatioUpsideDown.propose", "log p(z) - log q(z | x)", " +- "],
    "RatioWithoutQ": ["RatioWithoutQ.propose", "log p(z) - log q(z | x)"],
    "DrawsImagesFirst": ["DrawsImagesFirst.propose", "z (samples, n, latent_dim)", "found (8, 3, 2)"],
    "PlainAttribute": ["PlainAttribute.__init__", "another objective after saving and loading"],
    "OneNoiseForAllPixels": ["OneNoiseForAllPixels.predict_noise", "(8, 1, 4, 4)", "found (8, 1, 1, 1)"],
    "OneGammaForAll": ["OneGammaForAll.predict_noise", "do not depend on the others of its batch"],
    "GammaOfABatchOfOne": ["GammaOfABatchOfOne.forward", "in predict_noise: RuntimeError"],
    "LossForABound": ["LossForABound.bound", "at most 0 nats", "binary"],
    "NoSample": ["NoSample has no sample(n, observation, generator)", "neighbors and mode_collapse", "experiments.mine.analyses"],
}  # fmt: skip

SETTINGS = {"TextForANumber": {"latent_dim": "16"}}


@pytest.fixture(autouse=True)
def one_thread():
    """As the rule has: for models this small, more threads wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def classes(module):
    own = (each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__)
    return [each.__name__ for each in own if issubclass(each, nn.Module)]


RIGHT = [f"sound_models:{name}" for name in classes(sound_models)]
RIGHT += [f"right_models:{model.__name__}" for model in right_models.RIGHT]


def images(shape=SHAPE, seed=0):
    levels = torch.randint(0, 256, (8, *shape), generator=torch.Generator().manual_seed(seed))
    return levels.to(torch.uint8)


def lines(outcome: Outcome):
    return [finding.line("experiments.mine.model") for finding in outcome.findings]


def test_the_table_has_every_wrong_model_and_more_than_thirty():
    assert {*WRONG} == {*classes(wrong_models)} and len(WRONG) > 30


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_model_is_answered_by_class_method_and_what_was_found(name):
    analyses = NEEDS_SAMPLE if name == "NoSample" else ()
    said = lines(examine(f"wrong_models:{name}", SETTINGS.get(name, {}), images(), Uses(analyses)))
    assert said[0].startswith("experiments.mine.model") and "\n" not in said[0]
    assert [words for words in WRONG[name] if words not in said[0]] == [], said
    assert len(said) == 1, said


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_model_passes_whatever_it_draws(name, seed):
    shape = (1, 3, 3) if name.startswith("right") else SHAPE
    assert lines(examine(name, {}, images(shape, seed), seed=seed)) == []


def test_a_check_leaves_torchs_own_stream_where_it_was():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    examine("right_models:Dropout", {}, images())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", [name for name in known_models() if "vae" in name])
def test_the_shipped_models_pass_and_all_of_them_is_checked(name):
    settings = {"latent_dim": 4} | ({"hidden": [32, 16]} if "mlp" in name else {"features": 2})
    shape = (1, 28, 28) if "mlp" in name else (1, 32, 32)
    outcome = examine(name, settings, images(shape))
    assert lines(outcome) == [] and outcome.not_checked == [] and "density given z" in outcome.checked


FAMILIES = {  # settings, and what is not checked
    "flow": ({"transforms": 2, "hidden": [16]}, 0),
    "unet_diffusion": ({"channels": [8, 8], "steps": 3}, 1),
    "gaussian": ({}, 0),
    "ppca": ({"latent_dim": 1}, 0),
    "kernel_density": ({"bandwidth": 0.5}, 0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_models_that_are_no_vae_pass_too(name):
    for extra in [needed for model, needed in {"flow": "zuko", "unet_diffusion": "diffusers"}.items() if model == name]:
        pytest.importorskip(extra)
    settings, open_questions = FAMILIES[name]
    uses = Uses(NEEDS_SAMPLE, {"e": "bound" if name == "unet_diffusion" else "exact"}, KNOWN[name].is_fitted)
    outcome = examine(name, settings, images(), uses)
    assert lines(outcome) == [] and len(outcome.not_checked) == open_questions, outcome.not_checked


@pytest.mark.parametrize(
    ("name", "uses", "words"),
    [
        ("sound_models:Exact", Uses(is_fitted=True), r"Exact has no fit\(x\).*state experiments.mine.training and"),
        ("gaussian", Uses(is_fitted=False), r"Gaussian has no forward.*leave out experiments.mine.training"),
        ("sound_models:Binary", Uses(proposals={"precise": "exact"}), "Binary has no log_prob, by which the estimator precise"),
        ("sound_models:Exact", Uses(proposals={"b": "bound"}), "Exact has no bound, by which the estimator b"),
    ],
)  # fmt: skip
def test_what_an_experiment_asks_and_a_model_lacks_is_named(name, uses, words):
    (line,) = lines(examine(name, {}, images(), uses))
    assert re.search(words, line), line


def test_what_cannot_be_checked_is_said():
    assert examine("sound_models:Bounded", {}, images()).not_checked == ["density, since Bounded gives a bound alone"]
    fixed = examine("sound_models:FixedNotDrawn", {}, images()).not_checked
    reason = "since FixedNotDrawn has no observe(parameters, generator) to draw x by"
    assert fixed == [
        f"density given z, {reason} and the model builds for no tiny image",
        f"Fisher information, {reason}",
    ]


@pytest.mark.parametrize(("observation", "images", "volume"), [("binary", 16, 16), ("pixels", 65536, 65536)])
def test_every_tiny_image_is_there_once(observation, images, volume):
    x, log_volume = tiny.images(observation, 1)
    assert len({tuple(image) for image in x.flatten(1).tolist()}) == images
    assert float(log_volume.exp().sum()) == volume


def test_a_normal_and_a_cauchy_density_integrate_to_one_over_the_tiny_images_of_real_pixels():
    x, log_volume = tiny.images("logit", 1)
    for density in (torch.distributions.Normal(2.0, 0.3), torch.distributions.Cauchy(0.5, 1.0)):
        total = (density.log_prob(x.flatten(1)).sum(1) + log_volume).logsumexp(0)
        assert abs(float(total)) < 0.005


def test_ratios_of_a_poisson_family_have_mean_one_and_those_of_its_square_root_do_not():
    # exp(t k) exp(-(e^t - 1)) is the ratio of Poisson(e^t) to Poisson(1).
    counts = torch.poisson(torch.ones(DRAWS), generator=torch.Generator().manual_seed(0))

    def log_p(step, draws, power=1.0):
        return power * (step * counts[draws] - math.exp(step))

    ratios = Ratios.along(log_p, 1.0)
    assert 0.15 < ratios.nats < 0.6
    assert abs(standard_errors(ratios.mean_score)) < 4 and abs(standard_errors(ratios.excess)) < 4
    assert abs(standard_errors(Ratios.along(lambda *of: log_p(*of, 0.5), 1.0).excess)) > 6


class TwoFaults(sound_models.Binary):
    def mean(self, parameters):
        return parameters

    def information(self, parameters):
        return -super().information(parameters)


def test_all_findings_are_raised_together_a_line_each():
    outcome = examine("test_model_check:TwoFaults", {}, images())
    with pytest.raises(UserError) as raised:
        outcome.raise_findings("experiments.mine.model")
    both = str(raised.value).splitlines()
    assert len(both) == 2 and all(line.startswith("experiments.mine.model: TwoFaults.") for line in both)


def test_the_command_checks_a_model_and_says_what_was_checked(capsys, monkeypatch):
    where = ["--image-shape", "1", "4", "4"]
    assert cli.main(["check", "bernoulli_mlp_vae", *where, "--setting", "latent_dim=2", "--setting", "hidden=[8]"]) == 0
    assert "Fisher information" in capsys.readouterr().out
    assert cli.main(["check", "sound_models:Bounded", *where]) == 0
    assert capsys.readouterr().out.endswith("not checked: density, since Bounded gives a bound alone\n")
    assert cli.main(["check", "test_model_check:TwoFaults", *where]) == 1
    said = capsys.readouterr()
    assert said.err.count("engram: error: test_model_check:TwoFaults: ") == 2 and "checked: " in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bernouli_mlp_vae", "--image-shape", "1", "4", "4"], "did you mean 'bernoulli_mlp_vae'?"),
        (["bernoulli_mlp_vae", "--image-shape", "1", "0", "4"], "image_shape: is [1, 0, 4]"),
        (["bernoulli_mlp_vae", "--image-shape", "1", "4", "4", "--setting", "hidden"], "must be NAME=VALUE"),
        (["bernoulli_mlp_vae", "--image-shape", "1", "4", "4", "--setting", "latent_dim=1.5"], "must be a whole number"),
        (["bernoulli_mlp_vae", "--image-shape", "1", "4", "4", "--setting", "hiden=[8]"], "did you mean 'hidden'?"),
    ],
)  # fmt: skip
def test_the_command_answers_a_mistake_in_one_line(arguments, says, capsys):
    assert cli.main(["check", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_the_report_says_in_a_row_what_could_not_be_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    levels = np.zeros((8, 16), np.uint8)
    variables = {"images": artifacts.variable(("sample", "pixel"), levels, "1", "grey levels")}
    artifacts.write("toy.h5", "dataset", variables, {"image_shape": SHAPE})
    model, code = {"name": "sound_models:Bounded"}, "0123"
    path = Layout("mine").model_check(digest(model, code))
    stage.run(path, "toy.h5", experiment="mine", model=model, uses=Uses(), code=code, threads=1)
    trained = {"values": json.dumps({"model": model, "code": code, "seed": 1})}
    assert page._not_checked("mine", trained) == ["density, since Bounded gives a bound alone"]
    assert page._not_checked("mine", {"values": "{}"}) == []


def test_an_analysis_of_samples_chosen_later_says_what_the_model_lacks():
    with pytest.raises(UserError, match=r"NoSample has no sample\(n, observation, generator\)"):
        next(sample(wrong_models.NoSample(SHAPE), 3, 0))


OWN = """import torch
from engram.models.mlp_vae import BernoulliMLPVAE


class Mine(BernoulliMLPVAE):
    def encode(self, x):
        return super().encode(x.round_())

    def log_prob_given_latent(self, x, z):
        return super().log_prob_given_latent(x, z) / x[0].numel()
"""


@pytest.fixture
def own_model(tmp_path):
    folder = workspace.create(tmp_path / "own")
    (folder / "my_models.py").write_text(OWN)
    workspace.change(folder, "experiments", "tiny", model={"name": "my_models:Mine", "latent_dim": 2, "hidden": [8]})
    return folder


def test_a_wrong_model_of_the_users_own_stops_the_run_before_any_training_without_a_traceback(own_model):
    run = snakemake(own_model)
    assert run.returncode != 0 and "Traceback" not in run.stdout
    assert "engram: error: experiments.tiny.model: Mine.log_prob_given_latent: expected a density" in run.stdout
    assert not list(own_model.glob("results/tiny/models/*"))
    assert not list(own_model.glob("results/tiny/model_check/*"))


def test_a_finished_run_tells_what_was_checked_of_its_model(finished):
    (path,) = finished.glob("results/tiny/model_check/*.json")
    told = json.loads(path.read_text())
    assert told["model"] == workspace.TINY["model"] and told["analyses"] == ["neighbors", "mode_collapse"]
    assert "density given z" in told["checked"] and told["not_checked"] == []


def test_the_checks_own_code_checks_and_trains_nothing_again(copy):
    edit(copy / "workflow/engram/checks/density.py", "DRAWS = 512", "DRAWS = 513")
    assert planned(copy) == {}


@pytest.mark.slow
def test_a_model_that_was_tried_and_refused_costs_no_training_when_it_is_given_up(copy):
    (copy / "my_models.py").write_text(OWN)
    config = (copy / "config.yaml").read_text()
    workspace.change(copy, "experiments", "tiny", model={"name": "my_models:Mine", "latent_dim": 2, "hidden": [8]})
    assert planned(copy)["model_check"] == 1
    assert snakemake(copy).returncode != 0
    (copy / "config.yaml").write_text(config)
    assert planned(copy) == {}
    workspace.change(copy, "experiments", "tiny", "membership", repeats=3)
    assert planned(copy)["train"] == 1 and "model_check" not in planned(copy)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [("bernoulli_mlp_vae", (1, 28, 28)), *((name, (3, 32, 32)) for name in known_models() if "conv" in name)],
)
def test_a_check_at_full_size_takes_less_than_four_imports_of_torch_start_included(name, shape):
    """Of processor time, both side by side, since a busy machine lengthens both; on an idle one that is below five seconds."""

    def seconds(script: str, *arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script, *arguments], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    check = ("check", name, "--image-shape", *map(str, shape))
    assert seconds("from engram.cli import main; main()", *check) < 4 * seconds("import torch")
