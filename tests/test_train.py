"""The training command: every kind of data, label and encoder; the same model twice; killed, resumed, in parallel."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import save
from click.testing import CliRunner, Result
from conftest import ROOT, make_rows, run_module

from serving.analysis import select_topics
from serving.folder import sha256
from serving.model import Model
from serving.reading import read
from serving.schema import Options
from training import train as train_module
from training.checkpoints import Checkpoints
from training.data import read_rows
from training.evaluate import evaluate
from training.loop import LoopConfig

# Without the lexicon, which knows the made-up topics by their words and would hide a network that has learned nothing.
# A random encoder has nothing in its lower layers that should be kept.
FAST = (
    "--learning-rate", 3e-3, "--layer-decay", 1, "--batch-size", 8, "--window", 64, "--no-lexicon", "--device", "cpu",
)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def train(*arguments: object, code: int = 0) -> Result:
    """The command in this process, which spares the imports."""
    AcceleratorState._reset_state(True)
    result = CliRunner().invoke(train_module.main, [str(a) for a in arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "rows.jsonl", make_rows(60))


def test_a_trained_model_separates_topics_it_has_not_seen_the_documents_of(tiny_model: Path) -> None:
    rows = write(tiny_model.parent / "unseen.jsonl", make_rows(60, seed=9))
    figures = evaluate(tiny_model, read_rows(str(rows)))
    assert figures["micro_f1"] > 0.95 and figures["key_sentence_f1"] > 0.9


def test_output_of_the_command(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening, name: 筛查, description: 关于筛查}\n- {id: finance, name: 财务}\n", "utf-8")
    result = run_module(
        "training.train", "--data", data, "--dev", data, "--topics", topics, "--encoder", tiny_encoder,
        "--output", tmp_path / "m", "--epochs", 2, *FAST,
    )
    assert re.search(r"largest difference of a score over 60 documents: 0\.000\d+ in f32", result.stdout)
    assert re.search(r"epoch 2/2: .*dev=0\.\d+, loss=\d", result.stderr.replace("\n", " ")) or "dev=1.0" in result.stderr
    assert "60 training and 60 dev documents, 2 topics" in result.stdout and "precision" in result.stdout
    assert not re.search("warn", result.stderr, re.IGNORECASE), result.stderr
    model = Model.load(tmp_path / "m")
    assert [(t.id, t.name, t.description) for t in model.topics] == [("screening", "筛查", "关于筛查"), ("finance", "财务", "")]
    assert not (tmp_path / "m" / "checkpoints").exists()
    kept = tmp_path / "kept" / "checkpoints" / "mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("somebody's own", "utf-8")
    train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "kept", "--epochs", 1, *FAST)
    assert [path.name for path in kept.parent.iterdir()] == ["mine.txt"]


def test_single_label(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "topics": row["topics"] or ["none"]} for row in make_rows(90)]
    train("--data", write(tmp_path / "rows.jsonl", rows), "--encoder", tiny_encoder, "--output", tmp_path / "m", "--single-label",
          "--epochs", 5, *FAST)
    model = Model.load(tmp_path / "m")
    assert model.single_label
    unseen = [{"text": row["text"], "topics": row["topics"] or ["none"]} for row in make_rows(40, seed=7)]
    figures = evaluate(model, read_rows(str(write(tmp_path / "unseen.jsonl", unseen)), single_label=True))
    assert figures["accuracy"] > 0.9 and figures["exact_match"] == figures["accuracy"]
    document = read(unseen[0]["text"])
    scores = model.score([document], 4096)[0]
    assert scores.topics.sum() == pytest.approx(1, abs=1e-4) and len(select_topics(document, scores, model, Options())) == 1


def test_rows_may_lack_either_label(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = make_rows(90)
    for i, row in enumerate(rows):
        if i % 3 == 0:
            del row["key_sentences"]
        elif i % 3 == 1:
            del row["topics"]
        else:
            row["summary"] = row.pop("key_sentences")[0]
    data = write(tmp_path / "rows.jsonl", rows)
    train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--epochs", 6, *FAST)
    figures = evaluate(tmp_path / "m", read_rows(str(write(tmp_path / "unseen.jsonl", make_rows(40, seed=7)))))
    assert figures["micro_f1"] > 0.9 and figures["key_sentence_f1"] > 0.9


@pytest.mark.parametrize("label", ["summary", "topics"])
def test_rows_of_one_kind_alone(label: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """Summaries alone make a model without topics; topics alone one whose salience head is as it was."""
    rows = [{"text": r["text"], "summary": r["key_sentences"][0], "topics": r["topics"]} for r in make_rows(40)]
    rows = [{"text": row["text"], label: row[label]} for row in rows]
    data = write(tmp_path / "rows.jsonl", rows)
    train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--epochs", 9, *FAST)
    model = Model.load(tmp_path / "m")
    assert [topic.id for topic in model.topics] == ([] if label == "summary" else ["finance", "screening"])
    figures = evaluate(model, read_rows(str(tmp_path / "rows.jsonl")))
    assert (figures["rouge1"] > 0.9) if label == "summary" else (figures["micro_f1"] > 0.9 and figures["rouge1"] is None)


def test_other_sources_of_rows(tiny_encoder: Path, tmp_path: Path, monkeypatch) -> None:
    """A folder of data files, as ``datasets.load_dataset`` names it; single files are compared in test_training_data.py."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "train.jsonl", make_rows(30))
    result = train("--data", tmp_path / "set", "--encoder", tiny_encoder, "--output", tmp_path / "m", "--epochs", 1, *FAST)
    assert "27 training and 3 dev documents" in result.output


