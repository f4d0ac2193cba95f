"""What a run leaves in `encoder` opens in a process in which this package cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import torch

from unlabeled.export import real
from unlabeled.export.reload import config_of, enlarged

STRANGER = """
import json, sys, warnings
warnings.simplefilter("ignore")

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "unlabeled":
            raise ImportError("unlabeled is not installed here")

sys.meta_path.insert(0, Block())
sys.path[:] = [p for p in sys.path if "unlabeled" not in p]
try:
    import unlabeled
    sys.exit("the block does not work")
except ImportError:
    pass

import numpy as np, torch, transformers, timm
torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
given = json.load(open(sys.argv[1]))
out = {}
with torch.inference_mode():
    for name, folder in given["image"].items():
        pixels = torch.from_numpy(np.load(given["pixels"][name]))
        model = transformers.AutoModel.from_pretrained(folder).eval()
        out[name] = model(pixel_values=pixels).pooler_output.numpy()
        model = timm.create_model("local-dir:" + folder, pretrained=True, num_classes=0).eval()
        out[name + "-timm"] = model(pixels).numpy()
        reader = transformers.AutoImageProcessor.from_pretrained(folder)
        image = np.full((20, 24, 3), 128, np.uint8)
        out[name + "-read"] = reader(image, return_tensors="pt")["pixel_values"].numpy()
    for name, folder in given["text"].items():
        reader = transformers.AutoTokenizer.from_pretrained(given["tokenizer"][name])
        rows = reader(given["texts"], padding=True, truncation=True, max_length=32,
                      return_tensors="pt")
        mask = rows["attention_mask"]
        model = transformers.AutoModel.from_pretrained(folder).eval()
        tokens = model(input_ids=rows["input_ids"], attention_mask=mask).last_hidden_state
        weight = mask[:, :, None].float()
        out[name] = ((tokens * weight).sum(1) / weight.sum(1)).numpy()
np.savez(sys.argv[2], **out)
"""


def test_encoders_open_without_this_package(image_run, text_run, tmp_path):
    asked: dict[str, dict[str, str]] = {"image": {}, "text": {}, "pixels": {}, "tokenizer": {}}
    expected = {}
    for name in ("vit", "resnet"):
        run = image_run(name)
        given = real.reference(run, run.encoder())
        folder = run.folder / "encoder"
        np.save(tmp_path / f"{name}.npy", enlarged(given.pixels, config_of(folder)).numpy())
        asked["image"][name] = str(folder)
        asked["pixels"][name] = str(tmp_path / f"{name}.npy")
        expected[name] = expected[f"{name}-timm"] = given.output
    texts: tuple[str, ...] = ()
    for name in ("bert", "gpt"):
        run = text_run(name)
        given = real.reference(run, run.encoder())
        texts = given.texts
        asked["text"][name] = str(run.folder / "encoder")
        asked["tokenizer"][name] = str(run.folder / "tokenizer")
        expected[name] = given.output
    (tmp_path / "asked.json").write_text(json.dumps({**asked, "texts": texts}))
    (tmp_path / "stranger.py").write_text(STRANGER)
    command = [sys.executable, "-I", "stranger.py", "asked.json", "found.npz"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for name, output in expected.items():
            np.testing.assert_allclose(found[name], output, atol=1e-4, err_msg=name)
        grey = (torch.tensor([128 / 255] * 3) - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor(
            [0.2, 0.3, 0.4]
        )
        for name in ("vit", "resnet"):
            read = found[f"{name}-read"]
            np.testing.assert_allclose(read.mean((0, 2, 3)), grey.numpy(), atol=1e-2)
