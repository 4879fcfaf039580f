"""Names in any script are drawn in a font that has them, or by a stand-in: never as a box, never with a warning."""

import logging

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import synthetic
from engram.figures import lettering, style
from engram.figures.grids import grids
from engram.figures.mode_collapse import mode_collapse

SCRIPT_G = "\N{SCRIPT SMALL G}"  # that DejaVu Sans lacks and STIXGeneral, which comes with matplotlib too, has


@pytest.fixture
def fonts(monkeypatch):
    """Sets the fonts that are looked for beside DejaVu Sans; nothing is remembered from or for other tests."""

    def forget():
        for remembered in (lettering.families, lettering.letters, lettering.lettered):
            remembered.cache_clear()

    def look_for(*wider):
        monkeypatch.setattr(lettering, "WIDER", wider)
        forget()

    yield look_for
    forget()


def texts(drawn) -> list[str]:
    FigureCanvasAgg(drawn).draw()  # warnings are errors: one for each missing glyph
    return [text.get_text() for text in drawn.findobj(Text)]


def named(folder, class_name, file="{}.png"):
    """An experiment of ten images whose classes and files have a name."""
    found = synthetic.read(folder, analyses=("mode_collapse",), n=10, test=3, estimators=("mine",))
    found.dataset.attrs["label_names"] = np.array([f"{class_name}{number}" for number in range(10)], dtype=object)
    paths = [f"photos/{file.format(number)}" for number in range(13)]
    return found, found.dataset.assign(path=("sample", np.array(paths, dtype=object)))


@pytest.mark.parametrize("name", ["猫", "ねこ", "고양이", "बिल्ली", "🐈", "a\nb", "\udcff"])
def test_a_name_that_no_font_has_gives_way_to_a_number_and_the_log_says_it(fonts, caplog, tmp_path, name):
    fonts()
    experiment, dataset = named(tmp_path, name, name + "{}.jpg")
    with caplog.at_level(logging.INFO, "engram"):
        shown = texts(grids(experiment.scores, dataset))
    assert sum(text.startswith(f"image {i}\nclass {i}\n") for text in shown for i in range(10)) == 30
    assert not any(name in text for text in shown)
    assert f"of the name {name + '3'!a}, which is drawn as 'class 3'" in caplog.text
    shown = texts(mode_collapse(experiment.analyses["mode_collapse"], experiment.scores, dataset))
    assert {f"class {number}" for number in range(10)} <= set(shown)  # the labels of the axis of classes


def test_a_name_is_drawn_in_the_first_font_that_has_it(fonts, caplog, tmp_path):
    fonts("no such font", "STIXGeneral")
    assert lettering.families() == ("DejaVu Sans", "STIXGeneral")
    experiment, dataset = named(tmp_path, SCRIPT_G, SCRIPT_G + "{}.jpg")
    drawn = grids(experiment.scores, dataset)
    assert any(text.startswith(f"{SCRIPT_G}3\n{SCRIPT_G}3\n") for text in texts(drawn))
    style.save(drawn, tmp_path / "figure.pdf", tmp_path / "figure.png")
    assert b"STIXGeneral" in (tmp_path / "figure.pdf").read_bytes()
    assert SCRIPT_G not in caplog.text


def test_a_dollar_is_a_dollar_and_no_formula(tmp_path):
    experiment, dataset = named(tmp_path, "$x_1$", "$_{}_$.jpg")
    shown = texts(grids(experiment.scores, dataset))  # as a formula it would be an error: a double subscript
    assert any(text.startswith("\\$_3_\\$\n\\$x_1\\$3\n") for text in shown)


def test_latin_greek_and_cyrillic_names_are_drawn_as_they_are(fonts):
    fonts()
    for name in ("café", "cafe\N{COMBINING ACUTE ACCENT}", "γάτα", "кошка", "חתול"):
        assert lettering.lettered(name, "class 3") == name
