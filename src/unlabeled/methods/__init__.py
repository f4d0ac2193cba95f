"""The table of pretext tasks: one line a method, one file a method.

Third parties add theirs by an entry point in the group ``unlabeled.methods`` with the same form.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from unlabeled.errors import UsageError, nearest

if TYPE_CHECKING:
    from unlabeled.method import Method

METHODS: dict[str, str] = {
    "simclr": "unlabeled.methods.simclr:SimCLR",
    "mae": "unlabeled.methods.mae:MAE",
    "dino": "unlabeled.methods.dino:DINO",
    "simsiam": "unlabeled.methods.simsiam:SimSiam",
    "lejepa": "unlabeled.methods.lejepa:LeJEPA",
    "ibot": "unlabeled.methods.ibot:IBOT",
    "data2vec": "unlabeled.methods.data2vec:Data2Vec",
    "ijepa": "unlabeled.methods.ijepa:IJEPA",
    "simmim": "unlabeled.methods.simmim:SimMIM",
    "dinov2": "unlabeled.methods.dinov2:DINOv2",
    "moco": "unlabeled.methods.moco:MoCo",
    "mocov3": "unlabeled.methods.mocov3:SymmetricMoCo",
    "byol": "unlabeled.methods.byol:BYOL",
    "swav": "unlabeled.methods.swav:SwAV",
    "barlow": "unlabeled.methods.barlow:BarlowTwins",
    "vicreg": "unlabeled.methods.vicreg:VICReg",
    "nnclr": "unlabeled.methods.nnclr:NNCLR",
    "combine": "unlabeled.methods.combine:Combine",
    "gpt": "unlabeled.methods.gpt:GPT",
    "bert": "unlabeled.methods.bert:BERT",
    "electra": "unlabeled.methods.electra:ELECTRA",
    "t5": "unlabeled.methods.t5:T5",
    "bart": "unlabeled.methods.bart:BART",
    "ul2": "unlabeled.methods.ul2:UL2",
    "xlnet": "unlabeled.methods.xlnet:XLNet",
    "sop": "unlabeled.methods.sop:SOP",
    "nsp": "unlabeled.methods.nsp:NSP",
    "gptbert": "unlabeled.methods.gptbert:GPTBERT",
    "inherit": "unlabeled.methods.inherit:Inherit",
    "simcse": "unlabeled.methods.simcse:SimCSE",
    "ct": "unlabeled.methods.ct:CT",
    "contriever": "unlabeled.methods.contriever:Contriever",
    "tsdae": "unlabeled.methods.tsdae:TSDAE",
    "cola": "unlabeled.methods.cola:COLA",
    "apc": "unlabeled.methods.apc:APC",
    "hubert": "unlabeled.methods.hubert:HuBERT",
    "data2vec_audio": "unlabeled.methods.data2vec_audio:Data2VecAudio",
    "dynamics": "unlabeled.methods.dynamics:Dynamics",
    "patchtst": "unlabeled.methods.patchtst:PatchTST",
    "leworldmodel": "unlabeled.methods.leworldmodel:LeWorldModel",
    "mtm": "unlabeled.methods.mtm:MTM",
    "videomae": "unlabeled.methods.videomae:VideoMAE",
    "vjepa": "unlabeled.methods.vjepa:VJEPA",
    "tcn": "unlabeled.methods.tcn:TCN",
    "vip": "unlabeled.methods.vip:VIP",
    "ts2vec": "unlabeled.methods.ts2vec:TS2Vec",
    "cpc": "unlabeled.methods.cpc:CPC",
    "wav2vec2": "unlabeled.methods.wav2vec2:Wav2Vec2",
}


def table() -> dict[str, str]:
    """Return name -> ``module:Class`` of our methods and of installed third parties'."""
    found = {point.name: point.value for point in entry_points(group="unlabeled.methods")}
    return {**found, **METHODS}


def where(name: str) -> str:
    """Return ``module:Class`` of a method.

    Raises:
        UsageError: there is no such method.
    """
    methods = table()
    if name not in methods:
        raise UsageError(
            f"There is no method '{name}'.{nearest(name, methods)} "
            f"Methods: {', '.join(sorted(methods))}."
        )
    return methods[name]


def load(name: str) -> type[Method]:
    """Import the class of a method (imports torch)."""
    module, _, attribute = where(name).partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found
