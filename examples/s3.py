"""The same callback with a bucket: `python examples/s3.py s3://bucket/lake`.

Credentials come from the usual AWS places, or from storage_options; a server other than Amazon's
is named by `endpoint_url`, here through the variable AWS_ENDPOINT_URL.
"""

import os
import sys

import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

from lightning_lde import Lake, LDECallback

if __name__ == "__main__":
    url = sys.argv[1]
    storage_options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]} if "AWS_ENDPOINT_URL" in os.environ else {}
    callback = LDECallback(url, project="s3-example", storage_options=storage_options)
    pl.Trainer(max_epochs=2, limit_train_batches=5, limit_val_batches=2, callbacks=[callback]).fit(BoringModel())

    lake = Lake(url, storage_options)
    for row in lake.sql("select run_id, status, duration_s from runs order by started_at").to_pylist():
        print(row)
