# SPDX-License-Identifier: Apache-2.0
"""How images are prepared, as timm's and transformers' configs say it."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import msgspec

from neucrab_jax.checkpoints import preprocessing

# Pillow's numbers of its kernels.
_KERNELS = {
  0: 'nearest',
  1: 'lanczos',
  2: 'bilinear',
  3: 'bicubic',
  4: 'box',
  5: 'hamming',
}

PREPROCESSOR = 'preprocessor_config.json'

# transformers' image processors of which a plain number is the shorter side.
_SHORTER = ('CLIP', 'ConvNext', 'ConvNeXT')
# From this size on, ConvNeXt's takes the whole image.
_WHOLE = 384

# One that divides by the deviations twice, unless it says otherwise.
_TWICE = 'EfficientNet'

_Colours = tuple[float, float, float]

_TIMM_EXAMPLE = (
  '"pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.485, 0.456, '
  '0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bicubic", '
  '"crop_pct": 0.9, "crop_mode": "center"}'
)
_TRANSFORMERS_EXAMPLE = (
  '{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], '
  '"size": {"shortest_edge": 256}, "resample": 3, "do_center_crop": true, '
  '"crop_size": {"height": 224, "width": 224}}'
)


class _PretrainedCfg(msgspec.Struct, frozen=True):
  """What timm says."""

  input_size: tuple[int, int, int]
  mean: _Colours
  std: _Colours
  interpolation: str
  crop_pct: float | None = None
  crop_mode: str = 'center'


class _Processor(msgspec.Struct, frozen=True):
  """What transformers says."""

  image_mean: _Colours
  image_std: _Colours
  size: dict[str, int] | int
  resample: int
  crop_size: dict[str, int] | int | None = None
  do_center_crop: bool = False
  do_resize: bool = True
  do_normalize: bool = True
  do_rescale: bool = True
  rescale_factor: float = 1 / 255
  crop_pct: float | None = None
  image_processor_type: str = ''
  feature_extractor_type: str = ''
  include_top: bool = True


def _method(kernel: str, how: str, side: int) -> str:
  if kernel not in _KERNELS.values():
    raise ValueError(
      f'its interpolation {kernel!r} is not one of '
      f'{", ".join(_KERNELS.values())}'
    )
  if not 1 <= side <= preprocessing.MOST_PIXELS:
    raise ValueError(f'it resizes images to {side} pixels')
  return f'{kernel}/{how}={side}'


def _from_timm(told: _PretrainedCfg) -> preprocessing.Preprocessing:
  channels, height, width = told.input_size
  if channels != 3 or height != width:
    raise ValueError(
      f'its images are {list(told.input_size)}, not square and of three colours'
    )
  share = 1.0 if told.crop_pct is None else told.crop_pct
  hows = {'center': 'shorter', 'border': 'shorter', 'squash': 'square'}
  if not 0 < share <= 1 or told.crop_mode not in hows:
    raise ValueError(
      f'its crop_pct is {share} and its crop_mode {told.crop_mode!r}; known '
      f'are shares up to 1 of {", ".join(hows)}'
    )
  return preprocessing.Preprocessing(
    resize_method=_method(
      told.interpolation, hows[told.crop_mode], math.floor(height / share)
    ),
    image_size=height,
    mean=told.mean,
    std=told.std,
  )


def _sides(size: dict[str, int] | int, *, shorter: bool) -> tuple[str, int]:
  """How to resize: the shorter side, or both; and to how much."""
  if isinstance(size, int):
    return ('shorter' if shorter else 'square'), size
  if 'shortest_edge' in size:
    return 'shorter', size['shortest_edge']
  sides = {size.get('height'), size.get('width')}
  (side, *others) = sides
  if others or side is None:
    raise ValueError(f'its size {size} is no square')
  return 'square', side


def _from_transformers(told: _Processor) -> preprocessing.Preprocessing:
  kind = told.image_processor_type or told.feature_extractor_type
  how, side = _sides(told.size, shorter=kind.startswith(_SHORTER))
  crop = None
  if told.do_center_crop and told.crop_size is not None:
    _, crop = _sides(told.crop_size, shorter=False)
  elif kind.startswith('ConvNe') or told.crop_pct is not None:
    crop, how = side, 'square'
    if side < _WHOLE:
      how, side = 'shorter', int(side / (told.crop_pct or 224 / 256))
  elif how == 'shorter':
    crop = side
  kernel = _KERNELS.get(told.resample, str(told.resample))
  # The levels 0 and 255 become what the rescaled 0 and 1 do.
  scale = told.rescale_factor * 255 if told.do_rescale else 255.0
  if abs(scale - 1) > 1e-3 or not (told.do_normalize and told.do_resize):
    raise ValueError(
      'it does not resize, rescale to [0, 1] and normalise, which is not known '
      'here'
    )
  std = told.image_std
  if kind.startswith(_TWICE) and told.include_top:
    std = std[0] ** 2, std[1] ** 2, std[2] ** 2
  return preprocessing.Preprocessing(
    resize_method=_method(kernel, how, side),
    image_size=side if crop is None else crop,
    mean=told.image_mean,
    std=std,
  )


def _as(kind: type, told: Any, where: str, example: str) -> Any:
  try:
    return msgspec.convert(told, kind, strict=False)
  except msgspec.ValidationError as error:
    raise ValueError(
      f'{where} does not say how images are prepared: {error}. It should be '
      f'like {example}.'
    ) from error


def read(
  folder: pathlib.Path, config: Mapping[str, Any]
) -> preprocessing.Preprocessing:
  """What is said in a folder.

  Args:
    folder: of the weights.
    config: its `config.json`.

  Raises:
    ValueError: if nothing is, or it is not what it should be.
  """
  beside = folder / PREPROCESSOR
  told = config.get('pretrained_cfg', config if 'mean' in config else None)
  if 'model_type' not in config and told is not None:
    where = f'{str(folder / "config.json")!r}'
    read_as, make = _as(_PretrainedCfg, told, where, _TIMM_EXAMPLE), _from_timm
  elif beside.exists():
    where = repr(str(beside))
    try:
      plain = msgspec.json.decode(beside.read_bytes())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
      raise ValueError(f'{where} is no JSON: {error}.') from error
    read_as = _as(_Processor, plain, where, _TRANSFORMERS_EXAMPLE)
    make = _from_transformers
  elif 'model_type' in config:
    raise ValueError(
      f'{str(folder)!r} does not say how images are prepared. Write a '
      f'{PREPROCESSOR} into it, such as {_TRANSFORMERS_EXAMPLE}.'
    )
  else:
    raise ValueError(
      f'{str(folder)!r} does not say how images are prepared. Write into its '
      f'config.json, such as {_TIMM_EXAMPLE}.'
    )
  try:
    prepared = make(read_as)
    prepared.levels()
    if not 1 <= (prepared.image_size or 0) <= preprocessing.MOST_PIXELS:
      raise ValueError(f'its images are of {prepared.image_size} pixels')
  except ValueError as error:
    raise ValueError(f'{where}: {error}.') from error
  return prepared
