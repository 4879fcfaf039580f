"""Models that learn log p(x | class): each image's label reaches objective and log p, and their values are closed forms."""

import math
import re

import numpy as np
import pytest
import torch

from class_models import ClassMeans, ToldComponent
from engram import estimate as public_estimate
from engram.checks import stage as check_stage
from engram.checks.examination import Uses, examine
from engram.config_experiment import _in_model
from engram.errors import UserError
from engram.files import artifacts
from engram.likelihood import evaluation
from engram.likelihood import stage as likelihood_stage
from engram.likelihood.estimation import estimate, estimate_to_precision
from engram.models.building import build
from engram.models.conditions import conditions
from engram.models.diffusion import DiffusionModel, reconstruction
from engram.report import page
from engram.training import stage, trained, training
from engram.training.plan import Plan
from engram.training.state import StateFolder
from engram.training.training import Training

SHAPE, N, CLASSES = (1, 2, 3), 42, 3
TWO = ((0.4, 0.6), (-0.7, 0.4), (0.1, 0.2))
LABELS = np.random.default_rng(3).permutation(np.arange(N) % CLASSES)
IMAGES = np.random.default_rng(4).integers(0, 256, (N, 6)).astype(np.uint8)
PIXELS = IMAGES / np.float64(255)
MEANS = {"name": "class_models:ClassMeans"}
SGD = {"epochs": 60, "batch_size": 100, "learning_rate": 0.5, "optimizer": "sgd"}


def plan(model=MEANS, **settings):
    rows = np.arange(N)
    folds = {"folds": [0, 1], "trained_on": [rows[:30], rows[10:]], "held_out": [rows[30:], rows[:10]]}
    settings = SGD | {"scored_epochs": [settings.get("epochs", 60)]} | folds | settings
    return Plan(experiment="e", repeat="repeat-00", model=model, image_shape=SHAPE, seed=1, **settings)


def run(plan, folder, labels=LABELS):
    folder.mkdir()
    state = Training(plan, torch.from_numpy(IMAGES), labels)
    state.run(StateFolder(folder, "f"))
    return state


def class_means(rows, labels=LABELS):
    return np.stack([PIXELS[rows][labels[rows] == number].mean(0) for number in range(CLASSES)])


def log_p_given_class(means, labels=LABELS):
    return -((PIXELS - means[labels]) ** 2).sum(1) - 3 * math.log(math.pi)


