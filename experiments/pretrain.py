# SPDX-License-Identifier: Apache-2.0
"""Pre-trains the bundled checkpoints of group `mini_1` from seeds alone.

  python -m experiments.pretrain

trains one small ResNet-v2 under eight kinds of supervision, and leaves a ninth
as it was initialised. For each it writes `<name>.npz`, the weights in f16, and
`<name>.json`, how they came about (loss and accuracy are of held-out examples
of the source), into `neucrab_jax/checkpoints/mini_1`. About
25 minutes on 2 CPU cores. `--names=mini_vae` makes just that one.
"""

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags, logging
from flax import traverse_util
from rich import progress

import neucrab_jax
from experiments import objectives, sources
from neucrab_jax import records

_OUT = flags.DEFINE_string(
  'out', 'neucrab_jax/checkpoints/mini_1', 'Folder to write to.'
)
_NAMES = flags.DEFINE_list('names', None, 'Checkpoints to make; default: all.')

NUM_TRAIN = 16_384
NUM_HELD_OUT = 2_048
BATCH_SIZE = 128
STEPS = 1_000
_WARMUP = 50
_LEARNING_RATE = 5e-3
_WEIGHT_DECAY = 1e-4


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What a checkpoint is trained on.

  Attributes:
    source: a name of `experiments.sources`.
    objectives: of 'classify', 'rotate', 'exemplar', 'reconstruct'; their losses
      are added.
    labelled: the share of training examples whose label may be used.
    steps: how many steps of the run this checkpoint has seen.
  """

  source: str = 'glyphs'
  objectives: tuple[str, ...] = ('classify',)
  labelled: float = 1.0
  steps: int = STEPS


RECIPES = {
  'mini_sup_glyphs': Recipe(),
  'mini_sup_glyphs_stage1': Recipe(steps=STEPS // 10),
  'mini_sup_textures': Recipe(source='textures'),
  'mini_sup_exemplar': Recipe(objectives=('classify', 'exemplar')),
  'mini_semi_rotation_10': Recipe(
    objectives=('classify', 'rotate'), labelled=0.1
  ),
  'mini_rotation': Recipe(objectives=('rotate',)),
  'mini_exemplar': Recipe(objectives=('exemplar',)),
  'mini_vae': Recipe(objectives=('reconstruct',)),
  'mini_random': Recipe(objectives=(), steps=0),
}


def _optimizer() -> optax.GradientTransformation:
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, _LEARNING_RATE, _WARMUP, STEPS
  )
  return optax.adamw(schedule, weight_decay=_WEIGHT_DECAY)


def _stored(variables: Any) -> dict[str, np.ndarray]:
  """The backbone's variables by path, in f16."""
  return {
    f'{collection}/{path}': np.asarray(array, np.float16)
    for collection, tree in variables.items()
    for path, array in traverse_util.flatten_dict(
      tree['backbone'], sep='/'
    ).items()
  }


def _batches(recipe: Recipe, key: jax.Array, step: int) -> jax.Array:
  """Indices [2, B] of the labelled and of any examples that a step sees."""
  key_labelled, key_any = jax.random.split(jax.random.fold_in(key, step))
  num_labelled = int(recipe.labelled * NUM_TRAIN)
  return jnp.stack(
    [
      jax.random.randint(key_labelled, (BATCH_SIZE,), 0, num_labelled),
      jax.random.randint(key_any, (BATCH_SIZE,), 0, NUM_TRAIN),
    ]
  )


def _make_step(
  recipe: Recipe,
  learner: objectives.Learner,
  optimizer: optax.GradientTransformation,
):
  """The jitted training step over state (variables, optimizer state)."""

  @jax.jit
  def step(state, images, labels, key, index):
    variables, optimizer_state = state
    key_batch, key_loss = jax.random.split(key)
    batch = _batches(recipe, key_batch, index)

    def loss_fn(params):
      (loss, _), updates = learner.apply(
        {**variables, 'params': params},
        images[batch],
        labels[batch[0]],
        jax.random.fold_in(key_loss, index),
        train=True,
        mutable=['batch_stats'],
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
  name: str, *, seed: int = 0, steps: int | None = None, tick=lambda: None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Makes one checkpoint.

  Args:
    name: a key of `RECIPES`.
    seed: of initialisation, data, batches and augmentation.
    steps: overrides how many steps to take.
    tick: called after every step.

  Returns:
    The stored variables by path, and the training record.
  """
  recipe = RECIPES[name]
  steps = recipe.steps if steps is None else steps
  learner = objectives.Learner(
    recipe.objectives,
    # A few labelled examples, seen often, would be learnt by heart.
    augment_labelled=recipe.labelled < 1,
  )
  optimizer = _optimizer()
  # Named for their use; recipes of one run share all of them.
  key_init, key_train, key_held_out, key_steps, key_eval = jax.random.split(
    jax.random.key(seed), 5
  )
  images, labels = sources.draw(
    recipe.source, key=key_train, num_examples=NUM_TRAIN
  )
  held_out = sources.draw(
    recipe.source, key=key_held_out, num_examples=NUM_HELD_OUT
  )
  variables = learner.init(
    key_init, images[:2, None], labels[:1], key_init, train=False
  )
  step = _make_step(recipe, learner, optimizer)
  state = variables, optimizer.init(variables['params'])
  images, labels = jax.device_put((images, labels))
  for index in range(steps):
    state, _ = step(state, images, labels, key_steps, index)
    tick()
  # What is reported is what is stored: the weights after rounding to f16.
  stored = _stored(state[0])
  rounded = jax.tree.map(
    lambda x: x.astype(jnp.float16).astype(jnp.float32), state[0]
  )
  loss, accuracy = jax.jit(functools.partial(learner.apply, train=False))(
    rounded, jnp.stack([held_out[0]] * 2), held_out[1], key_eval
  )
  trained = bool(recipe.objectives)
  record = {
    'command': f'python -m experiments.pretrain --names={name}',
    'seed': seed,
    'recipe': {**dataclasses.asdict(recipe), 'steps': steps},
    'architecture': objectives.ARCHITECTURE,
    'num_parameters': sum(
      array.size for path, array in stored.items() if path.startswith('params/')
    ),
    'final_loss': round(float(loss), 4) if trained else None,
    'final_accuracy': round(float(accuracy), 4) if accuracy >= 0 else None,
    'versions': {
      'neucrab_jax': neucrab_jax.__version__,
      'jax': jax.__version__,
    },
  }
  return stored, record


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'Unexpected arguments: {argv[1:]}')
  names = _NAMES.value or list(RECIPES)
  unknown = sorted(set(names) - set(RECIPES))
  if unknown:
    raise app.UsageError(f'Unknown {unknown}. Known: {", ".join(RECIPES)}.')
  out = pathlib.Path(_OUT.value)
  columns = (
    *progress.Progress.get_default_columns(),
    progress.TimeElapsedColumn(),
  )
  with progress.Progress(*columns) as bars:
    overall = bars.add_task('all', total=sum(RECIPES[n].steps for n in names))
    for name in names:
      bar = bars.add_task(name, total=RECIPES[name].steps or 1)

      def tick(bar=bar):
        bars.advance(bar)
        bars.advance(overall)

      stored, record = pretrain(name, tick=tick)
      bars.update(bar, completed=RECIPES[name].steps or 1)
      weights = out / f'{name}.npz'
      records.write_npz(weights, stored, compress=True)
      record['sha256'] = hashlib.sha256(weights.read_bytes()).hexdigest()
      records.write_json(weights.with_suffix('.json'), record)


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  app.run(main)
