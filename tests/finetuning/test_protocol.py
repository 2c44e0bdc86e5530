# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import optax
import pytest

from neucrab_jax.finetuning import protocol as protocol_lib
from neucrab_jax.finetuning.protocol import Protocol, Trial


def expected_rates(trial, *, warmup, drops):
  steps = np.arange(trial.steps, dtype=np.float64)
  rates = np.full(trial.steps, trial.learning_rate, np.float64)
  for share in drops:
    rates[steps >= round(share * trial.steps)] *= 0.1
  if warmup:
    rates *= np.minimum((steps + 1) / warmup, 1)
  return rates


@pytest.mark.parametrize('steps', [1, 2, 7, 300, 1_000])
@pytest.mark.parametrize('warmup', [0, 1, 80])
@pytest.mark.parametrize('drops', [(), (0.3, 0.6, 0.9), (0.0, 0.5)])
def test_the_schedule_is_the_formula_s(steps, warmup, drops):
  trial = Trial(0.05, steps, 0)
  found = protocol_lib.learning_rates(
    trial, Protocol(warmup_steps=warmup, drops=drops)
  )
  assert found.dtype == np.float32
  wanted = expected_rates(trial, warmup=warmup, drops=drops)
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_thousand_examples_protocol_drops_at_300_600_900():
  rates = protocol_lib.learning_rates(
    Trial(0.01, 1_000, 0), Protocol(warmup_steps=80)
  )
  changes = np.flatnonzero(np.diff(rates[80:]) != 0) + 81
  assert list(changes) == [300, 600, 900]
  assert rates[0] == pytest.approx(0.01 / 80, rel=1e-5)


@pytest.mark.parametrize('x64', [False, True])
def test_the_optimiser_is_sgd_with_momentum_and_decay(x64):
  rng = np.random.default_rng(0)
  weights = rng.normal(size=5).astype(np.float32)
  gradients = rng.normal(size=(4, 5)).astype(np.float32)
  rates = (0.5, 0.5, 0.05, 0.005)
  wanted, velocity = weights.astype(np.float64), np.zeros(5)
  with jax.enable_x64(x64):
    found = weights
    state = protocol_lib.optimizer(0, momentum=0.9, weight_decay=0.1).init(
      found
    )
    for rate, gradient in zip(rates, gradients, strict=True):
      optimizer = protocol_lib.optimizer(rate, momentum=0.9, weight_decay=0.1)
      updates, state = optimizer.update(gradient, state, found)
      found = optax.apply_updates(found, updates)
      velocity = 0.9 * velocity + gradient + 0.1 * wanted
      wanted = wanted - rate * velocity
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize('steps', [1, 3, 10, 299])
@pytest.mark.parametrize('points', [1, 10, 400])
def test_the_curve_ends_with_the_last_step(steps, points):
  found = protocol_lib.curve_steps(
    Trial(0.1, steps, 0), Protocol(curve_points=points)
  )
  assert found[-1] == steps
  assert list(found) == sorted(set(found))
  assert len(found) == min(steps, points)
  assert found[0] >= 1


def test_the_sweep_has_every_cell_once():
  trials = Protocol(
    learning_rates=(0.1, 0.01), steps=(10, 20), seeds=(0, 1, 2)
  ).trials()
  assert len(set(trials)) == len(trials) == 12


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'mode': 'hed'}, "Did you mean 'head'"),
    ({'augmentation': 'flop'}, "Did you mean 'flip'"),
    ({'mode': 'head', 'augmentation': 'flip'}, "Choose 'none'"),
    ({'learning_rates': (0.1, -1.0)}, 'learning_rates must be at least 0'),
    ({'learning_rates': ()}, 'one or more'),
    ({'learning_rates': (float('nan'),)}, 'nan'),
    ({'steps': (0,)}, 'steps must be from 1 to .*, not 0'),
    ({'steps': ('300',)}, "steps must be a number, not '300'"),
    ({'steps': (2.5,)}, 'steps must be a whole number, not 2.5'),
    ({'seeds': (1, 1)}, 'different values'),
    ({'drops': (1.5,)}, 'drops must be from 0 to 1, not 1.5'),
    ({'momentum': 1.5}, 'momentum must be from 0 to 1'),
    ({'batch_size': True}, 'batch_size must be a number'),
  ],
)
def test_refuses_what_cannot_be(settings, message):
  with pytest.raises(ValueError, match=message):
    Protocol(**settings)
