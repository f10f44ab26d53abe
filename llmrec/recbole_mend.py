"""RecBole 1.2.1 (2023) on today's numpy, scipy and torch: where it comes from, and what has to be mended while it runs.

RecBole pins ``ray<=2.6.3`` and ``colorama==0.4.4``, which its models never use, so that no resolver can install it
beside current packages. The extra ``llmrec[recbole]`` therefore lists what its code really imports, and RecBole itself
is either installed without its pins (``pip install --no-deps recbole==1.2.1``) or unpacked from its wheel.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from llmrec.content import cache_folder
from llmrec.errors import UserError

VERSION = "1.2.1"


def provide() -> None:
    """Make ``import recbole`` work: the installed package, else its wheel, unpacked once into the cache.

    Raises:
        UserError: RecBole is not installed and its wheel cannot be had.
    """
    if importlib.util.find_spec("recbole") is not None:
        return
    folder = cache_folder() / f"recbole-{VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _unpack(_download(Path(temporary)), folder)
    sys.path.append(str(folder))
    importlib.invalidate_caches()


def _download(folder: Path) -> Path:
    """RecBole's wheel: the one that MovieLens-100K is read from, so that its card has the address and the checksum."""
    from llmrec.data import card
    from llmrec.data.fetch import pip_download

    source = next(s for s in card("ml-100k").sources if s.address == f"pypi:recbole=={VERSION}")
    try:
        return pip_download(source, folder)
    except UserError as error:
        raise UserError(
            f"recbole: not installed and not to be downloaded ({error}). "
            f"Install it without its pins: pip install --no-deps recbole=={VERSION}"
        ) from None


def _unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel (a zip file whose modules lie at its top) so that the folder appears whole."""
    staging = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(staging)
    with contextlib.suppress(OSError):  # another process was first
        staging.rename(folder)


@contextmanager
def mended(own_files: Path | None = None) -> Iterator[None]:
    """While the context lasts RecBole can be imported and run; afterwards every library is as it was.

    ``own_files``: a folder of checkpoints that RecBole itself writes and reads again in this process.

    Raises:
        UserError: RecBole cannot be had.
    """
    provide()
    import numpy as np
    import scipy.sparse
    import torch

    with ExitStack() as stack, warnings.catch_warnings():

        def replace(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(_replaced(owner, name, value))

        # RecBole calls torch.cuda.amp and other names that are deprecated, once a batch.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", SyntaxWarning)
        # numpy 1.24 dropped np.float, which RecBole's Interaction and metrics use.
        replace(np, "float", float)
        # scipy no longer has dok_matrix._update, with which LightGCN, NGCF, GCMC, NCL and SpectralCF fill their graphs.
        replace(scipy.sparse.dok_matrix, "_update", lambda self, values: self._dict.update(values))
        # torch 2.6 refuses pickled objects, but S3Rec and RaCT hand their own pickled checkpoints from stage to stage.
        replace(torch, "load", _trusting(torch.load, own_files))
        # NCL clusters with faiss on a GPU, which the package for CPUs refuses.
        stack.enter_context(_module("faiss", Kmeans=_Kmeans))
        _import_with_silent_tensorboard()
        from recbole.config import Config

        # numpy 2.0 dropped np.float_ and np.unicode_, which Config copies to the names dropped before them.
        replace(Config, "compatibility_settings", lambda self: None)
        # Config takes --name=value from the command line of whatever program it runs in: here, the harness's own.
        replace(Config, "_load_cmd_line", lambda self: {})
        # Config evaluates every string as Python; a suite's values have their types already.
        replace(Config, "_convert_config_dict", lambda self, values: values)
        from recbole.model.general_recommender import dgcf

        # DGCF draws more users than there are when all the training pairs make few batches.
        replace(dgcf, "sample_cor_samples", _within(dgcf.sample_cor_samples))
        # Config overwrites CUDA_VISIBLE_DEVICES, by which the runner gives a run its device.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        try:
            yield
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            if visible is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = visible


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """``owner.name`` is ``value`` for a while, whether or not it was there before."""
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


class _SilentWriter:
    """Stands in for TensorBoard's SummaryWriter, which RecBole points at ./log_tensorboard; a record has its curve."""

    def __init__(self, *args: object) -> None:
        pass

    def add_scalar(self, *args: object) -> None:
        pass

    def add_hparams(self, *args: object) -> None:
        pass


class _Kmeans:
    """Stands in for faiss.Kmeans: scikit-learn's k-means, with at most as many clusters as rows."""

    def __init__(self, d: int, k: int, gpu: bool = False) -> None:
        self.k, self.index = k, self

    def train(self, x: Any) -> None:
        """Find the centroids, float32 [k, d], of the rows of x, as many iterations as faiss has (25)."""
        from sklearn.cluster import KMeans

        k = min(self.k, len(x))
        self.model = KMeans(k, n_init=1, init="random", max_iter=25, random_state=1234).fit(x)  # faiss's own seed
        self.centroids = self.model.cluster_centers_

    def search(self, x: Any, neighbours: int) -> tuple[None, Any]:
        """The nearest centroid of each row, int32 [rows, 1]; nobody reads the distances."""
        return None, self.model.predict(x)[:, None]


def _within(sample: Callable[[int, int, int], Any]) -> Callable[[int, int, int], Any]:
    """DGCF's drawing of users and items, of each kind no more than there are."""

    def bounded(n_users: int, n_items: int, size: int) -> Any:
        return sample(n_users, n_items, min(size, n_users, n_items))

    return bounded


@contextmanager
def _module(name: str, **contents: Any) -> Iterator[None]:
    """``import name`` finds a module of these contents for a while."""
    real = sys.modules.get(name)
    stand_in = types.ModuleType(name)
    vars(stand_in).update(contents)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]
        if real is not None:
            sys.modules[name] = real


def _import_with_silent_tensorboard() -> None:
    """RecBole makes a TensorBoard writer for every trainer: neither that package nor its folder is wanted."""
    with _module("torch.utils.tensorboard", SummaryWriter=_SilentWriter):
        from recbole.utils import utils
    utils.SummaryWriter = _SilentWriter  # had RecBole been imported before


def _trusting(load: Callable[..., Any], own_files: Path | None) -> Callable[..., Any]:
    """torch.load that unpickles objects from files in ``own_files`` only."""

    def trusting_load(file: Any, *args: Any, **kwargs: Any) -> Any:
        if own_files is not None and isinstance(file, str | Path) and own_files in Path(file).parents:
            kwargs.setdefault("weights_only", False)
        return load(file, *args, **kwargs)

    return trusting_load
