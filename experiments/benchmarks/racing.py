# SPDX-License-Identifier: Apache-2.0
r"""What a race saves, and how often its best are those of all examples.

  python -m experiments.benchmarks.racing --features=DIR --costs=costs.csv

The folder has features of the same checkpoints as `rank` takes them, or one
folder of them for each task. Each race has an order of its own; it is right if
each of its best is as good as the best by all examples. Successive halving
(Jamieson and Talwalkar, AISTATS 2016) has the same budget: half of the
checkpoints go after each round, and the next is on twice the examples.

`costs.csv` has the columns `checkpoint` and `cost`, such as the FLOPs of an
image: the second share of the image passes is weighted by them.
"""

import csv
import dataclasses
import functools
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import app, flags

from neucrab_jax import features, measures, progress
from neucrab_jax.ranking import (
  candidates,
  feature_files,
  racing,
  record,
  score_record,
  scoring,
)

_FEATURES = flags.DEFINE_string('features', '', 'Folder of feature files.')
_COSTS = flags.DEFINE_string('costs', '', 'CSV of the cost of each checkpoint.')
_MEASURE = flags.DEFINE_string('measure', 'knn', 'One of measures.names().')
_ORDERS = flags.DEFINE_integer('orders', 40, 'Races of each kind.')
_TOPS = flags.DEFINE_list('tops', ['3', '1'], 'How many best are looked for.')
_CONFIDENCES = flags.DEFINE_list(
  'confidences', ['0.8', '0.9', '0.95', '0.99'], 'Of the races.'
)

_SILENT = progress.Bar(*[lambda _: None] * 3)


class _Task:
  """The features of all checkpoints in memory, and their scores by request."""

  def __init__(self, folder: pathlib.Path, costs: Mapping[str, float]):
    found = feature_files.find(str(folder))
    self.name = folder.name
    self.features = {
      one.name: one.compute(lambda _: None).features for one in found.candidates
    }
    self.names = list(self.features)
    self.found = dataclasses.replace(
      found,
      candidates=tuple(
        candidates.Candidate(
          name, len(found.labels), functools.partial(self._compute, name)
        )
        for name in self.names
      ),
    )
    self.costs = np.array([costs.get(name, 1.0) for name in self.names])
    self.size = len(found.labels)
    self.whole = self.scores(self.names, features.whole(found.labels))

  def _compute(self, name, advance, part=None):
    del advance
    kept = self.features[name].take(part.rows)
    # Where the score is remembered.
    kept = dataclasses.replace(kept, provenance={'part': part})
    return candidates.Computed(kept, seconds={}, cached=True)

  def scores(self, names: Sequence[str], part: features.Prefix) -> np.ndarray:
    return np.array([self.evaluate(name, part).score for name in names])

  def evaluate(self, name: str, part: features.Prefix) -> measures.Evaluation:
    return _evaluate(self, name, part.rows.tobytes())

  def is_right(self, best: Sequence[str]) -> bool:
    least = np.sort(self.whole)[-len(best)]
    places = [self.names.index(name) for name in best]
    return bool(np.all(self.whole[places] >= least))

  def shares(self, num_examples: Mapping[str, int]) -> tuple[float, float]:
    """Of the image passes, those made; and weighted by their cost."""
    made = np.array([num_examples[name] for name in self.names]) / self.size
    return float(made.mean()), float(made @ self.costs / self.costs.sum())


@functools.cache
def _evaluate(task: _Task, name: str, rows: bytes) -> measures.Evaluation:
  kept = task.features[name].take(np.frombuffer(rows, np.int64))
  return measures.evaluate(
    _MEASURE.value,
    features=kept.features,
    labels=kept.labels,
    source_probs=kept.source_probs,
  )


