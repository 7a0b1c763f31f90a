"""The notebooks in ``examples/`` run on a published study, as an analyst runs them."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_an_answer_in_each_cell_that_asks(
    path: Path, published_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    # Where an analyst has it: in the folder `data` beside the notebook.
    (tmp_path / "data").symlink_to(published_study)
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not each.get("outputs") for each in notebook.cells), "it is stored without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [each for each in notebook.cells if each.cell_type == "code"]
    assert len(cells) > 5
    *asking, closing = cells
    assert closing.source == "study.close()"
    for cell in asking:
        shown = {kind: text for output in cell.outputs for kind, text in output["data"].items()}
        assert "null" not in shown.get("image/svg+xml", "")
        assert "image/svg+xml" in shown or "shape: (0" not in shown["text/plain"], cell.source


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS
