# SPDX-License-Identifier: Apache-2.0
"""Runs the trials of a sweep on one network, from where they were left.

Axes: T trials, S seeds, B batch.
"""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from neucrab_jax import compiling, parallel, storage
from neucrab_jax.finetuning import batches, saved_states, steps, trial_groups
from neucrab_jax.finetuning import protocol as protocol_lib
from neucrab_jax.finetuning.network import Network
from neucrab_jax.finetuning.record import Point

# Steps handed to the devices ahead of their results. More would only fill
# their memory with batches.
_STEPS_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class TrialResult:
  """What came of a trial.

  Attributes:
    trial: the cell of the sweep.
    curve: one point each `curve_steps`. It ends early if nothing finite is
      left.
    seconds: of training and validation, shared evenly by trials that ran
      together.
    compile_seconds: of compiling for these, shared as well.
    group: the trials that ran together, this one among them.
  """

  trial: protocol_lib.Trial
  curve: tuple[Point, ...]
  seconds: float
  group: tuple[protocol_lib.Trial, ...]
  compile_seconds: float = 0.0

  @property
  def validation_accuracy(self) -> float:
    return self.curve[-1].validation_accuracy

  @property
  def finite(self) -> bool:
    """Whether no loss was NaN or infinite."""
    return all(point.finite for point in self.curve)


def _ignore(*unused) -> None:
  del unused


@dataclasses.dataclass(frozen=True)
class Trainer:
  """A network, its data, and how to train it.

  Attributes:
    network: the static part.
    variables: what training starts from.
    train: its labels are below `network.num_classes`.
    validation: the same.
    protocol: its sweep is not used; `run` is told the trials.
    folder: for the states, or None to keep none.
    save_steps: steps between two states.
    together: how many trials at most run as one program; 0 for as many as fit.
    advance: called with the number of steps done since the last call, all
      trials' counted.
    begin: called with the trials that are run next, as one program.
    observe: called with each new point of a trial's curve.
  """

  network: Network
  variables: Mapping[str, Any]
  train: batches.Arrays
  validation: batches.Arrays
  protocol: protocol_lib.Protocol
  folder: pathlib.Path | None = None
  save_steps: int = 100
  together: int = 0
  advance: Callable[[int], None] = _ignore
  begin: Callable[[Sequence[protocol_lib.Trial]], None] = _ignore
  observe: Callable[[protocol_lib.Trial, Point], None] = _ignore
  # The last state of trials that all ran together: several would fill memory.
  _last: dict[tuple[protocol_lib.Trial, ...], steps.State] = dataclasses.field(
    default_factory=dict, init=False, repr=False, compare=False
  )

  def run(
    self, trials: Sequence[protocol_lib.Trial], *, share: float = 1.0
  ) -> list[TrialResult]:
    """Trains every trial, those of as many steps together if that is faster.

    Args:
      trials: all different.
      share: of a trial's steps after which to stop, its schedule unchanged.
    """
    groups = trial_groups.groups(
      trials, together=self.together, needs=functools.cache(self._memory)
    )
    results = {}
    for group in groups:
      running = _Group(self, group, share)
      state = running.finish()
      results |= {result.trial: result for result in running.results()}
      if self.folder and len(groups) == 1:
        self._last[group] = state
    return [results[trial] for trial in trials]

  def accuracy(self, result: TrialResult, arrays: batches.Arrays) -> float:
    """Accuracy of a trial that was run, by its last state.

    Args:
      result: of the trial, from `run`, which kept its state.
      arrays: what to predict.
    """
    _, accuracies = _Group(self, result.group, 1.0).test(arrays)
    return float(accuracies[result.group.index(result.trial)])

  def _memory(self, num_trials: int) -> int:
    """Bytes that a step of so many trials takes on a device, at most."""
    state = steps.start(self.variables, num_trials=num_trials)
    inputs, labels = self.train.inputs, self.train.labels
    seen = num_trials, self.protocol.batch_size
    batch = steps.Batch(
      inputs=jax.ShapeDtypeStruct((*seen, *inputs.shape[1:]), inputs.dtype),
      labels=jax.ShapeDtypeStruct(seen, labels.dtype),
      learning_rates=np.zeros(num_trials, np.float32),
      seeds=np.zeros(num_trials, np.uint32),
      which=np.zeros(num_trials, np.int32),
      step=np.int32(0),
    )
    compiled = self._step(num_trials).lower(state, batch).compile()
    needs = compiled.memory_analysis()
    return needs.argument_size_in_bytes + needs.temp_size_in_bytes

  def _step(self, num_trials: int) -> Any:
    return steps.training(
      self.network,
      num_trials=num_trials,
      momentum=self.protocol.momentum,
      weight_decay=self.protocol.weight_decay,
    )