@pytest.mark.slow
def test_the_bound_given_a_class_is_the_closed_form_of_that_class():
    model = ToldComponent((1, 1, 1), *TWO, gamma_0=-10.0)
    levels = torch.tensor([0.6, -0.2], dtype=torch.float64).reshape(2, 1, 1, 1)
    for number, x in enumerate(levels.split(1)):
        for label, other in ((1 - number, number), (number, 1 - number)):
            given = estimate(model, x, "bound", samples=5_000, conditions=(torch.tensor([label]),))
            noise = torch.randn(100_000, 1, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            outside = float(reconstruction(x.expand_as(noise), noise, model.gamma_0).mean())
            closed, of_other = (model.of_class(each).closed_form(float(x))[0] for each in (label, other))
            error = 4 * float(given.standard_error)
            assert abs(float(given.log_px) - closed - outside) < error < abs(closed - of_other) / 4


def test_rows_of_a_batch_are_judged_each_by_its_own_class():
    model = ToldComponent((1, 1, 1), *TWO, gamma_0=-10.0)
    x, label = torch.linspace(-0.9, 0.9, 7).double().reshape(7, 1, 1, 1), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    noise = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    together = model.bound(x, noise, label)
    for row in range(7):
        alone = model.of_class(int(label[row])).bound(x[row : row + 1], noise[row : row + 1, :, :2])
        torch.testing.assert_close(together[row], alone[0])


@pytest.mark.parametrize("together", [False, True])
def test_every_class_gets_the_mean_of_its_own_training_images(together, tmp_path, monkeypatch):
    if together:
        monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    state = run(plan(), tmp_path / "state")
    assert len(state.packs) == (1 if together else 2)
    for position, (pack, index) in enumerate(state.place):
        rows, mean = state.plan.trained_on[position], pack.state(index)["mean"].flatten(1).numpy()
        np.testing.assert_allclose(mean, class_means(rows), atol=1e-5)
        losses = -log_p_given_class(class_means(rows))
        held_out = state.plan.held_out[position]
        assert state.losses.train[-1, position] == pytest.approx(losses[rows].mean(), rel=1e-5)
        assert state.losses.held_out[-1, position] == pytest.approx(losses[held_out].mean(), rel=1e-5)
    other = run(plan(), tmp_path / "other", labels=LABELS[::-1].copy())
    assert not np.allclose(other.losses.train[-1], state.losses.train[-1], rtol=1e-3)


@pytest.mark.parametrize("proposal", ["exact", "bound"])
def test_log_p_is_that_of_each_image_given_its_class_in_chunks_of_any_size(proposal, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 5)
    model = ClassMeans(SHAPE)
    model.mean.data = torch.from_numpy(class_means(np.arange(N))).float().reshape(-1, *SHAPE)
    settings = {"proposal": proposal, "samples": 2, "observation": "fixed", "draws": 2}
    for labels in (LABELS, LABELS[::-1].copy()):
        of = evaluation.Evaluation(settings, SHAPE, (1, "toy"), torch.device("cpu"))
        judged = evaluation.evaluate(of, [model, model], ["a", "b"], IMAGES, conditions=conditions(model, labels))
        expected = log_p_given_class(class_means(np.arange(N)), labels)
        np.testing.assert_allclose(judged.log_px.numpy(), np.broadcast_to(expected, (2, 2, N)), rtol=1e-5)


def test_samples_to_a_precision_keep_the_class_of_their_image():
    model = ToldComponent((1, 1, 1), *TWO, gamma_0=-10.0)
    x, label = torch.tensor([0.6, -0.7, 0.4]).double().reshape(3, 1, 1, 1), torch.tensor([1, 0, 1])
    to_precision = estimate_to_precision(model, x, 1e-3, 32, "bound", samples=16, conditions=(label,))
    assert to_precision.samples.tolist() == [32, 32, 32]
    for row in range(3):
        alone = estimate_to_precision(
            model,
            x[row : row + 1],
            1e-3,
            32,
            "bound",
            samples=16,
            images=torch.tensor([row]),
            conditions=(label[row : row + 1],),
        )
        torch.testing.assert_close(alone.log_px, to_precision.log_px[row : row + 1])


class Recording(DiffusionModel):
    """Predicts nothing, and keeps the labels that it is given."""

    def predict_noise(self, z, gamma, label=None):
        self.given = label
        return torch.zeros_like(z)


def test_a_stated_share_of_labels_is_withheld_in_training_by_the_noise_alone_and_none_elsewhere():
    model = Recording((1, 1, 1), -6.0, 5.0, steps=2, classes=4, label_dropout=0.2)
    label, x = torch.arange(20_000) % 4, torch.zeros(20_000, 1, 1, 1)
    noise = torch.randn(20_000, *model.noise_shape, generator=torch.Generator().manual_seed(0))
    model.train()(x, noise, label)
    withheld = model.given == 4
    assert float(withheld.double().mean()) == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 20_000))
    assert torch.equal(model.given[~withheld], label[~withheld])
    first = model.given
    model(x, noise, label)
    assert torch.equal(model.given, first)
    model.bound(x, noise[:, None], label)
    assert torch.equal(model.given, label)
    model.eval()(x, noise, label)
    assert torch.equal(model.given, label)


def test_images_are_of_the_classes_asked_for_and_without_any_of_all_alike():
    model = ToldComponent((1, 1, 1), *TWO, gamma_0=-10.0, steps=50, sampler="ddim").float()
    label = torch.arange(400) % 2
    drawn = model.sample(400, observation=True, generator=torch.Generator().manual_seed(0), label=label).flatten()
    assert torch.equal(drawn > -0.3, label == 1)
    unsaid = model.sample(400, observation=True, generator=torch.Generator().manual_seed(0)).flatten()
    assert float((unsaid > -0.3).double().mean()) == pytest.approx(0.5, abs=0.1)  # and not the mixture's 0.6


