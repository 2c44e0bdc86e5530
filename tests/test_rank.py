# SPDX-License-Identifier: Apache-2.0
"""The binary, as a user starts it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from neucrab_jax import rank
from tests import in_process, interruptible

ROOT = pathlib.Path(__file__).parents[1]
FEW = '--config.checkpoints=mini_sup_glyphs,mini_vae'


@pytest.fixture
def home(make_home, tmp_path):
  return make_home(tmp_path)


@pytest.fixture
def environment(home):
  return {**os.environ, **home}


@pytest.mark.slow
def test_the_default_run_ranks_everything_without_tensorflow(
  environment, tmp_path
):
  # The run itself, and then a look at what it imported.
  script = (
    'import atexit, runpy, sys\n'
    'atexit.register(lambda: print("TF:", "tensorflow" in sys.modules))\n'
    'runpy.run_module("neucrab_jax.rank", run_name="__main__")\n'
  )
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      script,
      '--config=configs/nleep.py',
      f'--workdir={tmp_path}/run',
    ],
    env={
      **environment,
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',
      'XLA_FLAGS': '',
    },
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert 'TF: False' in done.stdout
  result = json.loads((tmp_path / 'run' / 'ranking.json').read_text())
  order = [entry['checkpoint'] for entry in result['ranking']]
  assert len(order) == 17
  assert 'mini_random' in order
  for name in order:
    assert name in done.stdout
  for file in ('ranking.csv', 'config.json', 'report.html'):
    assert (tmp_path / 'run' / file).stat().st_size > 0


def test_files_of_features_need_no_networks_no_images_and_no_scipy(
  environment, tmp_path
):
  # Together they take as long to import as to score some files.
  script = (
    'import atexit, runpy, sys\n'
    "few = {'flax', 'scipy', 'cv2', 'PIL', 'neucrab_jax.models'}\n"
    'atexit.register(lambda: print("imported:", few & {*sys.modules}))\n'
    'runpy.run_module("neucrab_jax.rank", run_name="__main__")\n'
  )
  labels = np.arange(60) % 3
  rng = np.random.default_rng(0)
  for name in 'ab':
    x = rng.standard_normal((60, 4))
    np.savez(tmp_path / f'{name}.npz', features=x, labels=labels)
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      script,
      '--config=configs/features.py:knn',
      f'--config.features={tmp_path}/*.npz',
      f'--workdir={tmp_path}/run',
    ],
    env=environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert 'imported: set()' in done.stdout


def test_results_go_under_runs_by_the_name_of_the_config(
  home, tmp_path, monkeypatch
):
  for name, value in home.items():
    monkeypatch.setenv(name, value)
  monkeypatch.chdir(tmp_path)
  config = ROOT / 'configs' / 'measure.py'
  status, _, errors = in_process.run(
    'rank', rank.start, f'--config={config}:knn', FEW
  )
  assert status == 0, errors
  assert (tmp_path / 'runs' / 'measure-knn' / 'ranking.json').exists()


def test_a_failing_checkpoint_gives_status_1(home, tmp_path, monkeypatch):
  for name, value in home.items():
    monkeypatch.setenv(name, value)
  monkeypatch.chdir(ROOT)
  status, out, _ = in_process.run(
    'rank',
    rank.start,
    '--config=configs/measure.py:leep',
    FEW,
    f'--workdir={tmp_path}/run',
  )
  assert status == 1
  assert 'failed mini_vae: ValueError: leep needs source_probs' in out
  assert 'mini_sup_glyphs' in out


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config=configs/measure.py:nlep'], "Did you mean 'nleep'?"),
    (['--config=configs/nowhere.py'], 'There is no config'),
    (['--config=configs/nleep.py', '--config.taks.name=x'], '"task"'),
    (['--config=configs/nleep.py', '--config.task.name=digts'], "'digits'"),
  ],
)
def test_bad_input_gives_one_clear_line_and_status_2(
  arguments, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(ROOT)
  status, _, errors = in_process.run(
    'rank', rank.start, *arguments, f'--workdir={tmp_path}/run'
  )
  assert status == 2
  assert message in errors
  assert errors.startswith('rank: ')
  assert 'Traceback' not in errors


@pytest.mark.slow
def test_ctrl_c_gives_status_130_and_a_ranking(environment, tmp_path):
  workdir = tmp_path / 'run'
  process = interruptible.start(
    [
      sys.executable,
      '-m',
      'neucrab_jax.rank',
      '--config=configs/nleep.py',
      f'--workdir={workdir}',
      # Many seeds: the run lasts long enough to be interrupted.
      '--config.measure.options.num_seeds=20',
    ],
    env=environment,
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  deadline = time.monotonic() + 120
  while not list(workdir.glob('scores/*.json')):
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(0.1)
  process.send_signal(signal.SIGINT)
  assert process.wait(timeout=120) == 130
  result = json.loads((workdir / 'ranking.json').read_text())
  assert result['ranking']
  assert result['failed'][-1]['error'] == 'Interrupted before it was scored.'
