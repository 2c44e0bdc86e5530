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
import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags, logging
from flax import traverse_util
from rich import progress

import neucrab_jax
from experiments import sources
from neucrab_jax import models, records

_OUT = flags.DEFINE_string(
  'out', 'neucrab_jax/checkpoints/mini_1', 'Folder to write to.'
)
_NAMES = flags.DEFINE_list('names', None, 'Checkpoints to make; default: all.')

ARCHITECTURE = 'resnet_v2_mini'
VALUE_RANGE = (-1.0, 1.0)
NUM_TRAIN = 16_384
NUM_HELD_OUT = 2_048
BATCH_SIZE = 128
STEPS = 1_000
_WARMUP = 50
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-4
_ROTATIONS = 4
_LATENTS = 32
# Of the exemplar softmax; the usual order of magnitude for unit vectors.
_TEMPERATURE = 0.2
# Standard deviation of a pixel given the latents, in [-1, 1].
_PIXEL_STD = 0.2


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


class _Decoder(nn.Module):
  """Latents [B, L] to images [B, 32, 32, 3]."""

  @nn.compact
  def __call__(self, latents: jax.Array) -> jax.Array:
    x = nn.Dense(8 * 8 * 32)(latents).reshape(-1, 8, 8, 32)
    for width in (32, 16):
      x = nn.ConvTranspose(width, (4, 4), strides=(2, 2))(nn.relu(x))
    return nn.Conv(3, (3, 3))(nn.relu(x))


class Learner(nn.Module):
  """A backbone and the heads that its objectives need.

  The head that names source classes is the backbone's own, and stays with the
  checkpoint; the others are scaffolding.
  """

  recipe: Recipe

  def setup(self):
    objectives = self.recipe.objectives
    num_classes = None
    if 'classify' in objectives:
      num_classes = sources.NUM_CLASSES
    elif 'rotate' in objectives:
      num_classes = _ROTATIONS
    self.backbone = models.build(ARCHITECTURE, num_classes=num_classes)
    if 'rotate' in objectives and 'classify' in objectives:
      self.rotation_head = nn.Dense(_ROTATIONS)
    if 'reconstruct' in objectives:
      self.encoder_head = nn.Dense(2 * _LATENTS)
      self.decoder = _Decoder()

  def __call__(self, images, labels, key, *, train: bool):
    """Adds up the objectives.

    Args:
      images: uint8 [2, B, 32, 32, 3]: examples with labels, and any examples.
      labels: int32 [B], of the first.
      key: of augmentation and sampling.
      train: whether BatchNorm uses the batch.

    Returns:
      The loss, and the accuracy of the first objective that has one, or −1.
    """
    results = [
      getattr(self, f'_{name}')(images, labels, k, train)
      for name, k in zip(
        self.recipe.objectives,
        jax.random.split(key, max(1, len(self.recipe.objectives))),
        strict=False,
      )
    ]
    if not results:
      self.backbone(_scale(images[1]), train=train)
      return jnp.zeros(()), -jnp.ones(())
    losses, accuracies = zip(*results, strict=True)
    return sum(losses), accuracies[0]

  def _classify(self, images, labels, key, train):
    views = _scale(images[0])
    if train:
      views = _augmented(key, images[0])
    return _cross_entropy(self.backbone(views, train=train).logits, labels)

  def _rotate(self, images, labels, key, train):
    del labels
    turns = jax.random.randint(key, (len(images[1]),), 0, _ROTATIONS)
    turned = jax.vmap(
      lambda image, k: jax.lax.switch(
        k, [functools.partial(jnp.rot90, k=i) for i in range(_ROTATIONS)], image
      )
    )(_scale(images[1]), turns)
    outputs = self.backbone(turned, train=train)
    logits = outputs.logits
    if 'classify' in self.recipe.objectives:
      logits = self.rotation_head(outputs.features)
    return _cross_entropy(logits, turns)

  def _exemplar(self, images, labels, key, train):
    """Each image is its own class: find its other view among the batch."""
    del labels
    views = jnp.concatenate(
      [_augmented(k, images[1]) for k in jax.random.split(key)]
    )
    x = self.backbone(views, train=train).features
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    one, other = jnp.split(x, 2)
    similarity = one @ other.T / _TEMPERATURE
    index = jnp.arange(len(one))
    loss, accuracy = _cross_entropy(similarity, index)
    loss_back, _ = _cross_entropy(similarity.T, index)
    return (loss + loss_back) / 2, accuracy

  def _reconstruct(self, images, labels, key, train):
    """Negative evidence lower bound of a VAE, nats per pixel and channel."""
    del labels
    x = _scale(images[1])
    features = self.backbone(x, train=train).features
    mean, log_std = jnp.split(self.encoder_head(features), 2, axis=1)
    noise = jax.random.normal(key, mean.shape)
    rebuilt = self.decoder(mean + jnp.exp(log_std) * noise)
    error = ((x - rebuilt) ** 2).sum((1, 2, 3)) / (2 * _PIXEL_STD**2)
    divergence = (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(1) / 2
    return jnp.mean(error + divergence) / x[0].size, -jnp.ones(())


def _scale(images: jax.Array) -> jax.Array:
  low, high = VALUE_RANGE
  return low + images.astype(jnp.float32) * ((high - low) / 255)


def _augment(key: jax.Array, image: jax.Array) -> jax.Array:
  """Turns, zooms, shifts and recolours one image; returns it in VALUE_RANGE."""
  key_pose, key_gain, key_shift = jax.random.split(key, 3)
  pose = jax.random.uniform(key_pose, (4,), minval=-1.0)
  angle, zoom = 0.35 * pose[0], jnp.exp(0.25 * pose[1])
  centre = (sources.IMAGE_SIZE - 1) / 2
  ticks = jnp.arange(sources.IMAGE_SIZE) - centre
  y, x = jnp.meshgrid(ticks, ticks, indexing='ij')
  cosine, sine = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
  grid = jnp.stack(
    [
      cosine * y - sine * x + centre + 4 * pose[2],
      sine * y + cosine * x + centre + 4 * pose[3],
    ]
  )
  moved = jax.vmap(
    lambda channel: jax.scipy.ndimage.map_coordinates(
      channel, grid, order=1, mode='nearest'
    ),
    in_axes=2,
    out_axes=2,
  )(_scale(image))
  gain = jax.random.uniform(key_gain, (3,), minval=0.5, maxval=1.2)
  shift = jax.random.uniform(key_shift, (3,), minval=-0.3, maxval=0.3)
  return gain * moved + shift


def _augmented(key: jax.Array, images: jax.Array) -> jax.Array:
  return jax.vmap(_augment)(jax.random.split(key, len(images)), images)


def _cross_entropy(logits, labels):
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.mean(), (logits.argmax(-1) == labels).mean()


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


def _make_step(learner: Learner, optimizer: optax.GradientTransformation):
  """The jitted training step over state (variables, optimizer state)."""

  @jax.jit
  def step(state, images, labels, key, index):
    variables, optimizer_state = state
    key_batch, key_loss = jax.random.split(key)
    batch = _batches(learner.recipe, key_batch, index)

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
  learner, optimizer = Learner(recipe), _optimizer()
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
  step = _make_step(learner, optimizer)
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
    'architecture': ARCHITECTURE,
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
      record['sha256'] = records.digest(weights.read_bytes())
      records.write_json(weights.with_suffix('.json'), record)


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  app.run(main)
