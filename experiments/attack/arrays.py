# SPDX-License-Identifier: Apache-2.0
"""Route: arrays given to `measures.score`."""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.attack import cases
from neucrab_jax import measures

_N, _D, _C, _Z = 48, 6, 3, 5

# Two train networks, which takes too long for a thousand cases.
_SLOW = ('early_stopping', 'mutual_information')
# They take no arrays.
_CONTROLS = ('random', 'num_parameters', 'upstream_accuracy')
MEASURES = tuple(
  name for name in measures.names() if name not in (*_SLOW, *_CONTROLS)
)

# They take no features.
_OF_PROBS = ('leep', 'nce', 'pactran_dirichlet')

# Which examples are held out, or where a search starts, is drawn by position.
_BY_POSITION = ('nleep', 'linear')
# Their formulas have a constant in the units of the features, or a prior.
_IN_UNITS = (
  'transrate', 'pactran_gaussian', 'gbc', 'sfda', 'logme',
  'interclass_distance',
)  # fmt: skip
# They take angles or weights from zero, not from the mean.
_FROM_ZERO = ('pactran_gaussian', 'logme', 'class_separation')


@functools.cache
def _plain(number: int) -> dict[str, np.ndarray]:
  """A sound problem, of numbers that float16 has."""
  rng = np.random.default_rng(number)
  labels = rng.permutation(np.arange(_N) % _C)
  centres = rng.standard_normal((_C, _D))
  x = centres[labels] + rng.standard_normal((_N, _D))
  probs = rng.dirichlet(np.ones(_Z), _N).astype(np.float32)
  return {
    'features': x.astype(np.float16).astype(np.float32),
    'labels': labels,
    'source_probs': probs,
  }


def _score(name: str, arrays: dict[str, Any], **options: Any) -> float:
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', measures.MeasureWarning)
    return measures.score(name, **arrays, **options)


@functools.cache
def _plain_score(name: str, number: int) -> float:
  return _score(name, _plain(number))


def _read_only(x: np.ndarray) -> np.ndarray:
  x = x.copy()
  x.setflags(write=False)
  return x


def _strided(x: np.ndarray) -> np.ndarray:
  return np.repeat(x, 2, axis=0)[::2]


# Another form of the same numbers.
_FORMS = {
  'float64': lambda x: x.astype(np.float64),
  'float16': lambda x: x.astype(np.float16),
  'long double': lambda x: x.astype(np.longdouble),
  'big-endian': lambda x: x.astype('>f4'),
  'Fortran order': np.asfortranarray,
  'strided': _strided,
  'backwards': lambda x: x[::-1].copy()[::-1],
  'read-only': _read_only,
  'list': lambda x: x.tolist(),
  'jax': jnp.asarray,
  'masked without a mask': np.ma.asarray,
}

_LABEL_FORMS = {
  **{
    kind: functools.partial(lambda y, kind: y.astype(kind), kind=kind)
    for kind in ('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', '>i4', '>u8')
  },
  'strided': _strided,
  'list': lambda y: y.tolist(),
  'jax': jnp.asarray,
  'gaps': lambda y: np.array([0, 7, 1000])[y],
  'whole floats': lambda y: y.astype(np.float64),
  'a column': lambda y: y[:, None],
  'one-hot': lambda y: np.eye(_C)[y],
  'strings': lambda y: np.array(['a', 'b', 'c'])[y],
  'from 1': lambda y: y + 1,
}


def _at(x: np.ndarray, rng: np.random.Generator, value: float) -> np.ndarray:
  x = x.copy()
  x[rng.integers(len(x)), rng.integers(x.shape[1])] = value
  return x


# No features.
_BAD = {
  'NaN': lambda x, rng: _at(x, rng, np.nan),
  'Inf': lambda x, rng: _at(x, rng, -np.inf),
  'a row less': lambda x, rng: x[1:],
  'a row more': lambda x, rng: np.concatenate([x, x[:1]]),
  'a vector': lambda x, rng: x[:, 0],
  'maps': lambda x, rng: x[:, :, None, None],
  'no columns': lambda x, rng: x[:, :0],
  'no rows': lambda x, rng: x[:0],
  'complex': lambda x, rng: x.astype(np.complex64),
  'words': lambda x, rng: x.astype(str),
  'objects': lambda x, rng: np.full(x.shape, object()),
  'dates': lambda x, rng: np.zeros(x.shape, 'M8[s]'),
  'records': lambda x, rng: np.zeros(len(x), [('a', 'f4'), ('b', 'f4')]),
  'a number': lambda x, rng: 1.0,
  'none': lambda x, rng: None,
  'text': lambda x, rng: 'features',
  'ragged': lambda x, rng: [[1.0], [1.0, 2.0]],
  'a dict': lambda x, rng: {'features': x},
}
_BAD_LABELS = {
  'negative': lambda y, rng: y - 1,
  'one class': lambda y, rng: y * 0,
  'too large': lambda y, rng: y.astype(np.uint64) * 2**63,
  'fractions': lambda y, rng: y + 0.5,
  'NaN': lambda y, rng: np.where(y, y, np.nan),
  'short': lambda y, rng: y[1:],
  'empty': lambda y, rng: y[:0],
  'several': lambda y, rng: rng.integers(0, 2, (_N, 4)),
  'none': lambda y, rng: None,
  'complex': lambda y, rng: y.astype(complex),
  'nested': lambda y, rng: [[[1]]],
}