class _Scorer:
  """As `scoring.Scorer`, without a disk."""

  def __init__(self, task: _Task):
    self.measure = _MEASURE.value
    self._task = task

  def trains(self, computed: candidates.Computed) -> bool:
    del computed
    return False

  def __call__(self, name: str, computed: candidates.Computed) -> record.Scored:
    part = computed.features.provenance['part']
    found = self._task.evaluate(name, part)
    score = score_record.Score(
      key='',
      score=found.score,
      score_std=found.std,
      score_stderr=found.stderr,
      influence=found.influence,
      noise=found.noise,
      resamples=found.resamples,
      seconds=0.0,
      warnings=(),
    )
    return record.Scored(name, score, 0, {}, True, '', ())


@dataclasses.dataclass(frozen=True)
class _Kind:
  """Runs of one kind.

  Attributes:
    right: the share of them whose best are those of all examples.
    passes: the mean share of the image passes.
    weighted: the same, weighted by cost.
  """

  right: float
  passes: float
  weighted: float

  def __str__(self) -> str:
    return (
      f'right {self.right:6.1%}   passes {self.passes:6.1%}   '
      f'weighted {self.weighted:6.1%}'
    )


def _kind(runs: Iterator[tuple[bool, tuple[float, float]]]) -> _Kind:
  rights, shares = zip(*runs, strict=True)
  passes, weighted = zip(*shares, strict=True)
  return _Kind(*map(statistics.mean, (rights, passes, weighted)))


def _races(task: _Task, wanted: racing.Settings):
  for seed in range(_ORDERS.value):
    outcome = racing.race(
      task.found,
      _Scorer(task),
      _SILENT,
      wanted=dataclasses.replace(wanted, seed=seed),
      score_all=functools.partial(scoring.score_all, num_threads=1),
    )
    end = outcome.race.rounds[-1].num_examples
    counts = {**dict.fromkeys(task.names, end), **outcome.num_examples}
    entries, _ = record.in_order(outcome.results.scored, outcome.dropped)
    best = [entry.checkpoint for entry in entries[: wanted.top]]
    yield task.is_right(best), task.shares(counts)


def _halvings(task: _Task, *, first: int, top: int):
  for seed in range(_ORDERS.value):
    whole = features.whole(task.found.labels, seed=seed)
    left, size = task.names, first
    counts = {}
    while True:
      size = min(size, whole.size)
      part = dataclasses.replace(whole, size=size)
      counts |= dict.fromkeys(left, size)
      order = np.argsort(-task.scores(left, part), kind='stable')
      left = [left[place] for place in order]
      if len(left) <= top or size == whole.size:
        break
      left = left[: max(len(left) // 2, top)]
      size *= 2
    yield task.is_right(left[:top]), task.shares(counts)


def _halving_of(task: _Task, budget: float, *, top: int) -> tuple[int, _Kind]:
  """Successive halving that makes as many weighted passes, nearly."""
  # What there must be to score at all: an example of each class.
  least = task.found.task.num_classes
  first = max(100, least)
  for _ in range(2):
    kind = _kind(_halvings(task, first=first, top=top))
    first = max(round(first * budget / kind.weighted), least)
  return first, _kind(_halvings(task, first=first, top=top))


def main(argv: Sequence[str]) -> None:
  del argv
  costs = {}
  if _COSTS.value:
    with open(_COSTS.value, newline='') as file:
      for row in csv.DictReader(file):
        costs[row['checkpoint']] = float(row['cost'])
  folder = pathlib.Path(_FEATURES.value)
  folders = sorted(path for path in folder.iterdir() if path.is_dir())
  for one in folders or [folder]:
    task = _Task(one, costs)
    best = sorted(zip(-task.whole, task.names, strict=True))[:5]
    listed = ', '.join(f'{name} {-score:.4g}' for score, name in best)
    print(f'{task.name} by {_MEASURE.value}, {_ORDERS.value} orders: {listed}')
    for top in map(int, _TOPS.value):
      for confidence in map(float, _CONFIDENCES.value):
        race = _kind(_races(task, racing.Settings(top, confidence, seed=0)))
        print(f'top {top}  race at {confidence:4.0%}  {race}', flush=True)
        first, halving = _halving_of(task, race.weighted, top=top)
        print(f'       halving {first:7}  {halving}', flush=True)


if __name__ == '__main__':
  app.run(main)
