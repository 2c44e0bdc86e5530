# SPDX-License-Identifier: Apache-2.0
"""The binary, as a user starts it."""

import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest

from neucrab_jax import finetune
from tests import in_process, interruptible

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = '--config=configs/finetune.py'
QUICK = (
  '--config.protocol.mode=head',
  '--config.checkpoints=mini_sup_glyphs,mini_random',
  '--config.protocol.steps=(20,)',
  '--config.task.num_examples=100',
)


@pytest.fixture(scope='module')
def environment(make_home, tmp_path_factory):
  return {**os.environ, **make_home(tmp_path_factory.mktemp('home'))}


def start(environment, *arguments):
  return interruptible.start(
    [sys.executable, '-m', 'neucrab_jax.finetune', *arguments],
    env=environment,
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def run_here(environment, *arguments):
  with mock.patch.dict(os.environ, environment), contextlib.chdir(ROOT):
    return in_process.run('finetune', finetune.start, *arguments)


def records(workdir):
  """What must not depend on interruptions: all but seconds."""
  found = {}
  for file in sorted(workdir.glob('accuracies/*/*.json')):
    record = json.loads(file.read_text())
    del record['sha256']  # Which is of the seconds, too.
    for timed in (record, *record['trials']):
      for key in ('seconds', 'compile_seconds'):
        del timed[key]
    found[file.stem] = record
  return found


def test_it_prints_and_writes_without_tensorflow(environment, tmp_path):
  # The run itself, and then a look at what it imported.
  script = (
    'import atexit, runpy, sys\n'
    'atexit.register(lambda: print("TF:", "tensorflow" in sys.modules))\n'
    'runpy.run_module("neucrab_jax.finetune", run_name="__main__")\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', script, CONFIG, *QUICK, f'--workdir={tmp_path}'],
    env=environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert 'TF: False' in done.stdout
  assert len(records(tmp_path)) == 2
  for name in ('mini_sup_glyphs', 'mini_random'):
    assert name in done.stdout
  for file in ('accuracies.csv', 'config.json', 'report.html'):
    assert (tmp_path / file).stat().st_size > 0


def wait_for_a_state(process, workdir):
  """Until training has come so far that there is something to go on from."""
  deadline = time.monotonic() + 240
  while not any(workdir.glob('states/*/*/*/*/[0-9]*')):
    assert process.poll() is None, 'It was done before it could be killed.'
    assert time.monotonic() < deadline
    time.sleep(0.02)


@pytest.mark.slow
def test_killed_it_comes_to_the_same(environment, tmp_path):
  arguments = (
    CONFIG,
    '--config.checkpoints=mini_sup_glyphs',
    '--config.protocol.learning_rates=(0.1, 0.05)',
    '--config.protocol.steps=(24,)',
    '--config.protocol.batch_size=16',
    '--config.task.num_examples=40',
    '--config.save_steps=4',
  )
  calm, stormy = tmp_path / 'calm', tmp_path / 'stormy'
  status, _, errors = run_here(environment, *arguments, f'--workdir={calm}')
  assert status == 0, errors
  process = start(environment, *arguments, f'--workdir={stormy}')
  wait_for_a_state(process, stormy)
  # At any moment: within a step, or within the writing of a state.
  time.sleep(random.uniform(0, 0.3))
  process.kill()
  process.communicate()
  assert not records(stormy)
  status, _, errors = run_here(environment, *arguments, f'--workdir={stormy}')
  assert status == 0, errors
  wanted = records(calm)
  assert len(wanted) == 1
  assert records(stormy) == wanted


def test_two_runs_share_the_work(environment, tmp_path):
  runs = [
    start(environment, CONFIG, *QUICK, f'--workdir={tmp_path}')
    for _ in range(2)
  ]
  for process in runs:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
  assert len(records(tmp_path)) == 2


def test_a_failing_checkpoint_gives_status_1(environment, tmp_path):
  status, out, _ = run_here(
    environment,
    CONFIG,
    '--config.protocol.mode=head',
    '--config.checkpoints=mini_random,imagenet_mobilenet_v1_025',
    f'--config.checkpoint_dir={tmp_path}',
    f'--workdir={tmp_path}/run',
  )
  assert status == 1
  assert 'failed imagenet_mobilenet_v1_025' in out
  assert len(records(tmp_path / 'run')) == 1


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config=configs/finetune.py:vtap'], 'Known: mini, neucrab_mini, vtab'),
    ([CONFIG, '--config.protocol.momentun=1'], 'momentum'),
  ],
)
def test_bad_input_gives_one_clear_line_and_status_2(
  arguments, message, tmp_path, monkeypatch
):
  monkeypatch.chdir(ROOT)
  status, _, errors = in_process.run(
    'finetune', finetune.start, *arguments, f'--workdir={tmp_path}/run'
  )
  assert status == 2
  assert message in errors
  assert errors.startswith('finetune: ')
  assert 'Traceback' not in errors


@pytest.mark.slow
def test_ctrl_c_gives_status_130(environment, tmp_path):
  process = start(environment, CONFIG, f'--workdir={tmp_path}')
  deadline = time.monotonic() + 120
  while not list(tmp_path.glob('states/*/*/*')):
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(0.1)
  process.send_signal(signal.SIGINT)
  process.communicate(timeout=120)
  assert process.returncode == 130
