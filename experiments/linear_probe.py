# SPDX-License-Identifier: Apache-2.0
r"""How well does a ranking predict linear-probe accuracy on held-out examples?

  python -m neucrab_jax.rank --config=configs/nleep.py
  python -m experiments.linear_probe --ranking=runs/nleep/ranking.json

fits scikit-learn's logistic regression to each ranked checkpoint's features of
the task's training split, with the strength that does best on the validation
split, and prints its accuracy on the test split beside the score, and Kendall's
τ between the two.
"""

import json
import pathlib

from absl import app, flags, logging
from rich import console, progress, table
from scipy import stats
from sklearn import linear_model, pipeline, preprocessing

from neucrab_jax import checkpoints, features, tasks

_RANKING = flags.DEFINE_string(
  'ranking', 'runs/nleep/ranking.json', 'A ranking of bundled checkpoints.'
)
# Inverse regularisation strengths, a factor of ten apart.
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def probe_accuracy(checkpoint: str, task: tasks.Task) -> float:
  """Test accuracy of a linear classifier on a checkpoint's features."""
  backbone = checkpoints.restore(checkpoint)
  train, validation, test = (
    features.extract(backbone, task.read(split))
    for split in ('train', 'validation', 'test')
  )
  probes = [
    pipeline.make_pipeline(
      preprocessing.StandardScaler(),
      linear_model.LogisticRegression(C=strength, max_iter=2_000),
    ).fit(train.features, train.labels)
    for strength in _STRENGTHS
  ]
  best = max(
    probes, key=lambda p: p.score(validation.features, validation.labels)
  )
  return best.score(test.features, test.labels)


def main(argv):
  del argv
  ranking = json.loads(pathlib.Path(_RANKING.value).read_text('utf-8'))
  task = tasks.load(ranking['task']['name'])
  measure = ranking['measure']['name']
  rows = table.Table('rank', 'checkpoint', measure, 'test accuracy')
  accuracies = []
  for entry in progress.track(ranking['ranking'], 'probing', transient=True):
    accuracies.append(probe_accuracy(entry['checkpoint'], task))
    rows.add_row(
      str(entry['rank']),
      entry['checkpoint'],
      f'{entry["score"]:.3f}',
      f'{accuracies[-1]:.3f}',
    )
  scores = [entry['score'] for entry in ranking['ranking']]
  agreement = stats.kendalltau(scores, accuracies)
  out = console.Console(highlight=False)
  out.print(rows)
  out.print(
    f"Kendall's τ of {measure} with linear-probe test accuracy: "
    f'{agreement.statistic:.2f} (p = {agreement.pvalue:.3f}, '
    f'{len(scores)} checkpoints)',
    soft_wrap=True,
  )


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  app.run(main)