UNET = {"name": "unet_diffusion", "channels": (8, 8), "gamma_0": -6.0, "steps": 4, "classes": CLASSES}


def test_a_unet_without_a_label_predicts_what_it_does_for_the_class_that_is_not_said():
    pytest.importorskip("diffusers")
    torch.manual_seed(0)
    settings = {key: value for key, value in UNET.items() if key != "name"}
    model = build("unet_diffusion", (1, 8, 8), **settings).eval().requires_grad_(False)
    z, gamma = torch.randn(4, 1, 8, 8), torch.linspace(-6, 5, 4)
    unsaid = model.predict_noise(z, gamma)
    assert torch.equal(unsaid, model.predict_noise(z, gamma, torch.full((4,), CLASSES)))
    apart = unsaid - model.predict_noise(z, gamma, torch.arange(4) % CLASSES)
    assert (apart.flatten(1).norm(dim=1) > 0.01 * unsaid.flatten(1).norm(dim=1)).all()
    plain = build("unet_diffusion", (1, 8, 8), **(settings | {"classes": 0}))
    assert plain.noise_shape == (65,) and model.noise_shape == (66,)
    assert {*dict(model.named_parameters())} - {*dict(plain.named_parameters())} == {"unet.class_embedding.weight"}


def test_unets_advanced_as_one_are_those_advanced_by_turns(tmp_path, monkeypatch):
    pytest.importorskip("diffusers")
    settings = {"epochs": 1, "learning_rate": 0.003, "batch_size": 16, "optimizer": "adam"}
    unet = UNET | {"channels": (8,)}
    by_turns = run(plan(unet, **settings), tmp_path / "a")
    monkeypatch.setattr(training, "models_per_pack", lambda device, models: models)
    as_one = run(plan(unet, **settings), tmp_path / "b")
    assert (len(by_turns.packs), len(as_one.packs)) == (2, 1)
    np.testing.assert_allclose(as_one.losses.train, by_turns.losses.train, rtol=1e-4)
    np.testing.assert_allclose(as_one.losses.held_out, by_turns.losses.held_out, rtol=1e-4)


def dataset(folder, labels=LABELS):
    split = np.r_[np.zeros(30, np.int8), np.ones(N - 30, np.int8)]
    variables = {
        "images": artifacts.variable(("sample", "pixel"), IMAGES, "1", "grey levels"),
        "label": artifacts.variable(("sample",), labels.astype(np.int16), "1", "class"),
        "split": artifacts.variable(("sample",), split, "1", "split"),
    }
    attributes = {"image_shape": list(SHAPE), "dataset": "toy", "dataset_sha256": "0" * 64}
    artifacts.write(folder / "toy.h5", "dataset", variables, attributes)
    return folder / "toy.h5"


def test_log_p_given_the_class_goes_from_data_set_to_file_and_says_what_it_is(tmp_path):
    data, models = dataset(tmp_path), tmp_path / "models.h5"
    membership = {"design": "k_fold", "folds": 3}
    values = {"model": MEANS, "training": SGD, "scored_epochs": [60], "membership": membership, "seed": 1, "code": "c"}
    stage.train(data, models, tmp_path / "state", values, "e", "repeat-00", threads=1)
    settings = {"proposal": "bound", "samples": 2, "observation": "fixed", "draws": 1}
    where = {"experiment": "e", "estimator": "bound", "repeat": "repeat-00", "epoch": 60, "settings": settings}
    likelihood_stage.run(tmp_path / "l.h5", models, data, **where, seed=1, threads=1)
    stored = artifacts.read(tmp_path / "l.h5", "likelihood")
    assert stored.log_px.attrs["long_name"] == "lower bound on log p(x | class), pixel space"
    assert dict(page._meaning_of_log_p(artifacts.attributes(models, "models")))["log p"].endswith("which is one of 3")
    assert [*page._meaning_of_log_p({"classes": 0})] == []
    for index, model in enumerate(trained.load_models(models, 60)):
        expected = log_p_given_class(model.mean.detach().flatten(1).double().numpy())
        np.testing.assert_allclose(stored.log_px.values[index, 0], expected, rtol=1e-5)


