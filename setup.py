"""Package metadata of lightning-lde; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = "0.1.0"

S3_TEST_SERVER = ["moto[server]>=5.1", "boto3>=1.35"]
DELTA = ["deltalake>=1.1"]
DATA = ["pooch>=1.8"]
DAFT = ["daft>=0.7"]
DASK = ["dask[distributed]>=2024.6"]
RAY = [*DAFT, "ray>=2.40"]
SPARK = ["pyspark>=4.0"]
POLARS = ["polars>=1.30"]
OPTUNA = ["optuna>=5.0"]
NVIDIA = ["nvidia-ml-py>=12.535"]
COMMAND_LINE_EXAMPLE = ["jsonargparse[signatures]>=4.35"]

# What the benchmarks compare with. Aim imports pkg_resources, which setuptools 81 no longer has.
OTHER_TRACKERS = [
    "tensorboard>=2.18",
    "mlflow>=3.1",
    "wandb>=0.20",
    "trackio>=0.43",
    'aim>=3.29 ; python_version < "3.13"',
    "setuptools<81",
]

# learn2learn's compiled parts do not build since Python 3.11: the benchmark fetches its sources by itself.
OTHER_MAML = ["higher>=0.2.1"]

EXTRAS = {
    "bench": [*OTHER_TRACKERS, *OTHER_MAML, *DELTA, *OPTUNA, "pandas>=2.2", *S3_TEST_SERVER],
    "cli": COMMAND_LINE_EXAMPLE,
    "daft": DAFT,
    "dask": DASK,
    "data": DATA,
    "delta": DELTA,
    "engines": [*RAY, *SPARK, *POLARS],
    "nvidia": NVIDIA,
    "optuna": OPTUNA,
    "pandas": ["pandas>=2.2"],
    "polars": POLARS,
    "ray": RAY,
    "spark": SPARK,
    "test": [
        "pytest>=8.3",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "hypothesis>=6.115",
        "statsmodels>=0.14.4",
        "pandas>=2.2",
        *POLARS,
        "lightning>=2.4",
        *DATA,
        *DELTA,
        *NVIDIA,
        *OPTUNA,
        *S3_TEST_SERVER,
        *COMMAND_LINE_EXAMPLE,
    ],
    "lint": [
        "ruff>=0.9",
        "mypy>=1.14",
        "scipy-stubs>=1.15",
        "types-psutil",
        "types-tqdm",
        "build>=1.2",
    ],
}

setup(
    name="lightning-lde",
    version=VERSION,
    description="The lifelong database of experiments for PyTorch Lightning: one callback, one folder, no server.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    package_dir={"": "."},
    packages=find_packages(include=["lightning_lde*"]),
    package_data={"lightning_lde": ["py.typed"], "lightning_lde.ui": ["templates/*"]},
    install_requires=[
        "pytorch-lightning>=2.4",
        "lightning-utilities>=0.10",
        "torch>=2.4",
        "torchmetrics>=1.4",
        "pyarrow>=17.0",
        "pyfastcdc>=0.3.1",
        "duckdb>=1.1",
        "fsspec>=2024.6",
        "s3fs>=2024.6",
        "numpy>=1.26",
        "scipy>=1.15",
        "scikit-learn>=1.5",
        "joblib>=1.4",
        "matplotlib>=3.9",
        "pillow>=10.3",
        "fonttools>=4.53",
        "jinja2>=3.1",
        "click>=8.1",
        "rich>=13.7",
        "tqdm>=4.66",
        "psutil>=5.9.6",
        "pyyaml>=6.0.1",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["lde = lightning_lde.cli:main"],
        # Lightning's Trainers ask these for callbacks; there are none unless LDE_URI is set.
        "pytorch_lightning.callbacks_factory": ["lde = lightning_lde.automatic:callbacks"],
        "lightning.pytorch.callbacks_factory": ["lde = lightning_lde.automatic:callbacks"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