class _Group:
  """Some trials of as many steps, one program."""

  def __init__(
    self,
    trainer: Trainer,
    trials: tuple[protocol_lib.Trial, ...],
    share: float,
  ):
    self._trainer = trainer
    self._trials = trials
    self._stop = max(round(share * trials[0].steps), 1)
    self._points = {
      step
      for step in protocol_lib.curve_steps(trials[0], trainer.protocol)
      if step < self._stop
    } | {self._stop}
    self._rates = np.stack(
      [protocol_lib.learning_rates(t, trainer.protocol) for t in trials]
    )
    self._seeds = list(dict.fromkeys(t.seed for t in trials))
    self._which = np.array(
      [self._seeds.index(t.seed) for t in trials], np.int32
    )
    self._curves: list[list[Point]] = [[] for _ in trials]
    self._seconds = self._compile_seconds = 0.0
    self._done = 0
    self._finished = False

  @contextlib.contextmanager
  def _store(self) -> Iterator[saved_states.Store | None]:
    """The states of these trials, which are one run's at a time."""
    folder = self._trainer.folder
    if folder is None:
      yield None
      return
    name = storage.digest([dataclasses.astuple(t) for t in self._trials])
    place = folder / f'trials-{name[:16]}'
    claim = (
      storage.claim(place, wait=True)
      if parallel.is_primary()
      else contextlib.nullcontext()
    )
    with claim:
      # What another run left is whole for all processes.
      parallel.all_agree(True)
      with contextlib.closing(saved_states.Store(place)) as store:
        yield store

  def _begin(self, store: saved_states.Store | None) -> steps.State:
    """The last state, or the first one."""
    state = steps.start(self._trainer.variables, num_trials=len(self._trials))
    found = store and store.restore(state)
    if not found:
      return parallel.replicate(state, devices=jax.devices())
    self._done, state, seen = found
    self._curves = [list(curve) for curve in seen.curves]
    self._seconds = seen.seconds
    self._compile_seconds = seen.compile_seconds
    self._finished = seen.finished
    return state

  def finish(self) -> steps.State:
    """Takes all steps that are left, and gives the last state."""
    trainer = self._trainer
    trainer.begin(self._trials)
    with self._store() as store:
      state = self._begin(store)
      trainer.advance(self._done * len(self._trials))
      while not self._finished:
        # Between two saves: nothing is lost but what a kill loses.
        until = min(
          self._stop,
          (self._done // trainer.save_steps + 1) * trainer.save_steps,
        )
        state = self._train(state, until=until)
        if store:
          store.save(
            self._done,
            state,
            saved_states.Seen(
              curves=tuple(map(tuple, self._curves)),
              seconds=self._seconds,
              compile_seconds=self._compile_seconds,
              finished=self._finished,
            ),
          )
    return state

  def results(self) -> list[TrialResult]:
    """What came of the trials, once they are finished."""
    return [
      TrialResult(
        trial,
        tuple(curve),
        seconds=self._seconds / len(self._trials),
        group=self._trials,
        compile_seconds=self._compile_seconds / len(self._trials),
      )
      for trial, curve in zip(self._trials, self._curves, strict=True)
    ]

  def _train(self, state: steps.State, *, until: int) -> steps.State:
    """Takes the steps up to one, or to where nothing finite is left."""
    with compiling.watched() as watch:
      state = self._take_steps(state, until=until)
    self._seconds += watch.running
    self._compile_seconds += watch.compiling
    return state

  def _take_steps(self, state: steps.State, *, until: int) -> steps.State:
    trainer = self._trainer
    step = trainer._step(len(self._trials))
    ahead = collections.deque()
    while self._done < until and not self._finished:
      state, losses = step(state, self._batch(self._done))
      ahead.append(losses)
      if len(ahead) > _STEPS_AHEAD:
        jax.block_until_ready(ahead.popleft())
      self._done += 1
      trainer.advance(len(self._trials))
      if self._done in self._points:
        state = self._add_points(state)
        self._finished = self._done == self._stop or not any(
          curve[-1].loss_is_finite for curve in self._curves
        )
    return jax.block_until_ready(state)

  def _batch(self, step: int) -> steps.Batch:
    train = self._trainer.train
    chosen = np.stack(
      [
        batches.order(
          step,
          num_examples=len(train),
          batch_size=self._trainer.protocol.batch_size,
          seed=seed,
        )
        for seed in self._seeds
      ]
    )
    devices = jax.devices()
    return steps.Batch(
      inputs=parallel.spread(train.inputs[chosen], axis=1, devices=devices),
      labels=parallel.spread(train.labels[chosen], axis=1, devices=devices),
      learning_rates=self._rates[:, step],
      seeds=np.array([trial.seed for trial in self._trials], np.uint32),
      which=self._which,
      step=np.int32(step),
    )

  def _add_points(self, state: steps.State) -> steps.State:
    """Adds a point to every curve; the means of the next start from nothing."""
    losses, accuracies = steps.compute(state.metrics)
    validation = self._predict(state, self._trainer.validation)
    for i, trial in enumerate(self._trials):
      point = Point(
        step=self._done,
        learning_rate=float(self._rates[i, self._done - 1]),
        loss=float(losses[i]),
        accuracy=float(accuracies[i]),
        validation_loss=float(validation[0][i]),
        validation_accuracy=float(validation[1][i]),
      )
      self._curves[i].append(point)
      self._trainer.observe(trial, point)
    return dataclasses.replace(state, metrics=self._empty())

  def _empty(self) -> steps.Metrics:
    return parallel.replicate(
      steps.empty_metrics(len(self._trials)), devices=jax.devices()
    )

  def _predict(
    self, state: steps.State, arrays: batches.Arrays
  ) -> tuple[np.ndarray, np.ndarray]:
    """Losses and accuracies of all trials, [T] each."""
    trainer = self._trainer
    predict = steps.prediction(trainer.network, num_trials=len(self._trials))
    measured = self._empty()
    for batch in batches.in_order(arrays, trainer.protocol.batch_size):
      spread = (
        parallel.spread(x[None], axis=1, devices=jax.devices()) for x in batch
      )
      measured = predict(state.variables, *spread, measured)
    return steps.compute(measured)

  def test(self, arrays: batches.Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Losses and accuracies of all trials by their last state, [T] each."""
    state = self._trainer._last.get(self._trials)
    if state is None:
      with self._store() as store:
        state = self._begin(store)
      if not self._finished:
        raise ValueError('These trials were not run to their end.')
    return self._predict(state, arrays)
