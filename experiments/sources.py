# SPDX-License-Identifier: Apache-2.0
"""Labelled images made from seeds: what the bundled checkpoints learn from.

Two sources, neither of which is a downstream task: `glyphs`, invented
characters of a few curved strokes, and `textures`, coloured gratings and
checks. A class is a prototype; an example is that prototype in another pose,
width and colour.

Axes: N examples, C classes, S strokes, P points of a stroke's polyline.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

IMAGE_SIZE = 32
NUM_CLASSES = 64

# The prototypes of a source are the same in every run; examples are not.
_PROTOTYPE_SEED = 20_210_620
_STROKES = 3
_POINTS = 9  # A curve of 8 straight pieces looks smooth at 32 px.
# So many examples are drawn at once: their distance fields fit in memory.
_CHUNK = 512


def _grid() -> jax.Array:
  """Pixel centres in [-1, 1]², [H, W, 2]."""
  ticks = (jnp.arange(IMAGE_SIZE) + 0.5) / IMAGE_SIZE * 2 - 1
  return jnp.stack(jnp.meshgrid(ticks, ticks), axis=-1)


def _colour(key: jax.Array, mask: jax.Array) -> jax.Array:
  """Paints a mask in [0, 1] with two colours of clear contrast, plus noise."""
  key_colours, key_flip, key_noise = jax.random.split(key, 3)
  dark, bright = jax.random.uniform(key_colours, (2, 3)) * 0.4 + jnp.array(
    [[0.0], [0.6]]
  )
  flip = jax.random.bernoulli(key_flip)
  ground, ink = jnp.where(flip, bright, dark), jnp.where(flip, dark, bright)
  image = ground + mask[..., None] * (ink - ground)
  noise = 0.04 * jax.random.normal(key_noise, image.shape)
  return jnp.clip(image + noise, 0, 1)


def _glyph(key: jax.Array, label: jax.Array) -> jax.Array:
  """Draws one glyph: three quadratic Bézier strokes, [H, W, 3] in [0, 1]."""
  prototype = jax.random.uniform(
    jax.random.fold_in(jax.random.key(_PROTOTYPE_SEED), label),
    (_STROKES, 3, 2),
    minval=-0.8,
    maxval=0.8,
  )
  key_jitter, key_pose, key_pen, key_colour = jax.random.split(key, 4)
  control = prototype + 0.08 * jax.random.normal(key_jitter, prototype.shape)
  pose = jax.random.uniform(key_pose, (5,), minval=-1.0)
  angle, scale = 0.25 * pose[0], 0.85 + 0.2 * pose[1]
  rotation = jnp.array(
    [
      [jnp.cos(angle), -jnp.sin(angle)],
      [jnp.sin(angle), jnp.cos(angle)],
    ]
  )
  shear = jnp.array([[1.0, 0.25 * pose[2]], [0.0, 1.0]])
  control = scale * control @ (shear @ rotation) + 0.15 * pose[3:]
  t = jnp.linspace(0, 1, _POINTS)[:, None]
  bernstein = jnp.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2])  # [3, P, 1]
  curve = jnp.einsum('scx,cpo->spx', control, bernstein)  # [S, P, 2]
  start, step = curve[:, :-1], jnp.diff(curve, axis=1)
  offset = _grid()[:, :, None, None] - start  # [H, W, S, P - 1, 2]
  along = (offset * step).sum(-1) / ((step**2).sum(-1) + 1e-6)
  nearest = offset - jnp.clip(along, 0, 1)[..., None] * step
  distance = jnp.sqrt((nearest**2).sum(-1).min((-1, -2)) + 1e-8)
  width, softness = jax.random.uniform(
    key_pen, (2,), minval=jnp.array([0.06, 0.03]), maxval=jnp.array([0.2, 0.1])
  )
  return _colour(key_colour, jax.nn.sigmoid((width - distance) / softness))


def _texture(key: jax.Array, label: jax.Array) -> jax.Array:
  """Draws one texture: 8 directions × 4 frequencies × stripes or checks."""
  direction, frequency, checks = label % 8, label // 8 % 4, label // 32
  key_pose, key_phase, key_colour = jax.random.split(key, 3)
  pose = jax.random.uniform(key_pose, (2,), minval=-1.0)
  angle = (direction + 0.3 * pose[0]) * jnp.pi / 8
  cycles = 2.0 * 1.5 ** (frequency + 0.3 * pose[1])
  axes = jnp.array(
    [
      [jnp.cos(angle), -jnp.sin(angle)],
      [jnp.sin(angle), jnp.cos(angle)],
    ]
  )
  phase = jax.random.uniform(key_phase, (2,), maxval=2 * jnp.pi)
  waves = jnp.sin(jnp.pi * cycles * (_grid() @ axes) + phase)
  wave = jnp.where(checks, waves[..., 0] * waves[..., 1], waves[..., 0])
  return _colour(key_colour, jax.nn.sigmoid(5 * wave))


_SOURCES = {'glyphs': _glyph, 'textures': _texture}


@functools.partial(jax.jit, static_argnums=0)
def _draw(name: str, key: jax.Array) -> tuple[jax.Array, jax.Array]:
  key_labels, key_images = jax.random.split(key)
  labels = jax.random.randint(key_labels, (_CHUNK,), 0, NUM_CLASSES)
  images = jax.vmap(_SOURCES[name])(
    jax.random.split(key_images, _CHUNK), labels
  )
  return jnp.round(255 * images).astype(jnp.uint8), labels


def draw(
  name: str, *, key: jax.Array, num_examples: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws labelled examples of a source.

  Args:
    name: 'glyphs' or 'textures'.
    key: what the examples depend on; the classes do not.
    num_examples: N.

  Returns:
    images uint8 [N, 32, 32, 3] and labels int32 [N].
  """
  chunks = [
    jax.device_get(_draw(name, jax.random.fold_in(key, i)))
    for i in range(-(-num_examples // _CHUNK))
  ]
  images, labels = map(np.concatenate, zip(*chunks, strict=True))
  return images[:num_examples], labels[:num_examples]
