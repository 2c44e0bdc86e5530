# SPDX-License-Identifier: Apache-2.0
"""The bundled accuracies: complete, of what is bundled, and telling."""

import functools
import pathlib

import numpy as np
import pytest

from configs import finetune as finetune_config
from configs import neucrab_mini as mini_config
from neucrab_jax import benchmark, checkpoints, storage
from neucrab_jax.finetuning import record, splits

GROUPS = ('mini_1', 'mini_2', 'mini_3')
TASKS = tuple(mini_config.get_config().tasks.split(','))
FOLDER = pathlib.Path(benchmark.__file__).parent / 'neucrab_mini' / 'accuracies'


@functools.cache
def fingerprint(name):
  """That of restored weights, without tracing all networks."""
  stored = storage.read_npz(checkpoints.get(name).path)
  return storage.digest(
    *(part for item in sorted(stored.items()) for part in item)
  )


def read(task):
  return {
    file.stem: storage.read_json(file, record.Accuracy)
    for file in (FOLDER / task).glob('*.json')
  }


@pytest.mark.parametrize('task', TASKS)
def test_every_checkpoint_has_its_accuracy(task):
  expected = {name for group in GROUPS for name in checkpoints.names(group)}
  assert set(read(task)) == expected | {'mini_random'}


@pytest.mark.parametrize('task', TASKS)
def test_records_are_of_the_bundled_weights_task_and_protocol(task, tmp_path):
  config = finetune_config.get_config('neucrab_mini')
  config.task.name = task
  described = splits.Splits(config.task, tmp_path).describe()
  for name, accuracy in read(task).items():
    assert accuracy.weights == fingerprint(name)
    # They are older than the digests of whole splits.
    assert accuracy.task == described.parts_alone()
    trials = accuracy.trials
    assert {t.learning_rate for t in trials} == set(
      config.protocol.learning_rates
    )
    assert {t.seed for t in trials} == set(config.protocol.seeds)
    assert {t.steps for t in trials} == set(config.protocol.steps)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('group', GROUPS)
def test_accuracies_spread_out(group, task):
  """Ten points from best to worst, five standard errors over seeds."""
  found = read(task)
  by_seed = np.array(
    [
      [trial.test_accuracy for trial in found[name].chosen_trials()]
      for name in checkpoints.names(group)
    ]
  )
  assert by_seed.shape[1] >= 2
  spread = np.ptp(by_seed.mean(axis=1))
  errors = by_seed.std(axis=1, ddof=1) / np.sqrt(by_seed.shape[1])
  assert spread >= 0.1
  assert np.sqrt((errors**2).mean()) <= spread / 5
