# SPDX-License-Identifier: Apache-2.0
"""The binary, as a user starts it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from neucrab_jax import evaluate
from tests import in_process

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def home(make_home, tmp_path):
  return make_home(tmp_path)


def run(binary, *arguments, home):
  return subprocess.run(
    [sys.executable, '-m', f'neucrab_jax.{binary}', *arguments],
    env={**os.environ, **home},
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_it_starts_without_what_few_need():
  # Together they take as long to import as all the rest.
  code = (
    'import sys; import neucrab_jax.evaluate; '
    "print({'scipy.stats', 'sklearn', 'orbax', 'matplotlib'} & {*sys.modules})"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.stdout == 'set()\n'


@pytest.mark.slow
def test_two_commands_from_features_to_a_judgement(home, tmp_path):
  labels = np.arange(60) % 3
  rng = np.random.default_rng(0)
  folder = tmp_path / 'flowers'
  folder.mkdir()
  rows = ['checkpoint,accuracy']
  for strength in range(5):
    centres = strength * rng.standard_normal((3, 16))
    x = centres[labels] + rng.standard_normal((60, 16))
    np.savez(folder / f'n{strength}.npz', features=x, labels=labels)
    rows.append(f'n{strength},{0.1 + 0.2 * strength}')
  (tmp_path / 'flowers.csv').write_text('\n'.join(rows))
  ranked = run(
    'rank',
    '--config=configs/features.py:knn',
    f'--config.features={folder}/*.npz',
    f'--workdir={tmp_path}/knn',
    home=home,
  )
  assert ranked.returncode == 0, ranked.stderr
  judged = run(
    'evaluate',
    '--config=configs/evaluate.py',
    f'--config.rankings={tmp_path}/knn/ranking.json',
    f'--config.accuracies={tmp_path}/flowers.csv',
    f'--workdir={tmp_path}/judged',
    home=home,
  )
  assert judged.returncode == 0, judged.stderr
  assert 'knn' in judged.stdout
  result = json.loads((tmp_path / 'judged' / 'evaluation.json').read_text())
  assert result['alignments'][0]['tasks'] == ['flowers']
  for file in ('evaluation.csv', 'report.html', 'config.json'):
    assert (tmp_path / 'judged' / file).stat().st_size > 0


def test_bad_input_gives_one_clear_line_and_status_2(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  status, _, errors = in_process.run(
    'evaluate',
    evaluate.start,
    '--config=configs/evaluate.py',
    f'--workdir={tmp_path}',
  )
  assert status == 2
  assert 'evaluate: checkpoints: there are no accuracies' in errors
  assert 'Traceback' not in errors
