"""GGUF files hold every weight and token to the bit, and other readers give our logits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.export.conftest import make_run
from unlabeled.encoders import language
from unlabeled.errors import DataError, MissingExtraError, UsageError
from unlabeled.export import export, gguf
from unlabeled.export.gguf_tokens import pieces_of

library = pytest.importorskip("gguf")

CASES = {
    "llama": ("hf:llama-2x32h4", {"tokenizer": "bpe"}),
    "grouped": ("init", {"tokenizer": "bpe"}),
    "qwen2": ("hf:qwen2-1x32h2", {"tokenizer": "bpe"}),
    "qwen3": ("hf:qwen3-1x32h2", {"tokenizer": "bpe", "digits": 1}),
    "gpt2": ("hf:gpt2-2x32h2", {"tokenizer": "byte"}),
    "char": ("hf:llama-1x32h2", {"tokenizer": "char"}),
    "bert": ("hf:bert-1x32h2", {"tokenizer": "wordpiece"}),
    "unigram": ("hf:llama-1x32h2", {"tokenizer": "unigram"}),
    "digits": ("hf:llama-1x32h2", {"tokenizer": "bpe", "digits": 3}),
}


def grouped(folder: Path) -> str:
    """Save a Llama whose four heads share two keys, and whose head is not its embedding."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def text_of(tmp_path_factory: pytest.TempPathFactory, text_folder: Path) -> Any:
    """Return a run with a head that no step has trained, by the name of a case."""
    made: dict[str, Any] = {}

    def get(case: str) -> Any:
        if case in made:
            return made[case]
        name, modality = CASES[case]
        encoder = {"name": name}
        if name == "init":
            init = grouped(tmp_path_factory.mktemp("grouped"))
            encoder = {"name": "hf:llama-2x32h4", "init": init}
        tree = {
            "data": {"path": str(text_folder), "kind": "text"},
            "modality": {**modality, "vocab_size": 300, "length": 32},
            "encoder": encoder,
            "method": {"name": "bert" if case == "bert" else "gpt"},
        }
        run = make_run(tmp_path_factory.mktemp("gguf") / case, tree)
        if name != "init":
            torch.manual_seed(1)
            network = language.load(run.folder / "encoder")
            for parameter in network.parameters():  # biases that a mistake would show in
                parameter.data.add_(0.1 * torch.randn(parameter.shape))
            network.add_head()
            network.set_special_ids(run.modality())  # type: ignore[arg-type]
            network.save(run.folder / "encoder")
        made[case] = run
        return run

    return get


@pytest.mark.parametrize("case", ["llama", "grouped", "qwen2", "qwen3", "gpt2", "char"])
def test_every_weight_and_token_arrives(case: str, text_of: Any) -> None:
    run = text_of(case)
    result = export(run, "gguf")
    assert result.max_difference == 0
    reader = library.GGUFReader(result.path / gguf.NAME)
    pieces = pieces_of(run.modality())
    assert reader.get_field("tokenizer.ggml.tokens").contents() == pieces.tokens
    assert reader.get_field("tokenizer.ggml.merges").contents() == pieces.merges
    assert reader.get_field("tokenizer.ggml.pre").contents() == (
        "smollm" if case == "qwen3" else "gpt-2"
    )
    assert reader.get_field("general.file_type").contents() == 0
    weights = {n.name: n.data for n in reader.tensors}
    embedding = language.load(run.folder / "encoder", head=True).model.get_input_embeddings()
    np.testing.assert_array_equal(weights["token_embd.weight"], embedding.weight.detach().numpy())
    assert ("output.weight" in weights) == (case == "grouped")
    assert result.path.joinpath("README.md").read_text().startswith("---\nlibrary_name: gguf")