def changed(position, label):
    labels = LABELS.copy()
    labels[position] = label
    return labels


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (changed(slice(7, 9), -1), "2 of 42 are not: image 7 has no label; leave classes out"),
        (changed(5, 4), "1 of 42 are not: image 5 is of class 4; write classes: 5"),
    ],
)
def test_images_without_a_class_that_the_model_learns_stop_check_and_training(labels, says, tmp_path):
    data = dataset(tmp_path, labels)
    with pytest.raises(UserError, match=says) as raised:
        check_stage.run(tmp_path / "c", data, experiment="e", model=MEANS, uses=Uses(), code="c", threads=1)
    assert str(raised.value).startswith(
        "experiments.e.model: classes is 3, so every image must be of a class from 0 to 2;"
    )
    with pytest.raises(UserError, match=says):
        Training(plan(), torch.from_numpy(IMAGES), labels)


def said(name, **uses):
    images = torch.randint(0, 256, (8, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    outcome = examine(f"class_models:{name}", {}, images, Uses(**uses))
    return [finding.line("experiments.e.model") for finding in outcome.findings], outcome


def test_a_sound_model_with_classes_passes_the_check_whatever_else_it_defines():
    lines, outcome = said("ClassMeans", proposals={"exact": "exact", "bound": "bound"})
    assert lines == [] and {"objective", "log_prob", "bound"} <= {*outcome.checked}
    assert outcome.not_checked == ["density, since ClassMeans has one for each class"]
    lines, outcome = said("BoundedLatentOfClass", proposals={"b": "bound"})
    assert lines == [] and "encode" not in outcome.checked


def test_importance_samples_given_a_class_are_refused_before_and_in_the_likelihood():
    (line,), _ = said("BoundedLatentOfClass", proposals={"published": "encoder", "b": "bound"})
    assert re.search(
        r"no importance samples given a class, by which the estimator published.*experiments.e.estimators", line
    )
    (line,), _ = said("LatentOfClass")
    assert "no bound(x, noise, label), nor log_prob(x, label)" in line
    model, given = build("class_models:BoundedLatentOfClass", SHAPE), (torch.zeros(2, dtype=torch.int64),)
    with pytest.raises(UserError, match="BoundedLatentOfClass has classes, and there are no importance samples"):
        estimate(model, torch.zeros(2, *SHAPE), "laplace", conditions=given)
    assert estimate(model, torch.zeros(2, *SHAPE), "bound", conditions=given).log_px.shape == (2,)


def test_settings_that_cannot_be_are_named():
    with pytest.raises(
        UserError, match=r"NamesItsClasses: classes is \['cats', 'dogs', 'birds'\]; it must be the number"
    ):
        build("class_models:NamesItsClasses", SHAPE)
    with pytest.raises(UserError, match="label_dropout is 1; it must be a share"):
        Recording((1, 1, 1), -6.0, 5.0, steps=2, classes=4, label_dropout=1)
    (problem,) = _in_model({"name": "unet_diffusion", "label_dropout": 0.3})
    assert "label_dropout is 0.3, which takes effect only with classes" in problem
    assert _in_model({"name": "unet_diffusion", "label_dropout": 0.3, "classes": 10}) == []


def test_estimates_by_hand_take_labels_of_models_with_classes_alone():
    model, images = ClassMeans(SHAPE), IMAGES.reshape(N, *SHAPE)
    given = public_estimate(model, images, "exact", label=LABELS)
    np.testing.assert_allclose(given.log_px, log_p_given_class(np.zeros((CLASSES, 6))), rtol=1e-5)
    for label, says in (
        (None, "no labels are given"),
        (LABELS[:3], "number of a class for each of 42"),
        (LABELS - 1, "no label"),
    ):
        with pytest.raises(UserError, match=says):
            public_estimate(model, images, "exact", label=label)
    plain = build("bernoulli_mlp_vae", SHAPE, latent_dim=2, hidden=(4,))
    with pytest.raises(UserError, match="label: BernoulliMLPVAE has no classes"):
        public_estimate(plain, images, label=LABELS)
