# SPDX-License-Identifier: Apache-2.0
"""The jitted kernels: PCA, k-means, GMM, kNN and linear; no I/O, no config."""
