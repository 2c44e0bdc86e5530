# SPDX-License-Identifier: Apache-2.0
"""Names of variables in PyTorch's layout: transformers' as timm's, and to Flax.

One rule for each spelling: timm's names are our modules'; transformers' become
those by a list of replacements that hold for all of its networks.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from neucrab_jax.checkpoints import torch_mobile_names

# Types of models whose names are no matter of single names.
_MOBILE = ('mobilenet_v1', 'mobilenet_v2', 'efficientnet')

Shape = tuple[int, ...]

# What a network does without: counters, tables that its code makes itself,
# halves of a larger model, and what only pre-training reads.
_SKIPPED = re.compile(
  r'(.*\.)?(num_batches_tracked|relative_position_index|attn_mask'
  r'|relative_coords_table|position_ids|mask_token)'
  r'|(text_model|text_projection|visual_projection|decoder)\..*'
  r'|logit_scale|logit_bias'
)
# Behind the features that ours are, in transformers' networks.
_SKIPPED_BY_TRANSFORMERS = re.compile(r'(.*\.)?pooler\..*')

# The names of its networks within one with a head.
_PREFIX = re.compile(
  r'^(vit|deit|dinov2|dinov2_with_registers|vision_model|convnext|convnextv2'
  r'|resnet|swin|regnet)\.'
)


def _next(pattern: str, prefix: str) -> tuple[str, Callable[[re.Match], str]]:
  """A number, counted from one where it was from zero."""
  return pattern, lambda match: f'{prefix}{int(match[1]) + 1}'


_Rule = tuple[str, str | Callable[[re.Match], str]]

_RULES: tuple[_Rule, ...] = (
  # What comes before the first block.
  (r'^embeddings\.(cls_token|class_embedding)$', 'cls_token'),
  (r'^embeddings\.distillation_token$', 'dist_token'),
  (r'^embeddings\.register_tokens$', 'reg_token'),
  (r'^embeddings\.position_embeddings?(\.weight)?$', 'pos_embed'),
  (r'^embeddings\.(patch_embeddings\.projection|patch_embedding)\.',
   'patch_embed.proj.'),
  (r'^pre_layrnorm\.', 'norm_pre.'),
  # Blocks of transformers.
  (r'^encoder\.layers?\.(\d+)\.(?!blocks|downsample)', r'blocks.\1.'),
  (r'\.(attention\.(attention|self)\.|self_attn\.)(q|k|v)(uery|ey|alue|_proj)\.',
   r'.attn.\3.'),
  (r'\.attention\.output\.dense\.|\.self_attn\.out_proj\.', '.attn.proj.'),
  (r'\.intermediate\.dense\.|\.mlp\.weights_in\.', '.mlp.fc1.'),
  (r'\.output\.dense\.|\.mlp\.weights_out\.', '.mlp.fc2.'),
  (r'\.(layernorm_before|layer_norm1)\.', '.norm1.'),
  (r'\.(layernorm_after|layer_norm2)\.', '.norm2.'),
  (r'\.layer_scale(\d)\.lambda1$', r'.ls\1.gamma'),
  # Behind the last block.
  (r'^head\.probe$', 'attn_pool.latent'),
  (r'^head\.attention\.in_proj_(weight|bias)$', r'attn_pool.in_proj.\1'),
  (r'^head\.attention\.out_proj\.', 'attn_pool.proj.'),
  (r'^head\.(layernorm)\.', 'attn_pool.norm.'),
  (r'^head\.mlp\.', 'attn_pool.mlp.'),
  (r'^(post_)?layernorm\.', 'norm.'),
  (r'^(cls_)?classifier\.', 'head.'),
  (r'^distillation_classifier\.', 'head_dist.'),
)  # fmt: skip

# What only some of its types of models have.
_HEAD: tuple[_Rule, ...] = ((r'^classifier\.(1\.)?', 'head.fc.'),)
_CONVNEXT: tuple[_Rule, ...] = (
  (r'^embeddings\.patch_embeddings\.', 'stem.0.'),
  (r'^embeddings\.layernorm\.', 'stem.1.'),
  (r'^encoder\.(stages\.\d+)\.downsampling_layer\.', r'\1.downsample.'),
  (r'^encoder\.(stages\.\d+)\.layers\.', r'\1.blocks.'),
  (r'\.dwconv\.', '.conv_dw.'),
  (r'\.layernorm\.', '.norm.'),
  (r'\.pwconv(\d)\.', r'.mlp.fc\1.'),
  (r'\.grn\.', '.mlp.grn.'),
  (r'\.layer_scale_parameter$', '.gamma'),
  (r'^layernorm\.', 'head.norm.'),
  *_HEAD,
)
_RESNET: tuple[_Rule, ...] = (
  (r'^embedder\.embedder\.convolution\.', 'conv1.'),
  (r'^embedder\.embedder\.normalization\.', 'bn1.'),
  _next(r'^encoder\.stages\.(\d+)\.layers', 'layer'),
  _next(r'\.layer\.(\d)(?=\.convolution\.)', '.conv'),
  _next(r'\.layer\.(\d)(?=\.normalization\.)', '.bn'),
  (r'\.shortcut\.convolution\.', '.downsample.0.'),
  (r'\.shortcut\.normalization\.', '.downsample.1.'),
  (r'\.(convolution|normalization)\.', '.'),
  (r'^classifier\.1\.', 'fc.'),
)
_REGNET: tuple[_Rule, ...] = (
  (r'^embedder\.embedder\.', 'stem.'),
  _next(r'^encoder\.stages\.(\d+)(?=\.)', 's'),
  _next(r'\.layers\.(\d+)(?=\.)', '.b'),
  (r'\.layer\.2\.attention\.0\.', '.se.fc1.'),
  (r'\.layer\.2\.attention\.2\.', '.se.fc2.'),
  (r'\.layer\.3\.', '.layer.2.'),
  _next(r'\.layer\.(\d)(?=\.)', '.conv'),
  (r'\.shortcut\.', '.downsample.'),
  (r'\.convolution\.', '.conv.'),
  (r'\.normalization\.', '.bn.'),
  *_HEAD,
)
_SWIN: tuple[_Rule, ...] = (
  (r'^embeddings\.norm\.', 'patch_embed.norm.'),
  (r'^encoder\.layers\.', 'layers.'),
  (r'\.attention\.self\.(relative_position_bias_table)$', r'.attn.\1'),
  *_HEAD,
)
_RULES_BY_TYPE = {
  'convnext': _CONVNEXT,
  'convnextv2': _CONVNEXT,
  'resnet': _RESNET,
  'regnet': _REGNET,
  'swin': _SWIN,
}

# timm's first Swins, and transformers', merge places at a stage's end; timm's
# now do it at the beginning of the next.
_MERGING = re.compile(r'layers\.(\d+)\.downsample\.')
_FIRST_MERGING = 'layers.0.downsample.reduction.weight'

# Tokens and positions, which some networks store without their first axes.
_TOKENS = ('cls_token', 'dist_token', 'reg_token', 'pos_embed')

# Layers that timm has as one, and transformers as several; and the other way.
_QKV = re.compile(r'(.*\.attn)\.([qkv])\.(weight|bias)')
_IN_PROJ = re.compile(r'(.*)\.in_proj\.(weight|bias)')


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a variable of ours comes from.

  Attributes:
    names: of the stored variables, which are put one behind the other.
    shape: of them together.
    part: which thirds of the first axis it is; all by default.
  """

  names: tuple[str, ...]
  shape: Shape
  part: tuple[int, int] = (0, 3)

  def take(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The variable, of the arrays of its names."""
    array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    if self.part != (0, 3):
      first, last = (len(array) * third // 3 for third in self.part)
      array = array[first:last]
    return array.reshape(self.shape)


def _renamed(name: str, kind: str) -> str:
  """A name of transformers as timm's."""
  name = _PREFIX.sub('', name, count=1)
  for pattern, replacement in (*_RULES_BY_TYPE.get(kind, ()), *_RULES):
    name = re.sub(pattern, replacement, name)
  return name


def _merging_first(sources: dict[str, Source]) -> dict[str, Source]:
  """With Swin's merging where timm has it now."""
  if _FIRST_MERGING not in sources:
    return sources
  return {
    _MERGING.sub(lambda m: f'layers.{int(m[1]) + 1}.downsample.', name): source
    for name, source in sources.items()
  }


def _with_tokens(name: str, shape: Shape) -> Shape:
  if name in _TOKENS and len(shape) < 3:
    return (1,) * (3 - len(shape)) + shape
  return shape


def _from_transformers(
  shapes: Mapping[str, Shape], kind: str
) -> dict[str, Source]:
  if kind in _MOBILE:
    names = torch_mobile_names.rename(shapes, kind)
    return {names[n]: Source((n,), shape) for n, shape in shapes.items()}
  sources: dict[str, Source] = {}
  heads: dict[str, dict[str, str]] = {}
  for stored, shape in shapes.items():
    name = _renamed(stored, kind)
    if found := _QKV.fullmatch(name):
      heads.setdefault(f'{found[1]}.qkv.{found[3]}', {})[found[2]] = stored
    elif (found := _IN_PROJ.fullmatch(name)) and shape and shape[0] % 3 == 0:
      third = shape[0] // 3
      for layer, part in (('q', (0, 1)), ('kv', (1, 3))):
        size = (third * (part[1] - part[0]), *shape[1:])
        sources[f'{found[1]}.{layer}.{found[2]}'] = Source(
          (stored,), size, part
        )
    else:
      sources[name] = Source((stored,), _with_tokens(name, shape))
  for name, parts in heads.items():
    names = tuple(parts[part] for part in 'qkv' if part in parts)
    given = [shapes[stored] for stored in names]
    if len(names) != 3 or len(set(given)) != 1:
      raise ValueError(
        f'it has {" and ".join(map(repr, names))} of shapes '
        f'{", ".join(str(list(s)) for s in given)}, but not query, key and '
        'value of one shape'
      )
    shape = (3 * given[0][0], *given[0][1:])
    sources[name] = Source(names, shape)
  return sources


def sort(
  shapes: Mapping[str, Shape], library: str, kind: str = ''
) -> tuple[dict[str, Source], tuple[str, ...]]:
  """Sorts the variables of a checkpoint.

  Args:
    shapes: of all of them.
    library: whose spelling it is, 'timm' or 'transformers'.
    kind: of transformers, the type of the model.

  Returns:
    The variables of the network by timm's names, and the names of what is none.

  Raises:
    ValueError: if queries, keys and values don't belong together.
  """

  def is_skipped(name: str) -> bool:
    return bool(
      _SKIPPED.fullmatch(name)
      or (
        library == 'transformers' and _SKIPPED_BY_TRANSFORMERS.fullmatch(name)
      )
    )

  skipped = tuple(sorted(filter(is_skipped, shapes)))
  kept = {name: shapes[name] for name in shapes if not is_skipped(name)}
  if library == 'transformers':
    return _merging_first(_from_transformers(kept, kind)), skipped
  sources = {name: Source((name,), shape) for name, shape in kept.items()}
  return _merging_first(sources), skipped


# The last part of a variable's path in Flax, and of its name in PyTorch.
_LEAVES = {
  'kernel': 'weight',
  'scale': 'weight',
  'mean': 'running_mean',
  'var': 'running_var',
}


def to_torch(path: Sequence[str]) -> str:
  """The name of a variable of ours, of its path without the collection.

  >>> to_torch(('blocks.0', 'attn', 'qkv', 'kernel'))
  'blocks.0.attn.qkv.weight'
  """
  return '.'.join((*path[:-1], _LEAVES.get(path[-1], path[-1])))


def torch_shape(leaf: str, shape: Shape) -> Shape:
  """How PyTorch has a variable of ours: the channels that it makes first."""
  if leaf != 'kernel':
    return shape
  return (shape[-1], shape[-2], *shape[:-2])


def fits(stored: Shape, wanted: Shape) -> bool:
  """Whether they are the same but for axes of length one."""
  return [n for n in stored if n != 1] == [n for n in wanted if n != 1]


def to_flax(leaf: str, value: np.ndarray, shape: Shape) -> np.ndarray:
  """A stored variable in our layout."""
  if leaf == 'kernel':
    value = value.reshape(torch_shape(leaf, shape))
    value = np.moveaxis(value, (0, 1), (-1, -2))
  return np.ascontiguousarray(value.reshape(shape))
