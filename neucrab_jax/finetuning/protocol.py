# SPDX-License-Identifier: Apache-2.0
"""How a checkpoint is fine-tuned: the protocol, its sweep, its schedule.

    η(t) = η · min((t + 1) / W, 1) · 0.1^#{d : t ≥ round(d · T)}

for a trial of learning rate η and T steps, W of them warm-up, and drops d.

Reference:
  Zhai et al., A Large-scale Study of Representation Learning with the Visual
  Task Adaptation Benchmark, 2019; github.com/google-research/task_adaptation.
"""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neucrab_jax import spelling

MODES = ('full', 'head')
AUGMENTATIONS = ('none', 'flip', 'crop_and_flip')

# What a drop multiplies the learning rate by.
_DROP = 0.1

# Of what is counted; XLA's own counters end there.
_MOST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Trial:
  """One cell of the sweep.

  Attributes:
    learning_rate: η, before warm-up and drops.
    steps: T.
    seed: of the data order and the augmentation; the head starts at zero.
  """

  learning_rate: float
  steps: int
  seed: int


@dataclasses.dataclass(frozen=True)
class Protocol:
  """All that decides what fine-tuning gives, beside network and data.

  The defaults are VTAB's light sweep.

  Attributes:
    mode: 'full' trains the whole network, 'head' only a linear classifier on
      its features.
    learning_rates: of the sweep.
    steps: of the sweep.
    seeds: each has a sweep of its own.
    batch_size: B, over all devices.
    momentum: of SGD.
    weight_decay: added to the gradient, times the weights.
    warmup_steps: W; 0 for none.
    drops: d, where the learning rate falls by ten, as shares of the steps.
    augmentation: 'none', 'flip' (left to right) or 'crop_and_flip'.
    batch_norm_decay: of BatchNorm's moving averages; 0 for the network's own.
    curve_points: how often, evenly, the validation accuracy is measured.
  """

  mode: str = 'full'
  learning_rates: tuple[float, ...] = (0.1, 0.01)
  steps: tuple[int, ...] = (2_500, 10_000)
  seeds: tuple[int, ...] = (0,)
  batch_size: int = 512
  momentum: float = 0.9
  weight_decay: float = 0.0
  warmup_steps: int = 0
  drops: tuple[float, ...] = (0.3, 0.6, 0.9)
  augmentation: str = 'none'
  batch_norm_decay: float = 0.0
  curve_points: int = 10

  def __post_init__(self):
    """Refuses what cannot be.

    Raises:
      ValueError: naming the setting, its value and what it may be.
    """
    if self.mode not in MODES:
      raise spelling.unknown('mode', self.mode, MODES)
    if self.augmentation not in AUGMENTATIONS:
      raise spelling.unknown('augmentation', self.augmentation, AUGMENTATIONS)
    if self.mode == 'head' and self.augmentation != 'none':
      raise ValueError(
        f'The augmentation {self.augmentation!r} needs the whole network, but '
        "the mode is 'head', which sees every image once. Choose 'none'."
      )
    for name, kind, low, high in (
      ('learning_rates', float, 0, None),
      ('steps', int, 1, _MOST),
      ('seeds', int, 0, 2**32 - 1),
      ('batch_size', int, 1, _MOST),
      ('momentum', float, 0, 1),
      ('weight_decay', float, 0, None),
      ('warmup_steps', int, 0, _MOST),
      ('drops', float, 0, 1),
      ('batch_norm_decay', float, 0, 1),
      ('curve_points', int, 1, _MOST),
    ):
      _check(name, getattr(self, name), kind=kind, low=low, high=high)
    for name in ('learning_rates', 'steps', 'seeds'):
      values = getattr(self, name)
      if not values or len(set(values)) < len(values):
        raise ValueError(
          f'{name} must be one or more different values, not {values}.'
        )

  def trials(self) -> tuple[Trial, ...]:
    """The sweep, those of equal shapes together."""
    return tuple(
      Trial(learning_rate, steps, seed)
      for steps, seed, learning_rate in itertools.product(
        self.steps, self.seeds, self.learning_rates
      )
    )


def _check(
  name: str, value: object, *, kind: type, low: int, high: int | None
) -> None:
  """Checks a number, or each of several."""
  for x in value if isinstance(value, tuple) else (value,):
    if isinstance(x, bool) or not isinstance(x, int | float):
      raise ValueError(f'{name} must be a number, not {x!r}.')
    if kind is int and not isinstance(x, int):
      raise ValueError(f'{name} must be a whole number, not {x}.')
    if not (low <= x < math.inf and (high is None or x <= high)):
      allowed = f'at least {low} and finite'
      if high is not None:
        allowed = f'from {low} to {high:,}'
      raise ValueError(f'{name} must be {allowed}, not {x}.')


def learning_rates(trial: Trial, protocol: Protocol) -> np.ndarray:
  """The learning rate of every step of a trial: [T] f32."""
  drops = [round(share * trial.steps) for share in protocol.drops]
  drop = optax.piecewise_constant_schedule(
    trial.learning_rate, {step: _DROP ** drops.count(step) for step in drops}
  )
  steps = jnp.arange(trial.steps)
  rates = jax.vmap(drop)(steps)
  if protocol.warmup_steps:
    warmup = optax.linear_schedule(0.0, 1.0, protocol.warmup_steps)
    rates = rates * warmup(steps + 1)
  return np.asarray(rates, np.float32)


def optimizer(
  learning_rate: float | jax.Array, *, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
  """SGD with momentum, whose state does not depend on the learning rate."""
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.sgd(learning_rate, momentum=momentum),
  )


def curve_steps(trial: Trial, protocol: Protocol) -> tuple[int, ...]:
  """After how many steps the curve has a point; the last is after all."""
  points = np.linspace(0, trial.steps, protocol.curve_points + 1)[1:]
  return tuple(dict.fromkeys(round(point) or 1 for point in points))
