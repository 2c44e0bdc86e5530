# SPDX-License-Identifier: Apache-2.0
"""Tasks from TensorFlow Datasets (TFDS), which is imported only here, late.

Reading and decoding are apart: one pass over the encoded images gives labels
and fingerprint, and what is then decoded is only what was asked for, by the
function that TFDS itself would have used.

Axes: N examples, H height, W width.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neucrab_jax import progress, spelling, storage
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib

# Examples per step through TensorFlow; one at a time, its overhead would rule.
_CHUNK = 256

# TFDS's own name for all splits together.
_ALL_SPLITS = 'all'


def _unknown_task(name: str, *, built_in: tuple[str, ...]) -> ValueError:
  import tensorflow_datasets as tfds

  published = tfds.list_builders(with_community_datasets=False)
  hint = spelling.nearest(name, [*built_in, *published])
  return ValueError(
    f'Unknown task {name!r}.{hint} Known: {", ".join(built_in)}, the '
    f'{len(published)} names that tensorflow_datasets.list_builders() gives, '
    'a folder of images, or an .npz.'
  )


def find_builder(
  name: str, data_dir: str | os.PathLike | None, *, built_in: tuple[str, ...]
) -> Any:
  """Finds a data set by its TFDS name, on disk or in code, without network.

  Raises:
    ValueError: if there is none of that name, configuration or version, or TFDS
      is not installed.
  """
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ValueError(
      f'There is no folder, file or built-in task {name!r}.'
      f'{spelling.nearest(name, built_in)} If it is a data set of TFDS, these '
      "need what is not installed: pip install 'neucrab_jax[tfds]', or "
      f'requirements/tfds.txt ({error}).'
    ) from error

  if data_dir is not None:
    data_dir = os.path.expanduser(data_dir)
  try:
    return tfds.builder(name, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    raise _unknown_task(name, built_in=built_in) from error
  except (AssertionError, ImportError, ValueError) as error:
    if 'Parsing builder name' in str(error):
      raise _unknown_task(name, built_in=built_in) from error
    raise ValueError(f'TFDS cannot give {name!r}: {error}') from error


def _find_key(
  features: Mapping[str, Any], kind: type, *, role: int, builder: Any
) -> str:
  """The key of the image (role 0) or of the label (role 1).

  The data set's supervised keys decide; where it has none that fit, there must
  be just one feature of that kind.
  """
  supervised = (builder.info.supervised_keys or (None, None))[role]
  keys = [key for key, feature in features.items() if isinstance(feature, kind)]
  if supervised in keys or len(keys) == 1:
    return supervised if supervised in keys else keys[0]
  present = ', '.join(
    f'{key} ({type(feature).__name__})' for key, feature in features.items()
  )
  raise ValueError(
    f'{builder.info.full_name!r} is no image classification task: it must '
    f'have one {kind.__name__} feature and has {len(keys)}. Its features: '
    f'{present}.'
  )


def _decode(encoded: bytes, *, feature: Any, source: str) -> np.ndarray:
  """Decodes as TFDS does; grey images get three channels."""
  import tensorflow as tf

  try:
    image = feature.decode_example(encoded).numpy()
  except (tf.errors.InvalidArgumentError, ValueError) as error:
    raise ValueError(f'An image of {source} cannot be decoded: {error}') from (
      error
    )
  return np.repeat(image, 3, 2) if image.shape[2] == 1 else image


def _keep_off_accelerators() -> None:
  """Leaves the accelerators' memory to JAX; TensorFlow would take it all."""
  import tensorflow as tf

  # Too late if TensorFlow is in use already: then that was decided elsewhere.
  with contextlib.suppress(RuntimeError):
    tf.config.set_visible_devices([], 'GPU')


def _as_dataset(builder: Any, split: str, *, image_key: str, label_key: str):
  """A `tf.data.Dataset` of encoded images and labels, in a fixed order."""
  import tensorflow_datasets as tfds

  return builder.as_dataset(
    split=split,
    shuffle_files=False,
    decoders=tfds.decode.PartialDecoding(
      {image_key: True, label_key: True},
      decoders={image_key: tfds.decode.SkipDecoding()},
    ),
    # One file after the other: the order is that of the files.
    read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
  )


