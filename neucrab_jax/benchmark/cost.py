# SPDX-License-Identifier: Apache-2.0
"""What it costs to ask a measure, and what fine-tuning costs instead.

Seconds are those that the records have, per checkpoint and task. FLOPs are
estimates: XLA's count for one forward pass of the network, times the examples;
a training step counts three, one forward and two backward. What a measure does
with the features afterwards is not in them.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neucrab_jax import checkpoints, models
from neucrab_jax.benchmark.alignment import AlignedScores
from neucrab_jax.benchmark.record import FineTuningCost, MeasureCost
from neucrab_jax.ranking.predictions import Predictions

# Forward passes that a training step is worth.
_TRAINING_PASSES = 3


@functools.cache
def _network(architecture: str, image_size: int) -> tuple[int, float]:
  """Parameters, and FLOPs of a forward pass of one image; nothing is run."""
  module = models.build(architecture)
  image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), image)
  parameters = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
  flops = models.forward_flops(module, variables, image_size=image_size)
  assert flops is not None
  return parameters, flops


def network(checkpoint: str) -> tuple[int, float] | None:
  """Parameters without the head, and FLOPs of one image's forward pass.

  Args:
    checkpoint: a name.

  Returns:
    None for a checkpoint that this library does not know, or whose architecture
    only its weights tell.
  """
  if checkpoint not in checkpoints.names():
    return None
  spec = checkpoints.get(checkpoint)
  if '|' in spec.architecture:
    return None
  return _network(spec.architecture, spec.image_size)


def forward_flops(spec: checkpoints.Checkpoint) -> float:
  """FLOPs of one image's forward pass, of the first architecture it may be."""
  return _network(spec.architecture.partition('|')[0], spec.image_size)[1]


def parameters(aligned: AlignedScores) -> Float[np.ndarray, 'M'] | None:
  """[M] numbers of parameters, by rankings or specs; None if not all known."""
  for predictor, scores in zip(aligned.predictors, aligned.scores, strict=True):
    if predictor.name == 'num_parameters' and not np.isnan(scores[0]).any():
      return scores[0]
  networks = [network(name) for name in aligned.checkpoints]
  if not all(networks):
    return None
  return np.array([found[0] for found in networks if found], np.float64)


def _flops(name: str, predicted: Sequence[Predictions]) -> float | None:
  """Of one image's forward pass: as a record says, or by its architecture."""
  for entry in predicted:
    score = entry.scores.get(name)
    if score is not None and score.flops is not None:
      return score.flops
  found = network(name)
  return found[1] if found else None


def _mean(values: Sequence[float]) -> float | None:
  return float(np.mean(values)) if len(values) else None


def of_measures(
  aligned: AlignedScores, predicted: Sequence[Predictions]
) -> dict[str, MeasureCost]:
  """Seconds and FLOPs of each predictor per checkpoint, means over tasks.

  Extraction is the same for all measures: it is taken from whichever ranking
  did it, where others found the features cached.

  Args:
    aligned: scores and accuracies.
    predicted: that they were made from.

  Returns:
    By name of the predictor; whoever has no record of seconds is absent.
  """
  extract = {
    (entry.task, name): score.seconds['extract']
    for entry in predicted
    for name, score in entry.scores.items()
    if 'extract' in score.seconds
  }
  each = {name: _flops(name, predicted) for name in aligned.checkpoints}
  found = {}
  for predictor in aligned.predictors:
    entries = [
      entry
      for entry in predicted
      if entry.measure == predictor.name and entry.task in aligned.tasks
    ]
    there = [
      (entry, name)
      for entry in entries
      for name in aligned.checkpoints
      if name in entry.scores and 'score' in entry.scores[name].seconds
    ]
    if not there:
      continue
    extracted = [
      extract[entry.task, name]
      for entry, name in there
      if (entry.task, name) in extract
    ]
    flops = [
      one * entry.num_examples
      for entry, name in there
      if entry.num_examples and (one := each[name])
    ]
    seconds = [entry.scores[name].seconds['score'] for entry, name in there]
    found[predictor.name] = MeasureCost(
      score_seconds=float(np.mean(seconds)),
      # Unknown for one, the mean would be that of the others.
      extract_seconds=(
        _mean(extracted) if len(extracted) == len(there) else None
      ),
      flops=_mean(flops) if len(flops) == len(there) else None,
    )
  return found


def of_fine_tuning(
  aligned: AlignedScores, predicted: Sequence[Predictions]
) -> FineTuningCost:
  """Seconds and FLOPs of a whole sweep per checkpoint, means over tasks."""
  cells = [
    (name, aligned.known[task][name])
    for task in aligned.tasks
    for name in aligned.checkpoints
    if name in aligned.known[task]
  ]
  seconds = [cell.seconds for _, cell in cells if cell.seconds is not None]
  flops = [
    _TRAINING_PASSES * one * cell.examples_seen
    for name, cell in cells
    if cell.examples_seen and (one := _flops(name, predicted))
  ]
  return FineTuningCost(
    seconds=_mean(seconds) if len(seconds) == len(cells) else None,
    flops=_mean(flops) if len(flops) == len(cells) else None,
  )
