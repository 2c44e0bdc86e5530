# SPDX-License-Identifier: Apache-2.0
"""Pre-trains the bundled checkpoints from seeds alone.

  python -m experiments.pretrain --config=configs/pretrain.py

For each it writes `<name>.npz`, the weights in f16, and `<name>.json`, how they
came about, into `neucrab_jax/checkpoints/<group>`.
"""

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import msgspec
import numpy as np
import optax
from absl import app, flags, logging
from flax import traverse_util
from ml_collections import config_flags
from rich import progress

import neucrab_jax
from experiments import generative, objectives, sources
from experiments import recipes as recipes_lib
from neucrab_jax import models, spelling, storage
from neucrab_jax.checkpoints import pretraining

_WEIGHT_DECAY = 1e-4
# Of BatchNorm's statistics: what it remembers is a small part of a run.
_DECAY = 0.9
# Losses that the record keeps, for whoever trains the first steps again.
NUM_LOSSES = 3


class Learner(nn.Module):
  """A backbone and the heads that its objectives need.

  The head that names source classes is the backbone's own, and stays with the
  checkpoint; the others are scaffolding.
  """

  recipe: recipes_lib.Recipe

  def setup(self):
    recipe = self.recipe
    num_classes = sources.num_classes(recipe.source)
    head = None
    if 'classify' in recipe.objectives:
      head = num_classes
    elif 'rotate' in recipe.objectives:
      head = objectives.NUM_ROTATIONS
    self.backbone = models.with_batch_norm_decay(
      models.build(recipe.architecture, num_classes=head), _DECAY
    )
    make = {
      # A few labelled examples, seen often, would be learnt by heart.
      'classify': lambda: objectives.Classify(augment=recipe.labelled < 1),
      'rotate': lambda: objectives.Rotate('classify' not in recipe.objectives),
      'exemplar': objectives.Exemplar,
      'jigsaw': objectives.Jigsaw,
      'relative_patch_location': objectives.RelativePatchLocation,
      'generate': generative.Generate,
      'generate_conditionally': lambda: generative.Generate(num_classes),
    }
    self.terms = [
      generative.Reconstruct(name)
      if name in generative.AUTOENCODERS
      else make[name]()
      for name in recipe.objectives
    ]

  def __call__(self, batch: objectives.Batch, key, *, train: bool):
    """The sum of the losses, and the accuracy of the first objective, or −1."""
    if not self.terms:
      self.backbone(objectives.scale(batch.images), train=train)
      return jnp.zeros(()), -jnp.ones(())
    losses, accuracies = zip(
      *(
        term(self.backbone, batch, k, train)
        for term, k in zip(
          self.terms, jax.random.split(key, len(self.terms)), strict=True
        )
      ),
      strict=True,
    )
    return sum(losses), accuracies[0]


def _stored(variables: Any) -> dict[str, np.ndarray]:
  """The backbone's variables by path, in f16."""
  return {
    f'{collection}/{path}': np.asarray(array, np.float16)
    for collection, tree in variables.items()
    for path, array in traverse_util.flatten_dict(
      tree.get('backbone', {}), sep='/'
    ).items()
  }


def batches(
  recipe: recipes_lib.Recipe,
  key: jax.Array,
  step: jax.Array,
  *,
  num_train: int,
  batch_size: int,
) -> jax.Array:
  """Indices [2, B] of the labelled and of any examples that a step sees."""
  key_labelled, key_any = jax.random.split(jax.random.fold_in(key, step))
  num_labelled = int(recipe.labelled * num_train)
  return jnp.stack(
    [
      jax.random.randint(key_labelled, (batch_size,), 0, num_labelled),
      jax.random.randint(key_any, (batch_size,), 0, num_train),
    ]
  )


def _make_step(
  learner: Learner,
  optimizer: optax.GradientTransformation,
  config: ml_collections.FrozenConfigDict,
):
  """The jitted training step over state (variables, optimizer state)."""

  @jax.jit
  def step(state, images, labels, key, index):
    variables, optimizer_state = state
    statistics = [name for name in variables if name != 'params']
    key_batch, key_loss = jax.random.split(key)
    labelled, unlabelled = batches(
      learner.recipe,
      key_batch,
      index,
      num_train=config.num_train,
      batch_size=config.batch_size,
    )
    batch = objectives.Batch(
      images[labelled], labels[labelled], images[unlabelled]
    )
    key_loss, key_dropout = jax.random.split(
      jax.random.fold_in(key_loss, index)
    )

    def loss_fn(params):
      (loss, _), updates = learner.apply(
        {**variables, 'params': params},
        batch,
        key_loss,
        train=True,
        mutable=statistics,
        rngs={'dropout': key_dropout},
      )
      return loss, updates

    (loss, updates), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
      variables['params']
    )
    steps, optimizer_state = optimizer.update(
      gradients, optimizer_state, variables['params']
    )
    params = optax.apply_updates(variables['params'], steps)
    return ({'params': params, **updates}, optimizer_state), loss

  return step