def test_the_same_seed_gives_the_same_model(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    arguments = ("--data", data, "--encoder", tiny_encoder, "--epochs", 2, *FAST)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(*arguments, "--output", tmp_path / name, "--seed", seed)
    a, b, c = (sha256(tmp_path / name / "model.safetensors") for name in "abc")
    assert a == b != c
    configs = [json.loads((tmp_path / name / "config.json").read_text("utf-8")) for name in "ab"]
    for config in configs:
        del config["files"]["graph.xml"]  # numbers its nodes on through one process
    assert configs[0] == configs[1]


def test_killed_and_resumed_it_ends_as_if_uninterrupted(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    arguments = ["--data", data, "--encoder", tiny_encoder, "--epochs", 8, "--patience", 8, *FAST]
    train(*arguments, "--output", tmp_path / "whole")
    command = [sys.executable, "-m", "training.train", *map(str, arguments), "--output", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = tmp_path / "killed" / "checkpoints" / "last" / "state.json"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "config.json").exists()
    result = train(*arguments, "--output", tmp_path / "killed", "--resume")
    assert "resuming at epoch" in result.output
    assert sha256(tmp_path / "killed" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")


class KilledError(BaseException):
    """Stands for SIGKILL at an exact place."""


def train_killed(saves: int, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> list[tuple[int, int]]:
    """The command, killed once it has saved so many checkpoints: epoch and step of each."""
    whole, states = Checkpoints.save, []

    def save_and_die(self: Checkpoints, state: dict) -> None:
        whole(self, state)
        states.append((state["epoch"], state["step"]))
        if len(states) == saves:
            raise KilledError

    AcceleratorState._reset_state(True)
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(Checkpoints, "save", save_and_die)
        CliRunner().invoke(train_module.main, [str(a) for a in arguments], catch_exceptions=False)
    return states


@pytest.mark.parametrize("extra", [(), ("--freeze", 1, "--max-windows", 1)])
def test_resumed_in_the_middle_of_an_epoch(extra: tuple, data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("training.full.LoopConfig", partial(LoopConfig, checkpoint_every=3))
    arguments = ("--data", data, "--encoder", tiny_encoder, "--epochs", 2, *FAST, *extra)
    train(*arguments, "--output", tmp_path / "whole")
    states = train_killed(4, monkeypatch, *arguments, "--output", tmp_path / "killed")
    assert states == [(0, 3), (0, 6), (1, 0), (1, 3)]
    # Killed while the next checkpoint was put in its place: the last one is only known by its other name.
    checkpoints = tmp_path / "killed" / "checkpoints"
    (checkpoints / "last").rename(checkpoints / "fresh")
    other = write(tmp_path / "other.jsonl", make_rows(60, seed=4))
    refused = train("--data", other, *arguments[2:], "--output", tmp_path / "killed", "--resume", code=1)
    assert "belongs to a run with other data or settings" in refused.output and "Traceback" not in refused.output
    if not extra:
        load = train_module.load_encoder
        with monkeypatch.context() as patched:  # other weights under the same name
            patched.setattr(train_module, "load_encoder", lambda source: (load(source)[0].apply(_moved), *load(source)[1:]))
            refused = train(*arguments, "--output", tmp_path / "killed", "--resume", code=1)
        assert "belongs to a run with other data or settings" in refused.output
        refused = train(*arguments, "--layers", 1, "--output", tmp_path / "killed", "--resume", code=1)
        assert "belongs to another network" in refused.output
    assert "resuming at epoch 2, step 3" in train(*arguments, "--output", tmp_path / "killed", "--resume").output
    assert sha256(tmp_path / "killed" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")
    assert "nothing to resume from" in train(*arguments, "--output", tmp_path / "killed", "--resume").output


def test_without_topics_it_is_resumed_too(tiny_encoder: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    """The heads of such a model have empty tensors, which a checkpoint of an older version lacks."""
    rows = [{"text": row["text"], "summary": row["key_sentences"][0]} for row in make_rows(40)]
    arguments = ("--data", write(tmp_path / "rows.jsonl", rows), "--encoder", tiny_encoder, "--epochs", 2, *FAST)
    train(*arguments, "--output", tmp_path / "whole")
    killed = (*arguments, "--output", tmp_path / "killed")
    assert train_killed(1, monkeypatch, *killed) == [(1, 0)]
    last = tmp_path / "killed" / "checkpoints" / "last"
    shutil.copytree(last, tmp_path / "last")
    assert "resuming at epoch 2, step 0" in train(*killed, "--resume").output
    assert sha256(tmp_path / "killed" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")
    assert "shared tensor" not in caplog.text
    shutil.copytree(tmp_path / "last", last)
    save(torch.load(last / "pytorch_model.bin"), last / "model.safetensors", safe_serialization=True)
    refused = train(*killed, "--resume", code=1).output
    assert "or an older version wrote it; start without --resume" in refused and "Traceback" not in refused
    assert f"discarding the checkpoint at epoch 2 in {last.parent}; --resume would have" in train(*killed).output


def _moved(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Linear):
        module.bias.data.add_(0.5)


def test_torchrun(tiny_encoder: Path, tmp_path: Path) -> None:
    """Two processes; rows that lack labels, and a last batch with a row for one process alone. Few key sentences are enough here
    for the layer over sentences in context, which both processes fit and must agree on."""
    command = tmp_path / "train.py"
    command.write_text("from training import full, train\nfull._CONTEXT_FROM = 10\ntrain.main()\n", "utf-8")
    rows = [row for row in make_rows(73)]
    for i, row in enumerate(rows):
        del row["key_sentences" if i % 2 else "topics"]
    data, dev = write(tmp_path / "rows.jsonl", rows), write(tmp_path / "dev.jsonl", make_rows(31, seed=8))
    result = run_module(
        "torch.distributed.run", "--standalone", "--nproc-per-node", 2, command, "--data", data, "--dev", dev,
        "--encoder", tiny_encoder, "--output", tmp_path / "m", "--epochs", 4, *FAST[:2], "--batch-size", 4, *FAST[4:],
        OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT),
    )
    assert result.stdout.count("sentences seen in context: summaries of the dev part") == 1
    figures = evaluate(tmp_path / "m", read_rows(str(write(tmp_path / "unseen.jsonl", make_rows(40, seed=7)))))
    assert figures["micro_f1"] > 0.9 and figures["key_sentence_f1"] > 0.8


STEPS = """
import sys, torch
from pathlib import Path
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import save_file
from training.data import read_rows
from training.examples import make_examples
from training.loop import Loop, LoopConfig
from training.encoder import load_encoder, window_config
from training.network import Network

encoder, data, out = sys.argv[1:]
accelerator = Accelerator(cpu=True, mixed_precision="no")
set_seed(0)
module, tokenizer, _ = load_encoder(encoder)
network = Network(module, 2, dropout=0.0)
for part in network.modules():
    if isinstance(part, torch.nn.Dropout):
        part.p = 0.0
examples = make_examples(read_rows(data), ["finance", "screening"], tokenizer.backend_tokenizer, window_config(tokenizer, 32, 8))
config = LoopConfig(
    epochs=1, learning_rate=1e-4, head_learning_rate=1e-3, batch_size=4, seed=0, single_label=False, max_forward_tokens=64,
    max_kept_tokens=150,
)
loop = Loop(network, 0, config, accelerator, Path(out))
state = loop.run(examples, examples[:5], lambda e, p: 0.5, resume=False, name="x")
if accelerator.is_main_process:
    save_file({**loop.raw.state_dict(), "loss": torch.tensor(state["history"][0]["loss"])}, out + ".safetensors")
"""


def test_two_processes_take_the_steps_of_one(tiny_encoder: Path, tmp_path: Path) -> None:
    """Without dropout, and with activations recomputed in some steps, the weights are those of one process."""
    from safetensors.torch import load_file

    rows = make_rows(13)
    for i, row in enumerate(rows):
        del row["key_sentences" if i % 2 else "topics"]
    script, data = tmp_path / "steps.py", write(tmp_path / "rows.jsonl", rows)
    script.write_text(STEPS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found = []
    for processes in (1, 2):
        out = tmp_path / f"out{processes}"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes == 2 else []
        command = [sys.executable, *launcher, str(script), str(tiny_encoder), str(data), str(out)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
        found.append(load_file(f"{out}.safetensors"))
    assert found[0].keys() == found[1].keys() and "topic_head.0.weight" in found[0]
    for name in found[0]:  # the gradient of the sharpness of alike sentences is a small difference of large numbers
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-3 if name == "log_sharpness" else 2e-6, rtol=1e-4)


def roberta(folder: Path, size: int, pad: int) -> None:
    from transformers import RobertaConfig, RobertaModel

    RobertaModel(RobertaConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, pad_token_id=pad,
    )).save_pretrained(folder)


def distilbert(folder: Path, size: int, pad: int) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(
        vocab_size=size, dim=16, n_layers=3, n_heads=2, hidden_dim=16, max_position_embeddings=64, pad_token_id=pad,
    )
    DistilBertModel(config).save_pretrained(folder)


def electra(folder: Path, size: int, pad: int) -> None:
    from transformers import ElectraConfig, ElectraModel

    ElectraModel(ElectraConfig(
        vocab_size=size, embedding_size=8, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, pad_token_id=pad,
    )).save_pretrained(folder)


@pytest.mark.parametrize("kind", [roberta, distilbert, electra])
def test_encoders_of_other_kinds(kind, tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    tokenizer.save_pretrained(tmp_path / "encoder")
    kind(tmp_path / "encoder", len(tokenizer), tokenizer.pad_token_id)
    long = {"text": "".join(make_rows(1)[0]["text"] for _ in range(9)), "topics": ["finance"]}
    data = write(tmp_path / "rows.jsonl", [*make_rows(20), long])
    result = train("--data", data, "--dev", data, "--encoder", tmp_path / "encoder", "--layers", 2, "--output", tmp_path / "m",
                   "--epochs", 1, *FAST[:4], "--window", 512, *FAST[6:])
    assert float(re.search(r"([\d.]+) in f32", result.output)[1]) < 0.001
    model = Model.load(tmp_path / "m")
    assert model.windows.max_tokens == (63 if kind is roberta else 64)
    again = train("--data", data, "--encoder", tmp_path / "m", "--output", tmp_path / "again", "--epochs", 1, *FAST)
    assert "model written to" in again.output


def test_training_goes_on_from_a_model_folder(tiny_model: Path, tmp_path: Path) -> None:
    """With a learning rate near nothing the old heads still know their topics, in whatever order they are given."""
    data = write(tmp_path / "rows.jsonl", make_rows(30, seed=5))
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n", "utf-8")
    train("--data", data, "--dev", data, "--topics", topics, "--encoder", tiny_model, "--output", tmp_path / "m", "--epochs", 1,
          "--learning-rate", 1e-9, "--window", 64, "--no-lexicon", "--device", "cpu")
    figures = evaluate(tmp_path / "m", read_rows(str(data)))
    assert figures["micro_f1"] > 0.95 and figures["key_sentence_f1"] > 0.9


def test_words_and_network_together(tiny_model: Path, tmp_path: Path) -> None:
    """The lexicon has a weight, and neither half alone decides."""
    config = json.loads((tiny_model / "config.json").read_text("utf-8"))
    assert config["calibration"]["lexicon"] > 0 and config["metrics"]["dev"]["micro_f1"] > 0.9
    rows = read_rows(str(write(tmp_path / "unseen.jsonl", make_rows(40, seed=7))))
    for half, value in (("lexicon", 0.0), ("slope", 1e-9)):
        folder = Path(shutil.copytree(tiny_model, tmp_path / half))
        alone = {**config, "calibration": {**config["calibration"], half: value, "offsets": [0.0, 0.0]}}
        (folder / "config.json").write_text(json.dumps(alone), "utf-8")
        assert evaluate(folder, rows)["map"] > 0.9, half


def test_layers(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    train("--data", data, "--encoder", tiny_encoder, "--layers", 1, "--output", tmp_path / "m", "--epochs", 1, *FAST)
    assert Model.load(tmp_path / "m").config["encoder"]["num_hidden_layers"] == 1
    refused = train("--data", data, "--encoder", tiny_encoder, "--layers", 3, "--output", tmp_path / "x", code=1)
    assert "--layers 3: this encoder has 2 layers" in refused.output


def test_a_document_of_hundreds_of_windows(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = make_rows(20)
    rows[3] = {"text": "".join(f"音乐旅游山水第{i}条。" for i in range(3000)) + "染色体基因筛查。", "topics": ["screening"],
               "key_sentences": ["染色体基因筛查。"]}
    train("--data", write(tmp_path / "rows.jsonl", rows), "--dev", tmp_path / "rows.jsonl", "--encoder", tiny_encoder,
          "--output", tmp_path / "m", "--epochs", 1, *FAST)
    model, document = Model.load(tmp_path / "m"), read(rows[3]["text"])
    assert len(model.split(document)) > 300
    assert len(model.score([document], 4096)[0].salience) == 3001


@pytest.mark.parametrize("extra", [(), ("--freeze", 1)])
def test_without_bf16(extra: tuple, data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--epochs", 8, *FAST, *extra)
    assert "on cpu, no" in result.output
    assert evaluate(tmp_path / "m", read_rows(str(data)))["micro_f1"] > 0.9


def test_what_cannot_work_is_said_in_a_sentence(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    def refusal(*arguments: object) -> str:
        output = train("--data", data, "--output", tmp_path / "m", *arguments, code=1).output
        assert "Traceback" not in output
        return output

    assert "nor a model that the hub gives" in refusal("--encoder", "nobody/no-such-model").replace("\n", " ")
    assert "is the encoder's own folder" in refusal("--encoder", tiny_encoder, "--output", tiny_encoder)
    enc = shutil.copytree(tiny_encoder, tmp_path / "enc")
    nothing = ("--data", tmp_path / "none.jsonl", "--encoder", tiny_encoder)  # said before rows are read
    assert "holds something else than a model" in refusal(*nothing, "--output", enc)
    (enc / "config.json").write_text("[", "utf-8")
    assert "holds something else than a model" in refusal(*nothing, "--output", enc)
    if not torch.cuda.is_available():
        assert "there is no CUDA device here" in refusal("--encoder", tiny_encoder, "--device", "cuda")
    refused = refusal("--encoder", tiny_encoder, "--learning-rate", 1e30, "--epochs", 3, "--window", 64, "--device", "cpu")
    assert "try a lower --learning-rate" in refused
    assert not (tmp_path / "m" / "config.json").exists()


def test_a_teacher_passes_on_what_it_knows_by_documents_without_labels(
    tiny_model: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    few = [{**row, "key_sentences": []} for row in make_rows(8, seed=3)]
    bare = [{"text": row["text"], "title": row["title"], "topics": ["ignored"]} for row in make_rows(120, seed=4)]
    data, unlabelled = write(tmp_path / "few.jsonl", few), write(tmp_path / "bare.jsonl", bare)
    dev = write(tmp_path / "dev.jsonl", make_rows(20, seed=5))
    options = ("--data", data, "--dev", dev, "--encoder", tiny_encoder, "--epochs", 6, *FAST)
    teachers = ("--teacher", tiny_model, "--teacher", tiny_model)
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n", "utf-8")  # the teacher's, in another order
    result = train(*options, "--output", tmp_path / "m", *teachers, "--unlabelled", unlabelled, "--topics", topics)
    assert "8 training, 120 unlabelled and 20 dev documents" in result.output
    figures = evaluate(tmp_path / "m", read_rows(str(write(tmp_path / "unseen.jsonl", make_rows(40, seed=7)))))
    assert figures["micro_f1"] > 0.9, "eight documents alone do not teach as much"
    assert figures["key_sentence_f1"] > 0.9, "the salience head has the teacher alone to learn from"
    assert json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))["training"]["unlabelled_documents"] == 120


def test_a_teacher_of_other_topics_and_rows_without_a_teacher_are_refused(
    tiny_model: Path, tiny_encoder: Path, data: Path, tmp_path: Path
) -> None:
    options = ("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", *FAST)
    assert "name one with --teacher" in train(*options, "--unlabelled", data, code=1).output
    other = write(tmp_path / "other.jsonl", [{**row, "topics": ["else" if row["topics"] else "none"]} for row in make_rows(20)])
    options = ("--data", other, *options[2:])
    assert "not the same topics" in train(*options, "--teacher", tiny_model, code=1).output
    single = write(tmp_path / "single.jsonl", [row for row in make_rows(40) if row["topics"]])
    assert "--single-label" in train(*options, "--data", single, "--single-label", "--teacher", tiny_model, code=1).output
    assert "there is no model in" in train(*options, "--teacher", tmp_path / "none", code=1).output
