# SPDX-License-Identifier: Apache-2.0
"""NLEEP: LEEP, with a Gaussian mixture in place of the source head.

No two public implementations agree; `variant` names which of them is meant.

Axes: N examples, D features, K components, C classes, S seeds.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import em, float64, gmm, leep, pca, standardise
from neucrab_jax.typing import Array, Key, Keys

# Held while matrices are factorised: of two threads that do so at once, under
# jaxlib 0.10, each may wait for ever for what the other has.
_FACTORISING = threading.Lock()

# What mixtures of other examples do to the score, for all seeds alike, beside
# what the examples weigh themselves: a share of the variance over seeds. With
# it pairs hold as often as is stated, see `experiments.calibration`.
_REFITTED = 0.5

# Mixtures to average over if no number is asked for. What refitting adds they
# have in common, so that more make the stated error little smaller; with two,
# where each takes a minute, their own spread is hardly known.
_NUM_SEEDS, _FEWEST_SEEDS = 3, 2
_MANY_POSTERIORS = 10**8

# What the public code of PACTran adds to a probability before its log.
_PACTRAN_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class _Variant:
  """What tells one public NLEEP from another."""

  about: str
  covariance: str
  # From N, C and components per class to K.
  num_components: Callable[[int, int, int], int]
  # From each example's probability of its own class, [..., N], and C to what
  # the score is the mean of.
  values: Callable[[np.ndarray, int], np.ndarray]
  saturated: float  # so close to the largest score, ties decide the order


def _per_class(n: int, num_classes: int, per_class: int) -> int:
  del n
  return num_classes * per_class


def _pactran_components(n: int, num_classes: int, per_class: int) -> int:
  del per_class
  return int(max(min(num_classes, 0.2 * n), 0.1 * n))


def _log(p: np.ndarray, num_classes: int) -> np.ndarray:
  del num_classes
  return np.log(np.maximum(p, np.finfo(np.float32).tiny))


def _log_or_chance(p: np.ndarray, num_classes: int) -> np.ndarray:
  return np.log(np.where(p > 0, p, 1 / num_classes))


def _log_plus_epsilon(p: np.ndarray, num_classes: int) -> np.ndarray:
  del num_classes
  return np.log(p + _PACTRAN_EPSILON)


def _itself(p: np.ndarray, num_classes: int) -> np.ndarray:
  del num_classes
  return p


_VARIANTS = {
  'paper': _Variant(
    'diagonal covariance',
    covariance='diag',
    num_components=_per_class,
    values=_log,
    saturated=-1e-3,
  ),
  'stable_transfer': _Variant(
    'as in google-research: full covariance',
    covariance='full',
    num_components=_per_class,
    values=_log_or_chance,
    saturated=-1e-3,
  ),
  'pactran': _Variant(
    'as in google-research/pactran_metrics, its sign turned: full covariance, '
    'max(min(C, N/5), N/10) components, 1e-10 within the log',
    covariance='full',
    num_components=_pactran_components,
    values=_log_plus_epsilon,
    saturated=-1e-3,
  ),
  'sfda': _Variant(
    'as in TencentARC/SFDA and its descendants: full covariance, mean '
    'probability without a log',
    covariance='full',
    num_components=_per_class,
    values=_itself,
    saturated=1 - 1e-3,
  ),
}


def score_projected(
  z: Float[Array, 'N k'] | standardise.Placed,
  labels: Int[Array, 'N'],
  keys: Keys,
  *,
  num_components: int,
  covariance: str,
  max_iterations: int,
  tolerance: float,
  values: Callable[[np.ndarray, int], np.ndarray] = _log,
) -> tuple[Float[np.ndarray, 'S N'], gmm.GMM]:
  """NLEEP of features that PCA has projected, once for each of S seeds.
  Args:
    z: [N, k], the projected features, or what `em.place` made of them.
    labels: [N], integers from 0 to C − 1.
    keys: [S], of the mixtures' initialisations.
    num_components: K.
    covariance: of the mixtures.
    max_iterations: of EM.
    tolerance: gain in mean log-likelihood, nats, at which EM stops.
    values: from the probability of each example's own class, [S, N], and C to
      what the score is the mean of.

  Returns:
    [S, N], of which each seed's score is the mean, and the mixtures.
  """
  num_classes = int(np.max(labels)) + 1
  matrices = covariance in ('full', 'tied')
  with _FACTORISING if matrices else contextlib.nullcontext():
    mixtures = gmm.fit_many(
      keys,
      z,
      num_components=num_components,
      covariance=covariance,
      max_iterations=max_iterations,
      tolerance=tolerance,
    )
    p = leep.predictions(mixtures, z, labels, num_classes=num_classes)
    # Waits for both.
    p = np.asarray(p, np.float64)
  return values(p, num_classes), mixtures


def nleep(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  key: Key,
  variant: str = 'paper',
  energy: float = 0.8,
  components_per_class: int = 5,
  num_seeds: int | None = None,
  max_iterations: int = 100,
  tolerance: float = 1e-3,
) -> measure.Score:
  """How well clusters of the features predict the labels.

      s_i      = PCA(f_i)
      r_iv     = P(v | s_i), of a Gaussian mixture fitted to the s_i
      P(y | v) = Σ_{i: y_i = y} r_iv / Σ_i r_iv
      NLEEP    = 1/N Σ_i log Σ_v P(y_i | v) r_iv

  This is the variant 'paper'; which covariance the paper does not say. With
  more components than examples, there are as many as examples.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    key: of the mixtures' initialisations.
    variant: 'paper', or another public implementation: 'stable_transfer',
      'pactran' or 'sfda'. Its seeds and k-means are ours.
    energy: the share of the variance that PCA keeps, in (0, 1].
    components_per_class: K / C; SFDA's code takes 1 for fine-grained tasks,
      and 'pactran' has a rule of its own.
    num_seeds: S, how many mixtures to average over, from two on. If not given,
      three, and two where N K is above 10⁸, as for SUN397.
    max_iterations: of EM.
    tolerance: gain in mean log-likelihood, nats, at which EM stops.

  Returns:
    The mean over seeds, in nats and at most 0 (for 'sfda' a probability), and
    the standard deviation over seeds.

  Reference:
    Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 3.2.
  """
  chosen = _VARIANTS[variant]
  n, num_classes = len(labels), int(np.max(labels)) + 1
  num_components = chosen.num_components(n, num_classes, components_per_class)
  warnings = []
  if num_components > n:
    warnings.append(
      f'{num_components} components for {n} examples: reduced to {n}.'
    )
  num_components = max(1, min(num_components, n))
  if num_seeds is None:
    is_many = n * num_components > _MANY_POSTERIORS
    num_seeds = _FEWEST_SEEDS if is_many else _NUM_SEEDS
  x = float64.standard(features)
  z = pca.transform(pca.fit(x, energy=energy), x)
  del x  # As large as the features.
  placed = em.place(z, num_components)
  del z  # Nearly as large.
  by_example, mixtures = score_projected(
    placed,
    labels,
    jax.random.split(key, num_seeds),
    num_components=num_components,
    covariance=chosen.covariance,
    max_iterations=max_iterations,
    tolerance=tolerance,
    values=chosen.values,
  )
  scores = by_example.mean(axis=1)
  unfinished = num_seeds - int(np.sum(mixtures.converged))
  if unfinished:
    warnings.append(
      f'EM stopped at {max_iterations} iterations without converging for '
      f'{unfinished} of {num_seeds} seeds.'
    )
  if scores.mean() > chosen.saturated:
    warnings.append(
      'NLEEP is saturated: every component is of one class, so checkpoints '
      f'this good cannot be told apart ({n / num_components:.1f} examples per '
      'component; use more examples or fewer components per class).'
    )
  return measure.Score(
    scores.mean(),
    # Of the mean over seeds, with the mixtures as they are.
    influence=by_example.mean(axis=0) - scores.mean(),
    noise=scores.std(ddof=1) * np.sqrt(1 / num_seeds + _REFITTED),
    std=scores.std(ddof=1),
    warnings=tuple(warnings),
  )


MEASURE = measure.Measure(
  nleep,
  variant={name: variant.about for name, variant in _VARIANTS.items()},
  spread='standard deviation over seeds',
  limits={
    'variant': tuple(_VARIANTS),
    'energy': (0.0, 1.0),
    'components_per_class': (1, None),
    'num_seeds': (_FEWEST_SEEDS, None),
    'max_iterations': (1, None),
    'tolerance': (0.0, None),
  },
)
