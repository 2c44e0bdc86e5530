# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

# `problems` is shared by the tests of this folder.
sys.path.insert(0, str(pathlib.Path(__file__).parent))
