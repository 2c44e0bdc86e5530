# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest
import small_trainers

from neucrab_jax.finetuning import batches, steps, trial_groups
from neucrab_jax.finetuning import protocol as protocol_lib
from neucrab_jax.finetuning import trainer as trainer_lib
from neucrab_jax.finetuning.protocol import Protocol

SMALL = Protocol(
  learning_rates=(0.1, 0.02), steps=(7,), batch_size=8, curve_points=3
)


def curves(results):
  return [result.curve for result in results]


def reference_losses(trainer, trial):
  """Softmax regression by SGD in f64, written out; the loss of every step."""
  protocol = trainer.protocol
  x, y = np.float64(trainer.train.inputs), trainer.train.labels
  kernel = np.zeros((x.shape[1], trainer.network.num_classes))
  bias = np.zeros(trainer.network.num_classes)
  velocities = [np.zeros_like(kernel), np.zeros_like(bias)]
  rates = protocol_lib.learning_rates(trial, protocol)
  losses = []
  for step, rate in enumerate(rates):
    chosen = batches.order(
      step,
      num_examples=len(y),
      batch_size=protocol.batch_size,
      seed=trial.seed,
    )
    logits = x[chosen] @ kernel + bias
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    rows = np.arange(len(chosen))
    losses.append(-np.log(probs[rows, y[chosen]]).mean())
    probs[rows, y[chosen]] -= 1
    gradients = [x[chosen].T @ probs / len(rows), probs.mean(0)]
    for i, weights in enumerate((kernel, bias)):
      velocities[i] = (
        protocol.momentum * velocities[i]
        + gradients[i]
        + protocol.weight_decay * weights
      )
      weights -= rate * velocities[i]
  accuracy = (np.argmax(x @ kernel + bias, axis=1) == y).mean()
  return losses, accuracy


@pytest.mark.parametrize('x64', [False, True])
@pytest.mark.parametrize('together', [1, 0, 3])
def test_training_is_softmax_regression_by_sgd(together, x64):
  protocol = Protocol(
    learning_rates=(1.0, 0.1),
    steps=(20,),
    seeds=(0, 5),
    batch_size=8,
    weight_decay=0.01,
    warmup_steps=3,
    curve_points=20,
  )
  with jax.enable_x64(x64):
    trainer = small_trainers.features_trainer(protocol, together=together)
    results = trainer.run(protocol.trials())
  assert [result.trial for result in results] == list(protocol.trials())
  for result in results:
    losses, accuracy = reference_losses(trainer, result.trial)
    found = [point.loss for point in result.curve]
    np.testing.assert_allclose(found, losses, rtol=1e-4, atol=1e-5)
    assert result.validation_accuracy == pytest.approx(accuracy, abs=1e-6)


def test_a_point_is_the_mean_since_the_last_one():
  fine = dataclasses.replace(SMALL, steps=(9,), curve_points=9)
  coarse = dataclasses.replace(fine, curve_points=3)
  every, third = (
    small_trainers.features_trainer(p).run(p.trials())[0].curve
    for p in (fine, coarse)
  )
  for name in ('loss', 'accuracy'):
    means = [np.mean([getattr(p, name) for p in c]) for c in (every, third)]
    assert means[0] == pytest.approx(means[1], rel=1e-5)
  # What is measured at a step does not depend on what was measured before.
  assert every[2].validation_loss == third[0].validation_loss


def test_trials_together_are_the_trials_apart():
  apart, together = (
    small_trainers.images_trainer(SMALL, together=together).run(SMALL.trials())
    for together in (1, 2)
  )
  for one, other in zip(apart, together, strict=True):
    for left, right in zip(one.curve, other.curve, strict=True):
      assert left.loss == pytest.approx(right.loss, abs=1e-4)


def test_seeds_see_the_examples_in_other_orders():
  protocol = dataclasses.replace(SMALL, seeds=(0, 1), curve_points=1)
  results = small_trainers.features_trainer(protocol).run(protocol.trials())
  assert len({result.curve[-1].loss for result in results}) == 4


def test_a_share_is_the_beginning_of_the_whole():
  protocol = dataclasses.replace(SMALL, steps=(20,), curve_points=20)
  trainer = small_trainers.features_trainer(protocol)
  whole = trainer.run(protocol.trials())
  begun = trainer.run(protocol.trials(), share=0.25)
  for one, other in zip(begun, whole, strict=True):
    assert one.curve == other.curve[:5]


class Killed(Exception):
  """In place of a signal, within this process."""


def killing(after):
  """An `advance` that dies once so many steps are done."""
  counter = itertools.count(1)

  def advance(count):
    if count and next(counter) == after:
      raise Killed

  return advance


@pytest.mark.parametrize('together', [1, 2])
def test_what_was_killed_goes_on_to_the_same_bits(tmp_path, together):
  undisturbed = small_trainers.images_trainer(
    SMALL, folder=tmp_path / 'undisturbed', save_steps=2, together=together
  )
  wanted = undisturbed.run(SMALL.trials())
  options = {
    'folder': tmp_path / 'killed', 'save_steps': 2, 'together': together
  }  # fmt: skip
  for after in (1, 4, 3):
    trainer = small_trainers.images_trainer(
      SMALL, advance=killing(after), **options
    )
    with pytest.raises(Killed):
      trainer.run(SMALL.trials())
  trainer = small_trainers.images_trainer(SMALL, **options)
  found = trainer.run(SMALL.trials())
  assert curves(found) == curves(wanted)
  for result in found:
    accuracies = [
      t.accuracy(result, t.validation) for t in (trainer, undisturbed)
    ]
    assert accuracies[0] == accuracies[1]
    # What was tested is the very state that the curve ends with.
    assert accuracies[0] == result.validation_accuracy