def pretrain(
  name: str,
  config: ml_collections.ConfigDict,
  *,
  steps: int | None = None,
  tick=lambda: None,
) -> tuple[dict[str, np.ndarray], pretraining.Pretraining]:
  """Makes one checkpoint.

  Args:
    name: a key of `recipes.RECIPES`.
    config: as `configs/pretrain.py`.
    steps: overrides how many steps to take; the schedule stays.
    tick: called after every step.

  Returns:
    The stored variables by path, and the training record. Its loss and its
    accuracy are of held-out examples of the source, with the weights that are
    stored.
  """
  recipe = recipes_lib.RECIPES[name]
  if steps is None:
    steps = round(recipe.share * config.steps)
  learner = Learner(recipe)
  optimizer = optax.adamw(
    optax.warmup_cosine_decay_schedule(
      0.0, recipe.learning_rate, config.warmup_steps, config.steps
    ),
    weight_decay=_WEIGHT_DECAY,
  )
  # Named for their use; recipes of one seed share all of them.
  key_init, key_train, key_held_out, key_steps, key_eval = jax.random.split(
    jax.random.key(recipe.seed), 5
  )
  images, labels = sources.draw(
    recipe.source, key=key_train, num_examples=config.num_train
  )
  held_out, held_out_labels = sources.draw(
    recipe.source, key=key_held_out, num_examples=config.num_held_out
  )
  init = jax.jit(functools.partial(learner.init, train=False))
  variables = init(
    key_init, objectives.Batch(images[:2], labels[:2], images[:2]), key_init
  )
  step = _make_step(learner, optimizer, ml_collections.FrozenConfigDict(config))
  state = variables, optimizer.init(variables['params'])
  images, labels = jax.device_put((images, labels))
  losses = []
  for index in range(steps):
    state, loss = step(state, images, labels, key_steps, index)
    if index < NUM_LOSSES:
      losses.append(round(float(loss), 4))
    tick()
  # What is reported is what is stored: the weights after rounding to f16.
  rounded = jax.tree.map(
    lambda x: x.astype(jnp.float16).astype(jnp.float32), state[0]
  )
  loss, accuracy = jax.jit(functools.partial(learner.apply, train=False))(
    rounded, objectives.Batch(held_out, held_out_labels, held_out), key_eval
  )
  stored = _stored(state[0])
  trained = bool(recipe.objectives)
  return stored, pretraining.Pretraining(
    command=(
      'python -m experiments.pretrain --config=configs/pretrain.py '
      f'--config.checkpoints={name}'
    ),
    recipe=pretraining.Recipe(**dataclasses.asdict(recipe), steps=steps),
    num_parameters=sum(
      array.size for path, array in stored.items() if path.startswith('params/')
    ),
    first_losses=tuple(losses),
    final_loss=round(float(loss), 4) if trained else None,
    final_accuracy=round(float(accuracy), 4) if accuracy >= 0 else None,
    versions={
      'neucrab_jax': neucrab_jax.__version__,
      'jax': jax.__version__,
    },
  )


def _select(selection: str) -> dict[str, str]:
  """The names in a selection of groups and names, and the group of each.

  Raises:
    ValueError: if there is no such group or checkpoint.
  """
  groups = recipes_lib.GROUPS
  chosen = {}
  for part in selection.split(','):
    found = {
      name: group
      for group, names in groups.items()
      for name in names
      if part.strip() in (group, name)
    }
    if not found:
      raise spelling.unknown(
        'group or checkpoint',
        part.strip(),
        (*groups, *recipes_lib.RECIPES),
      )
    chosen |= found
  return chosen


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}')
  config = flags.FLAGS.config
  chosen = _select(config.checkpoints)
  steps = {
    name: round(recipes_lib.RECIPES[name].share * config.steps)
    for name in chosen
  }
  columns = (
    *progress.Progress.get_default_columns(),
    progress.TimeElapsedColumn(),
  )
  with progress.Progress(*columns) as bars:
    overall = bars.add_task('all', total=sum(steps.values()))
    for name, group in chosen.items():
      bar = bars.add_task(name, total=steps[name] or 1)

      def tick(bar=bar):
        bars.advance(bar)
        bars.advance(overall)

      stored, record = pretrain(name, config, tick=tick)
      bars.update(bar, completed=steps[name] or 1)
      weights = pathlib.Path(config.out) / group / f'{name}.npz'
      storage.write_npz(weights, stored, compress=True)
      digest = hashlib.sha256(weights.read_bytes()).hexdigest()
      record = msgspec.structs.replace(record, sha256=digest)
      storage.write_json(weights.with_suffix('.json'), record)


if __name__ == '__main__':
  # Not where it is imported: the commands have a flag of this name, too.
  config_flags.DEFINE_config_file('config', None, 'What to train.')
  logging.set_verbosity(logging.WARNING)
  flags.mark_flag_as_required('config')
  app.run(main)
