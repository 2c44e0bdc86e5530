# SPDX-License-Identifier: Apache-2.0
"""Records as runs leave them, of scores and accuracies that a test chooses."""

from neucrab_jax import environment, storage
from neucrab_jax.finetuning import record as accuracy_record
from neucrab_jax.finetuning.protocol import Protocol
from neucrab_jax.ranking import record as ranking_record
from neucrab_jax.ranking import score_record

ENVIRONMENT = environment.current(seed=0)


def make_score(score, resamples):
  return score_record.Score(
    key='',
    score=score,
    score_std=None,
    score_stderr=None,
    influence=None,
    noise=0.0,
    resamples=tuple(resamples),
    seconds=0.5,
    warnings=(),
  )


def make_ranking(
  scores, *, name='nleep', task='t', options=(), seconds=(), cached=False,
  failed=(), num_examples=50,
):  # fmt: skip
  """A ranking with scores by checkpoint, and errors by checkpoint."""
  entries = [
    ranking_record.Entry(
      rank=place,
      checkpoint=checkpoint,
      score=score,
      score_std=None,
      score_stderr=None,
      feature_dim=2,
      seconds=dict(seconds),
      cached=cached,
      fingerprint='',
      warnings=(),
    )
    for place, (checkpoint, score) in enumerate(scores.items(), start=1)
  ]
  return ranking_record.Ranking(
    schema=ranking_record.SCHEMA,
    task=ranking_record.Task(task, 'train', num_examples, 2, ''),
    measure=ranking_record.Measure(name, '', '', dict(options), 0),
    ranking=tuple(entries),
    order=None,
    skipped=(),
    failed=tuple(
      ranking_record.Failure(*pair) for pair in dict(failed).items()
    ),
    environment=ENVIRONMENT,
  )


def make_accuracy(
  checkpoint, accuracy, *, task='t', tested=(None,), chosen=(0,), steps=10,
  **fields,
):  # fmt: skip
  """An accuracy with a trial for each test accuracy."""
  part = accuracy_record.Part('s', 10, '')
  roles = ('train', 'validation', 'test')
  trials = [
    accuracy_record.Trial(
      learning_rate=0.1,
      steps=steps,
      seed=0,
      validation_accuracy=0.5,
      test_accuracy=value,
      diverged=None,
      suspicious=False,
      seconds=1.0,
      curve=(),
    )
    for value in tested
  ]
  return accuracy_record.Accuracy(
    schema=accuracy_record.SCHEMA,
    key='',
    checkpoint=checkpoint,
    weights='',
    task=accuracy_record.Task(task, 2, dict.fromkeys(roles, part), ''),
    protocol=Protocol(batch_size=64),
    environment=ENVIRONMENT,
    accuracy=accuracy,
    accuracy_std=None,
    diverged=False,
    chosen=chosen,
    trials=tuple(trials),
    warnings=(),
    **{'standard_error': 0.01, 'seconds': 3.0, **fields},
  )


def write(folder, found):
  """Writes a record where a run would."""
  if isinstance(found, accuracy_record.Accuracy):
    file = accuracy_record.path(
      folder, checkpoint=found.checkpoint, task=found.task.name
    )
    storage.write_json(file, found)
  else:
    ranking_record.write(folder, found)
    file = folder / ranking_record.FILE
  return str(file)
