"""The yardstick that has learned nothing: the nearest class mean of raw pixels, on the tasks of a study."""

from __future__ import annotations

from torch import Tensor

from lightning_lde.fewshot import Episode, FewShotDataset
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train import evaluation_episodes


def nearest_centroid_accuracy(episode: Episode) -> float:
    """Share of query images whose pixels are nearest to the mean support image of their class.

    Args:
        episode: One task; distances are Euclidean over all pixels and channels.

    Returns:
        0 to 1.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, 2017, equation 2, without an embedding.
    """
    ways = len(episode.classes)
    support = _flat(episode.support_images)
    means = support.new_zeros(ways, support.shape[1]).index_add_(0, episode.support_labels, support)
    means /= episode.support_labels.bincount(minlength=ways)[:, None]
    # x·x is the same for every class; cdist's shortcut for many rows would round where two classes are close.
    scores = 2 * _flat(episode.query_images) @ means.T - means.square().sum(1)
    return float((scores.argmax(1) == episode.query_labels).double().mean())


def pixel_baseline(dataset: FewShotDataset, settings: StudySettings) -> dict[str, float]:
    """Accuracy of the nearest centroid on pixels for each task on which a study judges its methods.

    Args:
        dataset: The data set, prepared to the settings' size and channels.
        settings: The study's numbers.

    Returns:
        By the task's content id, as in the column ``episodes.episode_id``.
    """
    tasks = evaluation_episodes(dataset, settings)
    return {tasks.episode_id(index): nearest_centroid_accuracy(tasks[index]) for index in range(len(tasks))}


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1).double()