def _check_split(split: str, *, builder: Any, name: str) -> None:
  """Raises ValueError for what is neither a split nor an expression of them."""
  splits = builder.info.splits
  # Without metadata (mocked data) TFDS takes any split, and so do we.
  if not splits:
    return
  for term in split.split('+'):
    base = term.split('[')[0].strip()
    if base not in (*splits, _ALL_SPLITS):
      raise spelling.unknown(f'split of {name!r}', base, splits)
  try:
    num_examples = splits[split].num_examples
  except (AssertionError, ValueError) as error:
    raise ValueError(
      f'{split!r} is no split of {name!r}; an expression looks like '
      f'"train[:10%]" or "train+test": {error}'
    ) from error
  if num_examples == 0:
    raise ValueError(f'{split!r} of {name!r} has no examples.')


def _ids(expression: str, *, builder: Any) -> np.ndarray | None:
  """What tells the examples of an expression apart, if that can be known."""
  import tensorflow_datasets as tfds

  splits = builder.info.splits
  if not splits:
    return None
  names = list(splits)
  if _ALL_SPLITS in expression:
    expression = '+'.join(names)
  parts = tfds.core.ReadInstruction.from_spec(expression).to_absolute(splits)
  ids = []
  for part in parts:
    size = splits[part.splitname].num_examples
    # An end that is left open is None.
    taken = np.arange(size)[part.from_ : part.to]
    ids.append(task_lib.number(names.index(part.splitname), taken))
  return np.concatenate(ids)


def load(
  name: str,
  builder: Any,
  *,
  vtab_splits: Mapping[str, str] | None = None,
) -> task_lib.Task:
  """Makes a task of a prepared data set.

  Args:
    name: what the task is called.
    builder: from `find_builder`, and prepared.
    vtab_splits: the split names to offer, each with its TFDS expression. By
      default the data set's own, and any expression of them.

  Raises:
    ValueError: if it has not just one image and one label per example.
  """
  import tensorflow_datasets as tfds

  given: Any = builder.info.features
  is_dict = isinstance(given, tfds.features.FeaturesDict)
  features: dict[str, Any] = (
    dict(given.items()) if is_dict else {'example': given}
  )
  find = functools.partial(_find_key, features, builder=builder)
  image_key = find(tfds.features.Image, role=0)
  label_key = find(tfds.features.ClassLabel, role=1)
  image: Any = features[image_key]
  label: Any = features[label_key]
  if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3):
    raise ValueError(
      f'The images of {name!r} are {np.dtype(image.np_dtype)} of shape '
      f'{list(image.shape)}; they must be uint8 with 1 or 3 channels.'
    )

  def read(split: str) -> task_lib.Examples:
    if vtab_splits is None:
      expression = splits_lib.resolve_all(split, builder.info.splits or ())
    elif (meant := splits_lib.resolve(split, vtab_splits)) in vtab_splits:
      expression = vtab_splits[meant]
    else:
      raise spelling.unknown(f'split of {name!r}', split, vtab_splits)
    _check_split(expression, builder=builder, name=name)
    _keep_off_accelerators()
    source = f'{name}, split {split!r}'
    dataset = _as_dataset(
      builder, expression, image_key=image_key, label_key=label_key
    )
    labels, digests = [], []
    for chunk in progress.track(
      dataset.batch(_CHUNK).as_numpy_iterator(),
      total=-(-int(dataset.cardinality()) // _CHUNK),
      description=f'Reading {source}',
    ):
      labels.append(chunk[label_key])
      digests += map(storage.digest, chunk[image_key])
    checked = task_lib.check_labels(
      np.concatenate(labels) if labels else np.zeros(0, np.int32),
      source=source,
      num_classes=label.num_classes,
    )

    def open_images(indices: np.ndarray) -> Iterator[task_lib.Decode]:
      start, stop = int(indices[0]), int(indices[-1]) + 1
      chunks = dataset.skip(start).take(stop - start).batch(_CHUNK)
      for chunk in chunks.as_numpy_iterator():
        encoded = chunk[image_key]
        first, last = np.searchsorted(indices, [start, start + len(encoded)])
        for index in indices[first:last]:
          yield functools.partial(
            _decode, encoded[index - start], feature=image, source=source
          )
        start += len(encoded)

    return task_lib.Examples(
      labels=checked,
      fingerprint=storage.digest(checked, digests),
      opener=open_images,
      ids=_ids(expression, builder=builder),
    )

  return task_lib.Task(
    name=name,
    num_classes=label.num_classes,
    class_names=tuple(label.names),
    splits=tuple(vtab_splits or builder.info.splits),
    reader=read,
  )