def test_what_is_finished_is_not_done_again(tmp_path):
  first = small_trainers.features_trainer(SMALL, folder=tmp_path).run(
    SMALL.trials()
  )
  advanced = []
  again = small_trainers.features_trainer(
    SMALL, folder=tmp_path, advance=advanced.append
  )
  assert again.run(SMALL.trials()) == first
  assert advanced == [7, 7]  # All at once, for the progress.


def test_a_damaged_state_is_as_good_as_none(tmp_path):
  first = small_trainers.features_trainer(SMALL, folder=tmp_path).run(
    SMALL.trials()
  )
  for file in tmp_path.rglob('*'):
    if file.is_file():
      file.write_bytes(b'damaged')
  again = small_trainers.features_trainer(SMALL, folder=tmp_path).run(
    SMALL.trials()
  )
  assert curves(again) == curves(first)


def test_no_flipped_bit_of_a_state_is_believed(tmp_path):
  first = small_trainers.features_trainer(SMALL, folder=tmp_path).run(
    SMALL.trials()
  )
  files = [f for f in sorted(tmp_path.rglob('*')) if f.is_file()]
  files = [file for file in files if file.stat().st_size]
  rng = np.random.default_rng(0)
  whole = {file: file.read_bytes() for file in files}
  for file in files:
    for name, content in whole.items():
      name.parent.mkdir(parents=True, exist_ok=True)
      name.write_bytes(content)
    flipped = bytearray(whole[file])
    flipped[rng.integers(len(flipped))] ^= 1 << rng.integers(8)
    file.write_bytes(flipped)
    again = small_trainers.features_trainer(SMALL, folder=tmp_path).run(
      SMALL.trials()
    )
    assert curves(again) == curves(first), file


def test_a_trial_that_explodes_ends_and_says_so():
  protocol = Protocol(
    learning_rates=(3e38, 0.1), steps=(40,), batch_size=8, drops=()
  )
  bad, good = small_trainers.images_trainer(protocol).run(protocol.trials())
  assert not bad.finite
  assert len(bad.curve) < 10
  assert good.finite
  assert len(good.curve) == 10
  # Together, the sane one must not be taken down.
  bad, good = small_trainers.images_trainer(protocol, together=2).run(
    protocol.trials()
  )
  assert not bad.finite
  assert good.finite
  assert math.isfinite(good.curve[-1].validation_loss)
  assert len(good.curve) == 10


@pytest.mark.parametrize('x64', [False, True])
def test_a_step_keeps_every_type(x64):
  # Another type would be another program at the next step.
  with jax.enable_x64(x64):
    trainer = small_trainers.images_trainer(SMALL)
    run = trainer_lib._Group(trainer, SMALL.trials()[:1], 1.0)
    state = steps.start(trainer.variables, num_trials=1)
    after, _ = jax.eval_shape(trainer._step(1), state, run._batch(0))
    types = [jax.tree.map(lambda x: x.dtype, tree) for tree in (state, after)]
  assert types[0] == types[1]
  assert set(map(str, jax.tree.leaves(types[0]))) == {'float32', 'int32'}


def test_it_learns():
  protocol = Protocol(learning_rates=(0.05,), steps=(40,), batch_size=8)
  (result,) = small_trainers.images_trainer(protocol).run(protocol.trials())
  assert result.validation_accuracy > 0.9


def test_checkpoints_of_an_architecture_share_a_program():
  protocol = dataclasses.replace(SMALL, steps=(2, 3))
  before = None
  for seed in (0, 1):
    trainer = small_trainers.images_trainer(protocol, seed=seed)
    trainer.run(protocol.trials())
    train = steps.training(
      trainer.network, num_trials=1, momentum=0.9, weight_decay=0.0
    )
    predict = steps.prediction(trainer.network, num_trials=1)
    sizes = train._cache_size(), predict._cache_size()
    assert before in (None, sizes)
    before = sizes


@pytest.mark.parametrize('limit', ['one', 'all'])
def test_only_so_many_trials_as_fit_run_together(monkeypatch, limit):
  protocol = dataclasses.replace(SMALL, learning_rates=(1.0, 0.1, 0.2, 0.3))
  trainer = small_trainers.features_trainer(protocol)
  needs_of = {size: trainer._memory(size) for size in (1, 2, 4)}
  needs = {'one': needs_of[1], 'all': needs_of[4]}
  assert needs['one'] < needs['all']

  class Device:
    def memory_stats(self):
      return {'bytes_limit': needs[limit] / trial_groups._MEMORY_SHARE + 1}

  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
  groups = trial_groups.groups(
    protocol.trials(), together=0, needs=needs_of.__getitem__
  )
  assert [len(group) for group in groups] == {
    'one': [1, 1, 1, 1], 'all': [4]
  }[limit]  # fmt: skip
