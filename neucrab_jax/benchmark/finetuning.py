# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes checkpoints on a task, and records how well each transfers.

A run leaves one `Accuracy` record per checkpoint under `accuracies/<task>/` in
its folder, a table of all of them as `accuracies.csv`, and `report.html`,
`config.json`. Under `states/` is what an interrupted run goes on from. Several
runs may share a folder: each checkpoint is one run's at a time.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
from absl import logging

from neucrab_jax import (
  checkpoints,
  models,
  parallel,
  records,
  spelling,
  tasks,
  training,
)
from neucrab_jax.benchmark import (
  accuracy,
  downstream,
  finetuning_progress,
  learning_curves,
  scoring,
)
from neucrab_jax.features import cache

Record = dict[str, Any]


class Interrupted(Exception):
  """Ctrl-C ended a run; the same command goes on from the last state."""


def _protocol(config: ml_collections.ConfigDict) -> training.Protocol:
  """The protocol that the config asks for.

  Raises:
    ValueError: if a setting is unknown or cannot be.
  """
  known = [field.name for field in dataclasses.fields(training.Protocol)]
  settings = {}
  for name, value in config.items():
    if name not in known:
      raise spelling.unknown('setting of the protocol', name, known)
    settings[name] = tuple(value) if isinstance(value, list) else value
  return training.Protocol(**settings)


