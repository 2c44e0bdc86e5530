# SPDX-License-Identifier: Apache-2.0
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.ranking import ahead

CHECKPOINT = checkpoints.get('mini_vae')


def test_what_was_begun_is_restored_once(monkeypatch):
  names = []
  monkeypatch.setattr(
    checkpoints, 'restore', lambda one: names.append(one.name) or one
  )
  restorer = ahead.Restorer()
  restorer.start(CHECKPOINT)
  restorer.start(CHECKPOINT)
  assert restorer.take(CHECKPOINT) is CHECKPOINT
  assert names == [CHECKPOINT.name]
  # It is not kept.
  assert restorer.take(CHECKPOINT) is CHECKPOINT
  assert len(names) == 2


def test_what_fails_ahead_fails_whoever_takes_it(monkeypatch):
  def fail(checkpoint):
    raise ValueError(f'{checkpoint.name} is a sandwich.')

  monkeypatch.setattr(checkpoints, 'restore', fail)
  restorer = ahead.Restorer()
  restorer.start(CHECKPOINT)
  with pytest.raises(ValueError, match='mini_vae is a sandwich'):
    restorer.take(CHECKPOINT)
