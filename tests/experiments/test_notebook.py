# SPDX-License-Identifier: Apache-2.0
"""The notebook, executed from the file as a reader would."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / 'experiments' / 'neucrab_mini.ipynb'


@pytest.fixture
def notebook():
  return nbformat.read(FILE, as_version=nbformat.NO_CONVERT)


def test_is_valid_and_has_no_outputs(notebook):
  nbformat.validate(notebook)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      assert cell.outputs == []
      assert cell.execution_count is None


@pytest.mark.slow
def test_runs_from_top_to_bottom(notebook, make_home, tmp_path, monkeypatch):
  for name, value in make_home(tmp_path).items():
    monkeypatch.setenv(name, value)
  (parameters,) = [
    cell for cell in notebook.cells if "RUNS = 'runs/" in cell.source
  ]
  # All else is as a reader finds it.
  parameters.source += (
    f'\nRUNS = {str(tmp_path / "runs")!r}\nTASKS = "digits"'
    '\nMEASURES = "h_score,knn,num_parameters"'
  )
  nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(ROOT)}}
  ).execute()
  said = [
    output.text
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if output.output_type == 'stream'
  ]
  assert 'comes first.' in said[-1]
  images = [
    output
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if 'image/png' in output.get('data', {})
  ]
  assert len(images) == 1
  for run in ('ranked', 'evaluated', 'my_task', 'my_networks'):
    assert (tmp_path / 'runs' / run / 'report.html').exists()
