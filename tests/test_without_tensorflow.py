# SPDX-License-Identifier: Apache-2.0
"""What needs TensorFlow, where it is not installed, says so in a line."""

import sys
from importlib import util

import numpy as np
import pytest

from configs import finetune as finetune_config
from neucrab_jax import checkpoints, finetune, rank
from neucrab_jax.finetuning import run
from tests import in_process


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
  for name in ('tensorflow', 'tensorflow_datasets'):
    monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize('command', [rank, finetune])
@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('digts', "built-in task 'digts'. Did you mean 'digits'?"),
    ('oxford_flowers102', "pip install 'neucrab_jax[tfds]'"),
    ('cifar10', "pip install 'neucrab_jax[tfds]'"),
    ('my_photos', "no folder, file or built-in task 'my_photos'"),
  ],
)
def test_a_task_that_is_not_there(command, name, message, tmp_path):
  status, out, errors = in_process.run(
    'x', command.start, f'--config.task.name={name}', f'--workdir={tmp_path}/r'
  )
  assert (status, out) == (2, '')
  assert message in errors
  assert errors.count('\n') == 1


def test_a_checkpoint_of_tensorflow(tmp_path):
  for suffix in ('index', 'data-00000-of-00001'):
    np.zeros(3).tofile(tmp_path / f'model.ckpt-1.{suffix}')
  with pytest.raises(RuntimeError, match=r"pip install 'neucrab_jax\[tfds\]'"):
    checkpoints.restore('resnet_v2_mini', tmp_path / 'model.ckpt-1')


def test_curves_for_tensorboard(tmp_path, monkeypatch):
  monkeypatch.setattr(util, 'find_spec', lambda name: None)
  config = finetune_config.get_config()
  config.tensorboard = True
  with pytest.raises(ValueError, match='tensorboard=True needs'):
    run.finetune(config, str(tmp_path))
