# SPDX-License-Identifier: Apache-2.0
"""Labelled images made from seeds: what the bundled checkpoints learn from.

Three sources, none of which is a downstream task: `glyphs`, invented characters
of a few curved strokes; `textures`, coloured gratings and checks; and `scenes`,
shaded things of many sizes that hide each other. A class is a prototype; an
example is that prototype in another pose, width and colour. `mixed` is a third
of each, with the classes of all.

Axes: N examples, C classes, S strokes, P points of a stroke's polyline.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

IMAGE_SIZE = 32

_CLASSES = 64  # Of each source.
# The prototypes of a source are the same in every run; examples are not.
_PROTOTYPE_SEED = 20_210_620
_STROKES = 3
_POINTS = 9  # A curve of 8 straight pieces looks smooth at 32 px.
_THINGS = 24  # They cover most of the ground.
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


def _thing(key: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
  """A mask [H, W] and colours [H, W, 3] of one thing of a scene.

  The class says its shape (disc, square, triangle or bar), how large such
  things are and which hues they have.
  """
  shape, size, palette = label % 4, label // 4 % 4, label // 16
  key_place, key_pose, key_colour = jax.random.split(key, 3)
  offset = _grid() - jax.random.uniform(
    key_place, (2,), minval=-1.2, maxval=1.2
  )
  turn, grow, light, slope = jax.random.uniform(key_pose, (4,), minval=-1.0)
  angle = jnp.pi * turn
  u = offset @ jnp.stack([jnp.cos(angle), jnp.sin(angle)])
  v = offset @ jnp.stack([-jnp.sin(angle), jnp.cos(angle)])
  square = jnp.maximum(abs(u), abs(v))
  distance = jnp.stack(
    [
      jnp.hypot(u, v),
      square,
      jnp.maximum(0.87 * abs(u) + 0.5 * v, -v),
      jnp.maximum(0.5 * abs(u), 2 * abs(v)),
    ]
  )[shape]
  radius = 0.14 * 1.45**size * 1.3**grow
  mask = jax.nn.sigmoid((radius - distance) / 0.03)
  hue = (palette + 0.6 * jax.random.uniform(key_colour)) * jnp.pi / 2
  tint = jnp.cos(hue - jnp.arange(3) * 2 * jnp.pi / 3)
  # Lit from one side, as things are.
  shade = 0.5 + 0.2 * light + 0.15 * slope * u / radius
  return mask, shade[..., None] + 0.25 * tint


def _scene(key: jax.Array, label: jax.Array) -> jax.Array:
  """Draws a scene, from back to front."""
  key_ground, key_things, key_noise = jax.random.split(key, 3)
  ground = jax.random.uniform(key_ground, (3,))

  def paint(image, key):
    mask, colours = _thing(key, label)
    return image + mask[..., None] * (colours - image), None

  image, _ = jax.lax.scan(
    paint,
    jnp.broadcast_to(ground, (IMAGE_SIZE, IMAGE_SIZE, 3)),
    jax.random.split(key_things, _THINGS),
  )
  noise = 0.03 * jax.random.normal(key_noise, image.shape)
  return jnp.clip(image + noise, 0, 1)


def _mixed(key: jax.Array, label: jax.Array) -> jax.Array:
  return jax.lax.switch(
    label // _CLASSES, (_glyph, _texture, _scene), key, label % _CLASSES
  )


_SOURCES = {
  'glyphs': _glyph,
  'textures': _texture,
  'scenes': _scene,
  'mixed': _mixed,
}


def num_classes(name: str) -> int:
  return 3 * _CLASSES if name == 'mixed' else _CLASSES


@functools.partial(jax.jit, static_argnums=0)
def _draw(name: str, key: jax.Array) -> tuple[jax.Array, jax.Array]:
  key_labels, key_images = jax.random.split(key)
  labels = jax.random.randint(key_labels, (_CHUNK,), 0, num_classes(name))
  images = jax.vmap(_SOURCES[name])(
    jax.random.split(key_images, _CHUNK), labels
  )
  return jnp.round(255 * images).astype(jnp.uint8), labels


def draw(
  name: str, *, key: jax.Array, num_examples: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws labelled examples of a source.

  Args:
    name: 'glyphs', 'textures', 'scenes' or 'mixed'.
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
