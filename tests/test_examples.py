"""The example notebooks, executed; the repository keeps them without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_repository_keeps_no_outputs(path):
    code = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_scores_from_a_matrix_finds_the_memorized_images_and_draws_them(tmp_path):
    notebook = read(next(path for path in NOTEBOOKS if path.stem == "scores_from_a_matrix"))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    assert ": 10 of the ten memorized" in printed
    assert any("image/png" in output.get("data", {}) for output in outputs)
