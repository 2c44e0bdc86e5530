# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes one checkpoint after another by the same protocol."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from importlib import util
from typing import Any

import jax
import msgspec

from neucrab_jax import (
  checkpoints,
  environment,
  finetuning,
  models,
  parallel,
  progress,
  spelling,
  storage,
  stores,
  tasks,
  untrusted,
)
from neucrab_jax.features import cache
from neucrab_jax.finetuning import (
  accuracy,
  batches,
  network,
  record,
  saved_states,
  splits,
  trainer,
)
from neucrab_jax.finetuning.protocol import Protocol, Trial
from neucrab_jax.typing import Config


def _protocol(config: Config) -> Protocol:
  """The protocol that the config asks for.

  Raises:
    ValueError: if a setting is unknown or cannot be.
  """
  known = [field.name for field in dataclasses.fields(Protocol)]
  settings = {}
  for name, value in config.items():
    if name not in known:
      raise spelling.unknown('setting of the protocol', name, known)
    settings[name] = tuple(value) if isinstance(value, list) else value
  return Protocol(**settings)


class Sweep:
  """The same protocol for every checkpoint of a run."""

  def __init__(self, config: Config, folder: pathlib.Path):
    self._config = config
    self._folder = folder
    self.protocol = _protocol(config.protocol)
    self.task = splits.Splits(config.task, folder)
    self.cache_dir = cache.cache_dir(config.cache_dir)

  def chosen(self) -> tuple[checkpoints.Checkpoint, ...]:
    """What the config chooses.

    Raises:
      ValueError: if a name is unknown.
    """
    return tuple(
      checkpoints.select(
        self._config.checkpoints,
        self._config.checkpoint_dir,
        self._config.preprocessing,
        self._config.get('weights', 'raw'),
      )
    )

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
    if self._config.tensorboard and not util.find_spec('tensorflow'):
      raise ValueError(
        'tensorboard=True needs what is not installed: pip install '
        "'neucrab_jax[tfds]', or requirements/tfds.txt."
      )
    if parallel.num_processes() > 1 and stores.address(self._folder):
      raise ValueError(
        f'--workdir={stores.address(self._folder)} is an object store, and '
        'several processes keep their states of training in one folder. Give '
        'one that all of them see, such as a mounted bucket.'
      )
    untrusted.check_local(self.cache_dir)
    if self.protocol.mode == 'head':
      storage.check_writable(self.cache_dir)

  def accuracy(
    self,
    checkpoint: checkpoints.Checkpoint,
    *,
    bars: progress.NestedBars,
    wait: bool,
  ) -> record.Accuracy | None:
    """The record of a checkpoint: found, or made.

    Args:
      checkpoint: what to fine-tune.
      bars: what shows how far it is.
      wait: until another run is done with it.

    Returns:
      The record, or None if another run is at it.
    """
    backbone = checkpoints.restore(checkpoint)
    file = self._place('accuracies', checkpoint)
    key = self._key(backbone, self.task.describe())
    # One process of a run claims for all of them.
    claim = (
      storage.claim(file, wait=wait)
      if parallel.is_primary()
      else contextlib.nullcontext(True)
    )
    with claim as mine:
      if not parallel.all_agree(mine):
        return None
      try:
        made = record.read(file, key=key)
      except storage.DamagedFileError as error:
        bars.say(f'{error} It is made again.')
        made = None
      if not parallel.all_agree(made is not None):
        about = record.About(
          schema=record.SCHEMA,
          key=key,
          checkpoint=checkpoint.name,
          weights=backbone.fingerprint,
          task=self.task.describe(),
          protocol=self.protocol,
          environment=self._environment(),
        )
        made = self._finetune(backbone, about=about, bars=bars)
        if parallel.is_primary():
          storage.write_sealed(file, made)
      saved_states.forget(self._place('states', checkpoint))
    return made

  def _place(self, kind: str, checkpoint: checkpoints.Checkpoint):
    return record.path(
      self._folder / kind, checkpoint=checkpoint.name, task=self.task.name
    )

  def _environment(self) -> environment.Environment:
    return environment.current(seed=self.protocol.seeds[0])

  def _key(self, backbone: checkpoints.Backbone, task: record.Task) -> str:
    """SHA-256 of all that an accuracy should depend on."""
    checkpoint = backbone.checkpoint
    return storage.digest(
      record.SCHEMA,
      backbone.fingerprint,
      checkpoint.architecture,
      checkpoint.image_size,
      list(checkpoint.value_range),
      checkpoint.resize_method,
      storage.to_builtins(task.parts_alone()),
      storage.to_builtins(self.protocol),
    )

  def _loading(
    self, backbone: checkpoints.Backbone
  ) -> Callable[[str], batches.Arrays]:
    """What gives the examples of a role, as the checkpoint is trained on."""
    if self.protocol.mode != 'head':
      return functools.partial(self.task.images, checkpoint=backbone.checkpoint)
    return functools.partial(
      self.task.features,
      backbone=backbone,
      batch_size=self.protocol.batch_size,
      cache_dir=self.cache_dir,
    )

  @contextlib.contextmanager
  def _training(
    self, backbone: checkpoints.Backbone, *, bars: progress.NestedBars
  ) -> Iterator[trainer.Trainer]:
    """Gives what trains a checkpoint, and keeps the states of it."""
    name = backbone.checkpoint.name
    # Another version, or other devices, would round otherwise: no run goes on
    # from where such a one was left. The test examples are no matter of it, so
    # that a damaged one can be repaired.
    ours = storage.digest(
      self._key(backbone, self.task.describe(('train', 'validation'))),
      storage.to_builtins(self._environment()),
      self._config.together,
      storage.digest_sources(finetuning, models, tasks, parallel),
    )

    def begin(trials: Sequence[Trial]) -> None:
      rates = ', '.join(f'{trial.learning_rate:g}' for trial in trials)
      bars.begin(
        f'{name}: learning rate {rates}',
        steps=sum(trial.steps for trial in trials),
      )

    with self._writers(backbone.checkpoint) as observe:
      yield self.trainer(
        backbone,
        folder=self._place('states', backbone.checkpoint) / ours[:16],
        advance=bars.advance,
        begin=begin,
        observe=observe,
      )

  def trainer(
    self, backbone: checkpoints.Backbone, **options: Any
  ) -> trainer.Trainer:
    """What trains a checkpoint by the protocol.

    Args:
      backbone: the checkpoint, restored.
      **options: of `trainer.Trainer`.
    """
    load = self._loading(backbone)
    if self.protocol.mode == 'head':
      train = load('train')
      net, variables = network.from_features(
        train.inputs.shape[1], self.task.num_classes
      )
    else:
      network.check_trainable(backbone)
      train = load('train')
      net, variables = network.from_backbone(
        backbone, self.task.num_classes, self.protocol
      )
    return trainer.Trainer(
      net,
      variables,
      train,
      load('validation'),
      self.protocol,
      save_steps=self._config.save_steps,
      together=self._config.together,
      **options,
    )

  def train(
    self,
    checkpoint: checkpoints.Checkpoint,
    trials: Sequence[Trial],
    *,
    bars: progress.NestedBars,
  ) -> None:
    """Trains some trials of the sweep, which `accuracy` finds trained.

    Args:
      checkpoint: what to fine-tune.
      trials: a group of those that run together.
      bars: what shows how far it is.
    """
    backbone = checkpoints.restore(checkpoint)
    file = self._place('accuracies', checkpoint)
    key = self._key(backbone, self.task.describe())
    with contextlib.suppress(storage.DamagedFileError):
      if record.read(file, key=key) is not None:
        return
    with self._training(backbone, bars=bars) as engine:
      engine.run(trials)

  def _finetune(
    self,
    backbone: checkpoints.Backbone,
    *,
    about: record.About,
    bars: progress.NestedBars,
  ) -> record.Accuracy:
    """Runs the sweep, from where it was left, and tests what is chosen."""
    task = self.task
    load = self._loading(backbone)
    with self._training(backbone, bars=bars) as engine:
      results = engine.run(self.protocol.trials())
    made = accuracy.summarise(
      results,
      about=about,
      validation_labels=task.parts['validation'].labels,
      num_test=len(task.parts['test'].indices),
      test=lambda result: engine.accuracy(result, load('test')),
    )
    warnings = (*made.warnings, *task.notes, *checkpoints.notes(backbone))
    return msgspec.structs.replace(
      made, warnings=warnings, source=backbone.source
    )

  def _writers(
    self, checkpoint: checkpoints.Checkpoint
  ) -> contextlib.AbstractContextManager[Callable]:
    """What is called with every point of a curve."""
    if not self._config.tensorboard or not parallel.is_primary():
      return contextlib.nullcontext(lambda trial, point: None)
    # It imports TensorFlow.
    from neucrab_jax.finetuning import tensorboard

    return tensorboard.writing(self._place('tensorboard', checkpoint))
