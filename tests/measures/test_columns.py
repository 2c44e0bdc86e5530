# SPDX-License-Identifier: Apache-2.0
"""Columns of tables, text and half precision: taken where they are certain."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from neucrab_jax import measures
from neucrab_jax.benchmark import metrics

pytestmark = pytest.mark.usefixtures('unchecked_shapes')

CLASSES = np.arange(60) % 3
NAMES = np.array(['cat', 'dog', 'emu'])[CLASSES]
X = np.eye(3, 8)[CLASSES] + np.random.default_rng(0).integers(5, size=(60, 8))


def score(features, labels):
  return measures.score('knn', features=features, labels=labels)


LABELS = {
  'text': NAMES,
  'list of text': NAMES.tolist(),
  'bytes': NAMES.astype('S'),
  'text of any length': NAMES.astype(np.dtypes.StringDType()),
  'column of text': pd.Series(NAMES),
  'column of strings': pd.Series(NAMES, dtype='string'),
  'column of objects': pd.Series(NAMES, dtype=object),
  'categories': pd.Series(NAMES, dtype='category'),
  'categories alone': pd.Categorical(NAMES),
  'categories with one unused': pd.Categorical(
    NAMES, categories=['ant', 'cat', 'dog', 'emu']
  ),
  'categories of numbers': pd.Series(CLASSES + 5, dtype='category'),
  'Int64': pd.Series(CLASSES, dtype='Int64'),
  'Float64': pd.Series(CLASSES, dtype='Float64'),
  'floats': CLASSES.astype(float),
  'float16': CLASSES.astype(np.float16),
  'bfloat16': jnp.asarray(CLASSES, jnp.bfloat16),
  'uint64': CLASSES.astype(np.uint64),
  '[N, 1]': CLASSES[:, None],
  'one-hot': np.eye(3)[CLASSES],
  'one-hot table': pd.get_dummies(pd.Series(NAMES)),
  'table of one column': pd.DataFrame({'label': NAMES}),
  'objects': CLASSES.astype(object),
  'masked, but none is': np.ma.masked_array(CLASSES, CLASSES > 9),
  'as they are': jnp.asarray(CLASSES),
}


@pytest.mark.parametrize('form', LABELS)
def test_labels_are_taken_whose_meaning_is_certain(form):
  assert score(X, LABELS[form]) == score(X, CLASSES)


@pytest.mark.parametrize('form', [bool, 'boolean'])
def test_truth_values_are_two_classes(form):
  labels = pd.Series(CLASSES > 0).astype(form)
  assert score(X, labels) == score(X, (CLASSES > 0).astype(int))


def _with(values, value, dtype=object):
  values = np.array(values, dtype=object)
  values[7] = value
  return pd.Series(values, dtype=dtype)


BAD_LABELS = {
  'None': (_with(NAMES, None), 'lack 1 of 60 .* row 7. Leave'),
  'NaN in text': (_with(NAMES, float('nan')), 'lack 1 of 60'),
  'NA in strings': (_with(NAMES, None, 'string'), 'lack 1 of 60 .* row 7'),
  'NA in Int64': (_with(CLASSES, None, 'Int64'), 'lack 1 of 60 .* row 7'),
  'NA in categories': (_with(NAMES, None, 'category'), 'lack 1 .* row 7'),
  'NaN': (_with(CLASSES, np.nan, float).to_numpy(), 'lack 1 of 60'),
  'None in a list': ([*NAMES[:-1], None], 'lack 1 of 60 .* row 59'),
  'NaN in a list': ([*NAMES[:-1], float('nan')], 'lack 1 of 60'),
  'mixed': (_with(NAMES, 7), 'several kinds, numbers and text'),
  'mixed list': ([*NAMES[:-1], 7], 'several kinds, numbers and text'),
  'fraction': (CLASSES + 0.5, 'row 0 is 0.5. Targets of a regression'),
  'infinite': (_with(CLASSES, np.inf, float), 'row 7 is inf'),
  'masked': (np.ma.masked_array(CLASSES, CLASSES == 1), '20 values are masked'),
  'several': (np.ones((60, 2), int), '2 labels in row 0. Give one label'),
  'none in a row': (np.zeros((60, 2)), '0 labels in row 0'),
  'dates': (np.arange(60).astype('datetime64[D]'), 'are datetime64'),
  'complex': (CLASSES.astype(complex), 'are complex128'),
  'dicts': (np.array([{}] * 60), 'objects: dict'),
  'ragged': ([[0], [0, 1]], 'labels are no array'),
  'one class': (['cat'] * 60, 'at least two classes'),
  'huge': (np.array([2**70] * 60, object), r'row 0 is 1.18\S+. Number'),
  'a row': (CLASSES[None], r'\(1, 60\). Give labels\[0\]'),
}


@pytest.mark.parametrize('bad', BAD_LABELS)
def test_labels_are_refused_that_might_mean_anything(bad):
  labels, message = BAD_LABELS[bad]
  with pytest.raises(ValueError, match=message):
    score(X, labels)


FEATURES = {
  'table': pd.DataFrame(X),
  'table of Float64': pd.DataFrame(X).astype('Float64'),
  'table of Int64 and floats': pd.DataFrame(X).astype({0: 'Int64', 1: 'f4'}),
  'bfloat16': jnp.asarray(X, jnp.bfloat16),
  'float16': X.astype(np.float16),
  'objects': X.astype(object),
  'lists': X.tolist(),
}


@pytest.mark.parametrize('form', FEATURES)
def test_features_are_taken_that_are_numbers(form):
  assert score(FEATURES[form], CLASSES) == score(X, CLASSES)


ROWS = pd.DataFrame(X, index=[f'id{i}' for i in range(60)])
COLUMN = pd.Series(CLASSES, index=ROWS.index)


def test_rows_of_tables_go_together_by_index():
  assert score(ROWS, COLUMN) == score(X, CLASSES)
  assert score(ROWS, CLASSES) == score(X, COLUMN) == score(X, CLASSES)
  with pytest.raises(ValueError, match=r'another order .*features.loc\[lab'):
    score(ROWS, COLUMN[::-1])
  with pytest.raises(ValueError, match=r'other rows than .*features.to_numpy'):
    score(ROWS, COLUMN.reset_index(drop=True))
  with pytest.raises(ValueError, match='source_probs are of other rows'):
    measures.score('leep', source_probs=pd.DataFrame(abs(X)), labels=COLUMN)
  with pytest.raises(ValueError, match='another order'):
    metrics.kendall_tau(COLUMN, COLUMN[::-1])


def test_probabilities_may_be_a_table():
  probs = np.random.default_rng(0).dirichlet(np.ones(8), 60)
  table = pd.DataFrame(probs).astype('Float64')
  found = [
    measures.score('leep', source_probs=given, labels=NAMES)
    for given in (probs, table)
  ]
  assert found[0] == pytest.approx(found[1], rel=1e-12)


BAD_FEATURES = {
  'NA': (
    pd.DataFrame(X)
    .astype(object)
    .where(np.repeat(CLASSES[:, None] < 2, 8, 1), pd.NA),
    'features lack 160 of 480 values, the first of them in row 2',
  ),
  'NaN': (np.where(X > 4, np.nan, X), 'NaN or Inf'),
  'text beside': (
    pd.DataFrame(X).assign(name=NAMES),
    'features are of several kinds, numbers and text',
  ),
  'text': (NAMES[:, None], 'Leave out the columns of text'),
  'masked': (np.ma.masked_array(X, X > 3), 'are a masked array'),
  'sparse': (sparse.csr_matrix(X), 'Give features.toarray'),
}


@pytest.mark.parametrize('bad', BAD_FEATURES)
def test_features_are_refused_with_what_to_give(bad):
  features, message = BAD_FEATURES[bad]
  with pytest.raises(ValueError, match=message):
    score(features, CLASSES)
