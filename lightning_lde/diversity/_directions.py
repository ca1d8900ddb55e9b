"""Directions in which a classifier's labels vary: factors V with VVᵀ the covariance of the label given the image."""

from __future__ import annotations

import torch
from torch import Tensor


def exact_factor(probabilities: Tensor) -> Tensor:
    """A triangular factor: Σ_j v_j v_jᵀ = diag p − ppᵀ, with one direction less than classes.

    That covariance has rank C - 1, so C - 1 backward passes give the expectation over all C labels. With
    r_j = p_{j+1} + … + p_C,

        v_j = sqrt(p_j r_j / (p_j + r_j)) (e_j − Σ_{i>j} p_i / r_j e_i).

    No probability is taken from 1, so nothing cancels where the classifier is sure.

    Args:
        probabilities: (N, C), rows sum to 1.

    Returns:
        (C - 1, N, C).

    Source: Tanabe & Sagae (1992), J. R. Statist. Soc. B 54, 211-219 (Cholesky factor of a multinomial covariance).

    Example:
        >>> p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
        >>> v = exact_factor(p)
        >>> torch.allclose(torch.einsum("jni,jnk->nik", v, v), torch.diag_embed(p) - p.mT @ p)
        True
    """
    tiny = torch.finfo(probabilities.dtype).tiny
    after = probabilities.flip(1).cumsum(dim=1).flip(1)[:, 1:]
    first = probabilities[:, :-1]
    scale = (first * (after / (first + after).clamp_min(tiny))).sqrt()
    shares = probabilities.unsqueeze(1) / after.clamp_min(tiny).unsqueeze(2)
    columns = torch.eye(probabilities.shape[1], dtype=probabilities.dtype, device=probabilities.device)[:-1]
    return (scale.unsqueeze(2) * (columns - torch.triu(shares, diagonal=1))).transpose(0, 1)


def sketched_factor(probabilities: Tensor, signs: Tensor) -> Tensor:
    """Random directions whose mean outer product is diag p − ppᵀ, however many there are.

        v = (diag √p − p√pᵀ) ε / √k, with ε of independent random signs.

    Args:
        probabilities: (N, C), rows sum to 1.
        signs: ε, of -1 and 1, (N, k, C).

    Returns:
        (k, N, C).

    Source: trace estimator: Hutchinson (1989), Commun. Statist. Simul. 18, 1059-1076.
    """
    scaled = probabilities.sqrt().unsqueeze(1) * signs
    centred = scaled - probabilities.unsqueeze(1) * scaled.sum(dim=2, keepdim=True)
    passes = signs.shape[1]
    return centred.transpose(0, 1) / float(passes**0.5)


def random_signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Independent signs, int8, drawn from a generator on the CPU."""
    return torch.randint(0, 2, shape, generator=generator, dtype=torch.int8) * 2 - 1