class _Sweep:
  """The same protocol for every checkpoint of a run."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    bars: finetuning_progress.Bars,
  ):
    self._config = config
    self._folder = folder
    self._bars = bars
    self.protocol = _protocol(config.protocol)
    self.task = downstream.Downstream(config.task, folder)
    self.cache_dir = os.path.expanduser(config.cache_dir) or cache.default_dir()

  def check(self) -> None:
    """Refuses what would fail after long work.

    Raises:
      ValueError: naming the setting and what it may be.
    """
    batch_size = self.protocol.batch_size
    if batch_size % jax.device_count():
      raise ValueError(
        f'The batch size {batch_size} cannot be split over '
        f'{jax.device_count()} devices. Choose a multiple of that.'
      )
    for name, least in (('save_steps', 1), ('together', 0)):
      if self._config[name] < least:
        raise ValueError(
          f'{name} must be at least {least}, not {self._config[name]}.'
        )
    if self.protocol.mode == 'head':
      records.check_writable(self.cache_dir)

  def accuracy(
    self, checkpoint: checkpoints.Checkpoint, *, wait: bool
  ) -> Record | None:
    """The record of a checkpoint: found, or made.

    Args:
      checkpoint: what to fine-tune.
      wait: until another run is done with it.

    Returns:
      The record, or None if another run is at it.
    """
    backbone = checkpoints.restore(checkpoint)
    file = self._place('accuracies', checkpoint)
    key = self._key(backbone)
    # One process of a run claims for all of them.
    claim = (
      records.claim(file, wait=wait)
      if parallel.is_primary()
      else contextlib.nullcontext(True)
    )
    with claim as mine:
      if not parallel.all_agree(mine):
        return None
      record = accuracy.read(file, key=key)
      found = record is not None
      if not parallel.all_agree(found):
        record = {
          'schema': accuracy.SCHEMA,
          'key': key,
          'checkpoint': checkpoint.name,
          'weights': backbone.fingerprint,
          'task': self.task.describe(),
          'protocol': self.protocol.describe(),
          **self._finetune(backbone, key=key),
          'environment': self._environment(),
        }
        if parallel.is_primary():
          records.write_json(file, record)
      training.forget(self._place('states', checkpoint))
    return record

  def _place(self, kind: str, checkpoint: checkpoints.Checkpoint):
    return accuracy.path(
      self._folder / kind, checkpoint=checkpoint.name, task=self.task.name
    )

  def _environment(self) -> Record:
    return scoring.environment(seed=self.protocol.seeds[0])

  def _key(self, backbone: checkpoints.Backbone) -> str:
    """SHA-256 of all that an accuracy should depend on."""
    checkpoint = backbone.checkpoint
    return records.digest(
      accuracy.SCHEMA,
      backbone.fingerprint,
      checkpoint.architecture,
      checkpoint.image_size,
      list(checkpoint.value_range),
      checkpoint.resize_method,
      self.task.describe(),
      self.protocol.describe(),
    )

  def _finetune(self, backbone: checkpoints.Backbone, *, key: str) -> Record:
    """Runs the sweep, from where it was left, and tests what is chosen."""
    protocol, task = self.protocol, self.task
    if protocol.mode == 'head':
      load = functools.partial(
        task.features,
        backbone=backbone,
        batch_size=protocol.batch_size,
        cache_dir=self.cache_dir,
      )
      train = load('train')
      network, variables = training.from_features(
        train.inputs.shape[1], task.num_classes
      )
    else:
      load = functools.partial(task.images, checkpoint=backbone.checkpoint)
      train = load('train')
      network, variables = training.from_backbone(
        backbone, task.num_classes, protocol
      )
    # Another version, or other devices, would round otherwise: no run goes on
    # from where such a one was left.
    ours = records.digest(
      key,
      self._environment(),
      self._config.together,
      records.digest_sources(training, models, tasks, parallel),
    )
    trials = protocol.trials()
    with self._writers(backbone.checkpoint) as observe:
      trainer = training.Trainer(
        network,
        variables,
        train,
        load('validation'),
        protocol,
        folder=self._place('states', backbone.checkpoint) / ours[:16],
        save_steps=self._config.save_steps,
        together=self._config.together,
        advance=self._bars.advance,
        begin=functools.partial(self._bars.begin, backbone.checkpoint.name),
        observe=observe,
      )
      outcomes = trainer.run(trials)
    return accuracy.summarise(
      outcomes,
      validation_labels=task.parts['validation'].labels,
      num_test=len(task.parts['test'].indices),
      test=lambda trial: trainer.accuracy(trial, load('test'), trials=trials),
    )

  def _writers(
    self, checkpoint: checkpoints.Checkpoint
  ) -> contextlib.AbstractContextManager[Callable]:
    """What is called with every point of a curve."""
    if not self._config.tensorboard or not parallel.is_primary():
      return contextlib.nullcontext(lambda trial, point: None)
    # It imports TensorFlow.
    from neucrab_jax.benchmark import tensorboard

    return tensorboard.writing(self._place('tensorboard', checkpoint))


def _finetune_all(
  sweep: _Sweep, chosen: tuple[checkpoints.Checkpoint, ...], bars: Any
) -> tuple[list[Record], list[Record]]:
  """Fine-tunes every checkpoint that can be; the others are not taken down.

  Those that another run is at come last, when it may be done with them.

  Returns:
    The records in the order given, and what failed and why.
  """
  done, failed = {}, []
  waiting = []
  for wait, todo in ((False, chosen), (True, waiting)):
    for checkpoint in todo:
      try:
        record = sweep.accuracy(checkpoint, wait=wait)
      except Exception as error:
        logging.debug('%s failed', checkpoint.name, exc_info=True)
        message = f'{type(error).__name__}: {error}'
        failed.append({'checkpoint': checkpoint.name, 'error': message})
        bars.finish(checkpoint.name)
        continue
      if record is None:
        bars.say(f'{checkpoint.name}: another run is at it; it comes last.')
        waiting.append(checkpoint)
        continue
      done[checkpoint.name] = record
      bars.finish(checkpoint.name)
  return [done[spec.name] for spec in chosen if spec.name in done], failed


def finetune(config: ml_collections.ConfigDict, workdir: str) -> Record:
  """Fine-tunes, shows the accuracies, and writes them.

  Args:
    config: as `configs/finetune.py`.
    workdir: the folder for the results, which several runs may share.

  Returns:
    `accuracies`, the records in the order of the checkpoints, and `failed`.

  Raises:
    ValueError: if the input is bad; before any long work starts.
    Interrupted: on Ctrl-C.
  """
  chosen = checkpoints.select(
    config.checkpoints, config.checkpoint_dir, config.preprocessing
  )
  folder = pathlib.Path(workdir).expanduser()
  records.check_writable(folder)
  bars = finetuning_progress.Bars()
  sweep = _Sweep(config, folder, bars)
  sweep.check()
  settings = json.loads(config.to_json_best_effort())
  if parallel.is_primary():
    records.write_json(folder / 'config.json', settings)
  steps = sum(trial.steps for trial in sweep.protocol.trials())
  try:
    with bars.showing([spec.name for spec in chosen], steps=steps):
      done, failed = _finetune_all(sweep, chosen, bars)
  except KeyboardInterrupt as interrupt:
    raise Interrupted from interrupt
  result: Mapping[str, Any] = {
    'task': sweep.task.describe(),
    'protocol': sweep.protocol.describe(),
    'accuracies': done,
    'failed': failed,
  }
  if parallel.is_primary():
    records.write_text(
      folder / 'accuracies.csv', accuracy.table(folder / 'accuracies')
    )
    records.write_text(
      folder / 'report.html', learning_curves.render(result, config=settings)
    )
    finetuning_progress.show(result, folder)
  return result