@pytest.mark.parametrize("case", ["llama", "grouped"])
def test_llamas_file_needs_nothing_beside_it(case: str, text_of: Any, tmp_path: Path) -> None:
    """Read from the file alone, by the sizes that it tells."""
    run = text_of(case)
    gguf.write(run, tmp_path)
    (tmp_path / "config.json").unlink()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf.NAME)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=gguf.NAME)
    ids = reader("a river, 12 stones", add_special_tokens=False)["input_ids"]
    assert ids == run.modality().encode(["a river, 12 stones"])[0]
    x = torch.tensor([[0, *ids]])
    network = language.load(run.folder / "encoder", head=True)
    ours = network.add_head()(network.tokens(torch.stack([x, torch.zeros_like(x)], 1)))
    with torch.no_grad():
        torch.testing.assert_close(model(x).logits, ours, atol=1e-5, rtol=1e-5)


def test_characters_are_spelled_as_bytes(text_of: Any) -> None:
    tokens = pieces_of(text_of("char").modality()).tokens
    assert "\u0120" in tokens  # GPT-2's name of a space
    assert " " not in tokens


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("bert", "GGUF holds generators"),
        ("unigram", "no form for this tokenizer, Unigram"),
        ("digits", "modality.digits=0 or 1"),
    ],
)
def test_what_llama_cpp_cannot_hold_is_refused(case: str, said: str, text_of: Any) -> None:
    with pytest.raises(UsageError, match=said):
        export(text_of(case), "gguf")
    assert not (text_of(case).folder / "exported").exists()


def test_a_bit_that_differs_is_an_error(text_of: Any, tmp_path: Path) -> None:
    run = text_of("llama")
    gguf.write(run, tmp_path)
    reader = library.GGUFReader(tmp_path / gguf.NAME)
    read = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    pieces = pieces_of(run.modality())
    gguf.compare(tmp_path / gguf.NAME, read, pieces)
    read["output_norm.weight"][3] = np.nextafter(read["output_norm.weight"][3], 9, dtype=np.float32)
    with pytest.raises(DataError, match=r"not read back as written: output_norm\.weight\."):
        gguf.compare(tmp_path / gguf.NAME, read, pieces)


def test_without_the_extra_it_is_a_sentence(text_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "gguf" else there(name)
    )
    with pytest.raises(MissingExtraError, match=r'needs gguf: pip install "unlabeled\[gguf\]"'):
        export(text_of("llama"), "gguf")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["llama", "grouped", "qwen2", "qwen3", "gpt2", "char"])
def test_llama_cpp_gives_our_probabilities(case: str, text_of: Any, tmp_path: Path) -> None:
    """By llama.cpp itself (`pip install xllamacpp`), its text cut by its own tokenizer."""
    engine = pytest.importorskip("xllamacpp")
    run = text_of(case)
    gguf.write(run, tmp_path)
    asked = engine.CommonParams()
    asked.model.path, asked.n_ctx, asked.warmup = str(tmp_path / gguf.NAME), 32, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    server = engine.Server(asked)
    text, network = run.modality(), language.load(run.folder / "encoder", head=True).eval()
    prompt = "the bird 12  the" + ",\n" * (case != "char")  # it drops characters of no token
    given = {"prompt": prompt, "n_predict": 3, "temperature": 0, "logprobs": 5}
    answer = server.handle_completions(given)
    answer = json.loads(answer) if isinstance(answer, str) else answer
    ids = torch.tensor([*text.opens, *text.encode([prompt])[0]])
    assert answer["usage"]["prompt_tokens"] == len(ids)
    for said in answer["choices"][0]["logprobs"]["content"]:
        with torch.no_grad():
            row = torch.stack([ids, torch.zeros_like(ids)])[None]
            ours = network.add_head().eval()(network.tokens(row))[0, -1].log_softmax(-1)
        for one in said["top_logprobs"]:  # its memory of keys is in fp16
            assert one["logprob"] == pytest.approx(float(ours[one["id"]]), abs=2e-3)
        ids = torch.cat([ids, torch.tensor([said["id"]])])
