# SPDX-License-Identifier: Apache-2.0
"""The rules that the table of newer measures is made by."""

import numpy as np
import pytest
from sklearn import discriminant_analysis

from experiments import newer_measures
from neucrab_jax import features, measures


def make(seed=0, *, scale=1.0, classes=4, dims=6):
  rng = np.random.default_rng(seed)
  labels = np.arange(48) % classes
  centres = 2 * rng.standard_normal((classes, dims))
  x = centres[labels] + rng.standard_normal((48, dims))
  return scale * x, labels


@pytest.mark.parametrize('scale', [0.02, 3.0])
def test_ncti_is_that_of_a_discriminant_analysis(scale):
  x, labels = make(scale=scale)
  # All axes are kept: what rotates features changes nothing.
  variance = x.var(axis=0, ddof=1).sum()
  shrunk = np.exp(-variance) > 1e-10
  assert shrunk == (scale < 1)
  lda = (
    discriminant_analysis.LinearDiscriminantAnalysis(
      solver='lsqr', shrinkage=np.exp(-variance)
    )
    if shrunk
    else discriminant_analysis.LinearDiscriminantAnalysis()
  ).fit(x, labels)
  posterior = lda.predict_proba(x)
  found = newer_measures.ncti(x, labels)
  assert found.ncc == pytest.approx(posterior[np.arange(48), labels].mean())
  nuclear = [
    np.linalg.svd(posterior[labels == c], compute_uv=False).sum()
    for c in range(4)
  ]
  assert found.vc == pytest.approx(np.log(sum(nuclear)))
  if not shrunk:
    low = lda.transform(x)
    singular = np.linalg.svd(low - low.mean(axis=0), compute_uv=False)
    assert found.seli == pytest.approx(singular.sum())


def test_ncti_is_of_those_ranked_together():
  parts = [
    newer_measures.Ncti(seli, ncc, vc)
    for seli, ncc, vc in ((10, 0.5, 3.0), (30, 0.6, 2.0), (20, 1.0, 1.0))
  ]
  np.testing.assert_allclose(newer_measures.combine(parts), [-1, 0.7, 1.5])
  np.testing.assert_allclose(newer_measures.combine(parts[:2]), [-1, 2])
  np.testing.assert_allclose(newer_measures.combine(parts[:1]), [0])


def test_kite_is_lfc_over_alignment_with_random_features():
  x, labels = make()
  random = np.random.default_rng(1).standard_normal((48, 3))
  h = np.eye(48) - 1 / 48
  kernel, other = h @ x @ x.T @ h, h @ random @ random.T @ h
  norms = np.linalg.norm(kernel) * np.linalg.norm(other)
  expected = measures.score('lfc', features=x, labels=labels)
  expected /= (kernel * other).sum() / norms
  assert newer_measures.kite(x, labels, random) == pytest.approx(expected)


def test_spread_moves_all_by_one_from_their_class():
  x, labels = make()
  moved = newer_measures.spread(x, labels) - x
  np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1)
  away = x - np.stack([x[labels == c].mean(axis=0) for c in labels])
  np.testing.assert_allclose(
    np.sum(moved * away, 1), np.linalg.norm(away, axis=1)
  )


def test_attract_moves_classes_towards_each_other():
  x, labels = make()
  expected = np.zeros_like(x)
  groups = [x[labels == c] for c in range(4)]
  for c, own in enumerate(groups):
    for other in groups[:c] + groups[c + 1 :]:
      between = other.mean(axis=0) - own.mean(axis=0)
      distance = np.linalg.norm(between)
      widths = sum(np.sqrt(g.var(axis=0).sum()) for g in (own, other))
      step = 0.005 * (distance - 0.6 * widths)
      expected[labels == c] += step * between / distance
  moved = newer_measures.attract(x, labels) - x
  np.testing.assert_allclose(moved, expected, atol=1e-12)


@pytest.mark.parametrize(('scale', 'moves'), [(0.1, False), (3.0, True)])
def test_only_features_that_vary_much_are_moved(scale, moves):
  x, _ = make(scale=scale)
  top = np.linalg.eigvalsh(np.cov(x.T, bias=True))[-2:]
  assert (np.exp(-5 * top.mean()) < 1e-9) == moves
  assert newer_measures.is_moved(x) == moves


@pytest.fixture
def files(tmp_path):
  for seed, name in enumerate(('good', 'fair', 'random')):
    x, labels = make(dims=3)
    noise = np.random.default_rng(seed).standard_normal(x.shape)
    x = (x + 3 * seed * noise).astype(np.float32)
    features.write(
      tmp_path / f'{name}.npz', features.Features(x, labels.astype(np.int32))
    )
  rows = 'checkpoint,accuracy\ngood,0.9\nfair,0.6\nrandom,0.3\n'
  (tmp_path / 'task.csv').write_text(rows)
  return tmp_path


def test_the_table_is_of_all_measures(files, capsys, monkeypatch):
  # The others take some of a minute, and have tests of their own.
  monkeypatch.setattr(newer_measures, 'OURS', ('lfc', 'concept_variance'))
  monkeypatch.setattr(newer_measures, 'MOVED', ('gbc',))
  newer_measures.main(
    [
      f'--features={files}/*.npz',
      f'--accuracies={files}/task.csv',
      '--random=random',
    ]
  )
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == '| τ | task, accuracy |'
  found = dict(line.strip('| ').split(' | ') for line in lines[2:])
  assert found['lfc'] == found['NCTI'] == '1.00'
  assert {'Kite', 'concept_variance', 'gbc, after attract'} < set(found)
  with pytest.raises(ValueError, match=r"'none'.*--random the name of a file"):
    newer_measures.on_files(f'{files}/*.npz', f'{files}/task.csv', 'none')
