# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs as networks: an interpreter in JAX, traced once and jitted.

A graph is plain data (`graph.Graph`); whoever reads files makes it. Its large
tensors are variables, given with each call; what is computed of shapes is
computed by NumPy while JAX traces. `operators` are pure functions in a file by
kind, of NumPy arrays as of JAX's.
"""

from neucrab_jax.models.onnx.graph import Graph as Graph
from neucrab_jax.models.onnx.graph import Input as Input
from neucrab_jax.models.onnx.graph import Node as Node
from neucrab_jax.models.onnx.graph import Variable as Variable
from neucrab_jax.models.onnx.heads import Ends as Ends
from neucrab_jax.models.onnx.heads import as_numbers as as_numbers
from neucrab_jax.models.onnx.heads import find_ends as find_ends
from neucrab_jax.models.onnx.network import Network as Network
from neucrab_jax.models.onnx.operators import check_known as check_known