# Sound or not is for the product to say.
_ODD = {
  'constant': lambda x, rng: np.ones_like(x),
  'a constant column': lambda x, rng: x * (np.arange(x.shape[1]) > 0),
  'repeated rows': lambda x, rng: np.tile(x[:4], (_N // 4, 1)),
  'one column': lambda x, rng: x[:, :1],
  'repeated columns': lambda x, rng: np.tile(x[:, :1], (1, x.shape[1])),
  'subnormal': lambda x, rng: x * np.float32(1e-42),
  'huge': lambda x, rng: x.astype(np.float64) * 1e300,
  'near the end of f32': lambda x, rng: x * np.float32(1e38),
  'offset': lambda x, rng: x.astype(np.float64) + 1e9,
  'an outlier': lambda x, rng: _at(x, rng, 1e30),
  'integers': lambda x, rng: np.round(x).astype(np.int8),
  'large integers': lambda x, rng: (x * 2.0**60).astype(np.int64),
  'booleans': lambda x, rng: x > 0,
  'all zero': lambda x, rng: x * 0,
}

# Of any option, and of the seed.
_ODD_VALUES = (
  None, '', 'x', -1, 0, 1, 2, 1.5, -0.0, float('nan'), float('inf'), True,
  2**31, 2**63, 2**70, 10**400, [1], (1,), {}, b'x', 1j, np.float32(0.5),
  np.int64(3), object,
)  # fmt: skip


def _odd_option(rng: np.random.Generator, name: str) -> dict[str, Any]:
  known = ['seed', 'nonsense', *measures.default_options(name)]
  value = _ODD_VALUES[rng.integers(len(_ODD_VALUES))]
  option = known[rng.integers(len(known))]
  if isinstance(value, int) and value > 2 and option != 'seed':
    value = -value  # So many iterations, allowed or not, would never end.
  return {option: value}


def _pick(rng: np.random.Generator, table: dict) -> tuple[str, Any]:
  key = list(table)[rng.integers(len(table))]
  return key, table[key]


def _equivalent(
  rng: np.random.Generator, name: str, arrays: dict[str, Any]
) -> tuple[str, bool, dict[str, Any]]:
  """Another way to say the same, and whether it may be refused."""
  kind = rng.choice(['form', 'labels', 'scale', 'offset', 'order', 'classes'])
  x, y = arrays['features'], arrays['labels']
  if kind == 'labels':
    about, change = _pick(rng, _LABEL_FORMS)
    certain = about in ('i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8')
    return f'labels, {about}', not certain, {**arrays, 'labels': change(y)}
  if kind == 'scale' and name not in _IN_UNITS:
    power = int(rng.integers(-64, 65))
    scaled = x.astype(np.float64) * 2.0**power
    return f'scale 2**{power}', False, {**arrays, 'features': scaled}
  if kind == 'offset' and name not in _FROM_ZERO:
    return 'offset', False, {**arrays, 'features': x + np.float32(4.0)}
  if kind == 'order' and name not in _BY_POSITION:
    order = rng.permutation(_N)
    return 'order', False, {k: v[order] for k, v in arrays.items()}
  if kind == 'classes':
    return 'classes', False, {**arrays, 'labels': rng.permutation(_C)[y]}
  about, change = _pick(rng, _FORMS)
  changed = {k: v if k == 'labels' else change(v) for k, v in arrays.items()}
  if about == 'float16':  # Which probabilities are not.
    changed['source_probs'] = arrays['source_probs']
  return about, False, changed


def make(rng: np.random.Generator, folder: Any) -> cases.Case:
  """Makes a case; it needs no folder."""
  del folder
  number = int(rng.integers(4))
  name = MEASURES[rng.integers(len(MEASURES))]
  arrays = _plain(number)
  act = functools.partial(_score, name)
  kind = rng.choice(['same', 'bad', 'bad labels', 'odd', 'option'])
  if kind == 'same':
    about, may_refuse, changed = _equivalent(rng, name, arrays)
    act = functools.partial(_unchanged, name, changed)
    return cases.Case(
      f'{name}: {about}', act, _plain_score(name, number), may_refuse
    )
  if kind == 'option':
    option = _odd_option(rng, name)
    act = functools.partial(_score, name, arrays, **option)
    return cases.Case(f'{name}: {option}', act)
  if kind == 'bad labels':
    about, change = _pick(rng, _BAD_LABELS)
    changed = {**arrays, 'labels': change(arrays['labels'], rng)}
    right = cases.REFUSAL
    about = f'labels, {about}'
  else:
    about, change = _pick(rng, _BAD if kind == 'bad' else _ODD)
    takes = 'source_probs' if name in _OF_PROBS else 'features'
    changed = {**arrays, takes: change(arrays[takes], rng)}
    right = cases.REFUSAL if kind == 'bad' else cases.ANYTHING
  return cases.Case(f'{name}: {about}', lambda: _score(name, changed), right)


def _unchanged(name: str, arrays: dict[str, Any]) -> float:
  """The score, if what was given stays as it was."""
  before = jax.tree.map(np.array, arrays)
  score = _score(name, arrays)
  for key, value in before.items():
    if not np.array_equal(np.asarray(arrays[key]), np.asarray(value)):
      raise cases.FaultError(f'{name} changed the {key} that it was given.')
  return score
