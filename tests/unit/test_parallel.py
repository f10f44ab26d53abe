"""Fine-tuning in several processes: the loss curve of one with the same batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmrec.errors import Skip  # noqa: E402
from llmrec.parallel import Processes, processes  # noqa: E402

SCRIPT = """
import json, os, sys
import torch
from llmrec import toy
from llmrec.bert.classifier import load_classifier
from llmrec.bert.pairs import Pairs
from llmrec.bert.tune import Groups, fine_tune
from llmrec.context import Context
from llmrec.discover import load_method

torch.set_num_threads(1)
settings = load_method("bert-crossencoder")(
    encoder=sys.argv[1], window=18, item_tokens=4, batch_size=14, at_once=4, epochs=3, learning_rate=1e-2,
    head_factor=1.0,
)
losses = []
ctx = Context(seed=0, items=toy.items(1), emit=lambda event: losses.append(event["loss"]))
found = load_classifier(settings, ctx)
texts = [" ".join("ab"[(i * j) % 2] for j in range(1 + i % 3)) for i in range(40)]
pairs = Pairs.of(found, texts, 18, 4)
groups = Groups([pairs.items[i] for i in range(20)], [pairs.items[i] for g in range(20) for i in (g + 2, g + 9)], 2)
fine_tune(settings, settings, found, pairs, ctx, lambda epoch: groups)
weights = torch.cat([p.detach().flatten() for p in found.model.parameters()])
rank = os.environ.get("RANK", "0")
torch.save(weights, os.path.join(sys.argv[2], f"weights-{rank}.pt"))
open(os.path.join(sys.argv[2], f"losses-{rank}.json"), "w").write(json.dumps(losses))
"""


def encoder(folder: Path) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ";", "a", "b"]) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=8, max_position_embeddings=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Seven groups a step do not divide by two, and the last step of an epoch has six."""
    pytest.importorskip("accelerate")
    folder = encoder(tmp_path)
    curves, weights = {}, {}
    for count in (1, 2):
        out = tmp_path / str(count)
        out.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = []
        for rank in range(count):
            world = {"WORLD_SIZE": str(count), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            world |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
            env = os.environ | ({} if count == 1 else world) | {"OMP_NUM_THREADS": "1"}
            started.append(subprocess.Popen([sys.executable, "-P", "-c", SCRIPT, str(folder), str(out)], env=env))
        assert [process.wait(timeout=300) for process in started] == [0] * count
        curves[count] = [json.loads((out / f"losses-{rank}.json").read_text()) for rank in range(count)]
        weights[count] = [torch.load(out / f"weights-{rank}.pt") for rank in range(count)]
    assert curves[2][0] == curves[2][1] and torch.equal(*weights[2])  # what is summed is the same for all
    assert np.allclose(curves[1][0], curves[2][0], rtol=1e-4)
    assert curves[1][0][-1] < curves[1][0][0]
    assert torch.allclose(weights[1][0], weights[2][0], atol=1e-3)


def test_a_step_is_shared_without_loss() -> None:
    rows = np.arange(7)
    shares = [Processes(rank, 3).share(rows).tolist() for rank in range(3)]
    assert sorted(row for share in shares for row in share) == rows.tolist() and len(shares[2]) == 2
    assert Processes(1, 2).share(rows[:1]).tolist() == [] and Processes().share(rows).tolist() == rows.tolist()


def test_processes_are_those_of_the_launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert processes() == Processes()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes() == Processes()  # another program's: nobody to talk to
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(Skip, match="pip install accelerate"):
        processes()
    assert Processes(1, 2).folder(tmp_path) == tmp_path / "process-1" and Processes(0, 2).folder(tmp_path) == tmp_path
