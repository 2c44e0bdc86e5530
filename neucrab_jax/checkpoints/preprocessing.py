# SPDX-License-Identifier: Apache-2.0
"""What is done to an image before a network of somebody else's file sees it."""

import pathlib
from typing import Literal

import msgspec
import numpy as np

from neucrab_jax import storage
from neucrab_jax.checkpoints import spec

# Pixels of an image's side; beyond, it is a mistake.
MOST_PIXELS = 4096

_Colours = tuple[float, float, float]

EXAMPLE = (
  '{"image_size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, '
  '0.225], "resize_method": "bilinear_antialias"}'
)


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  """How a network was given its images.

  Attributes:
    resize_method: a method of `tasks.resize`.
    image_size: pixels, height and width; needed where the file doesn't say.
    value_range: what 0 and 255 become, for all colours or for each.
    mean: of each colour, from 0 to 1; with `std` in place of `value_range`.
    std: of each colour.
    channels: in which order; mean, std and value_range are of R, G and B.
    upstream_accuracy: on the task that it was pre-trained for, if known.
  """

  resize_method: str
  image_size: int | None = None
  value_range: tuple[float | _Colours, float | _Colours] | None = None
  mean: _Colours | None = None
  std: _Colours | None = None
  channels: Literal['RGB', 'BGR'] = 'RGB'
  upstream_accuracy: float | None = None

  def levels(self) -> spec.ValueRange:
    """What 0 and 255 become.

    Raises:
      ValueError: if that is not said, or said twice, or is no range.
    """
    if self.mean is None or self.std is None:
      if self.value_range is None or self.mean or self.std:
        raise ValueError('it must have either value_range, or mean and std')
      low, high = self.value_range
    elif self.value_range is not None:
      raise ValueError('it must not have value_range beside mean and std')
    else:
      pairs = list(zip(self.mean, self.std, strict=True))
      if any(not std > 0 for _, std in pairs):
        raise ValueError(f'std must be positive, not {list(self.std)}')
      low, high = (
        tuple((level - mean) / std for mean, std in pairs) for level in (0, 1)
      )
    if not np.isfinite([*np.ravel(low), *np.ravel(high)]).all() or np.any(
      np.equal(low, high)
    ):
      raise ValueError(f'from {low} to {high} is no range of values')
    return low, high  # type: ignore

  def check_grey(self) -> None:
    """Checks that it can be of a network that takes grey images.

    Raises:
      ValueError: if the colours are told apart.
    """
    sides = [{*np.ravel(side).tolist()} for side in self.levels()]
    if self.channels != 'RGB' or any(len(side) > 1 for side in sides):
      low, high = self.levels()
      raise ValueError(
        'it takes grey images, but their preprocessing tells colours apart: '
        f'they are {self.channels} from {low} to {high}. Give value_range as '
        'two numbers, such as [-1, 1], and no channels'
      )


def read(path: str, told: str | None) -> Preprocessing:
  """What is said of a file, in the JSON beside it or in itself.

  Args:
    path: of the file; beside `x.onnx` is `x.json`.
    told: JSON that the file itself has, or None.

  Raises:
    ValueError: if neither says it, or it is not what it should be.
  """
  beside = pathlib.Path(path).with_suffix('.json')
  if beside.exists():
    found, where = storage.read_json(beside, Preprocessing), str(beside)
  elif told is not None:
    where = f'{path}: neucrab.preprocessing'
    try:
      found = msgspec.json.decode(told, type=Preprocessing)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
      raise ValueError(
        f'{where} is not what it should be: {error}. It should be like '
        f'{EXAMPLE}.'
      ) from error
  else:
    raise ValueError(
      f'{path!r} does not say how its images are prepared. Write it to '
      f'{str(beside)!r}, like {EXAMPLE}; or "value_range": [-1, 1] in place '
      'of mean and std. With "channels": "BGR" blue comes first.'
    )
  try:
    found.levels()
    size = found.image_size
    if size is not None and not 1 <= size <= MOST_PIXELS:
      raise ValueError(f'image_size is {size}, not from 1 to {MOST_PIXELS}')
  except ValueError as error:
    raise ValueError(
      f'{where}: {error}. It should be like {EXAMPLE}.'
    ) from None
  return found
