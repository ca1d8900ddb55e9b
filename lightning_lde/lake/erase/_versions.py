"""Whether a bucket keeps former versions of its files: then deleting hides them and removes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage


def keeps_versions(storage: LakeStorage) -> bool:
    """Whether the bucket of a lake keeps, or kept, versions; False where it has none or does not say.

    Args:
        storage: The lake.
    """
    url = storage.absolute_url
    if not url.startswith(("s3://", "s3a://")):
        return False
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url, **storage.given_options)
        answer = filesystem.call_s3("get_bucket_versioning", Bucket=root.split("/", 1)[0])
    except Exception:
        # Not everybody may ask, and not every server knows the question.
        return False
    return answer.get("Status") in {"Enabled", "Suspended"}
