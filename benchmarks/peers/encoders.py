"""Text encoders inside a worker process: all-MiniLM-L6-v2 on ready-made token ids, by us and by others.

Peers get texts sorted by length, in padded batches of the fastest size, and stop at the last layer's rows: pooling,
which ours includes, is not in their times.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.subjects import Unsupported

Batch = tuple[np.ndarray, np.ndarray, list[int]]  # ids (texts, longest), mask, and which texts they are


class EncoderPeer:
    """``run`` reads every text; ``logits`` are the vectors (texts, width)."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.facts = job, {}
        self.ids: list[list[int]] = json.loads(Path(job["texts"]).read_text())
        self.folder = Path(job["folder"])

    def prepare(self, batch: int, mode: str) -> None:
        self.items, self.mode = len(self.ids), mode
        order = sorted(range(len(self.ids)), key=lambda row: len(self.ids[row]))
        self.batches: list[Batch] = []
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            longest = len(self.ids[rows[-1]])
            ids = np.zeros((len(rows), longest), np.int64)
            for place, row in enumerate(rows):
                ids[place, : len(self.ids[row])] = self.ids[row]
            mask = np.arange(longest) < np.array([[len(self.ids[row])] for row in rows])
            self.batches.append((ids, mask.astype(np.int64), rows))

    def rows_of(self, batch: Batch) -> np.ndarray:
        """Rows (texts, longest, width) of the last layer."""
        raise AssertionError(f"{type(self).__name__} does not say how it runs")

    def run(self) -> object:
        return [self.rows_of(batch) for batch in self.batches]

    def logits(self) -> np.ndarray:
        """Unit vectors (texts, width), in the order of the texts."""
        out = np.zeros((len(self.ids), 384), np.float32)
        for batch in self.batches:
            rows, mask = np.asarray(self.rows_of(batch), np.float32), batch[1][..., None]
            mean = (rows * mask).sum(axis=1) / mask.sum(axis=1)
            out[batch[2]] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return out


class Ours(EncoderPeer):
    """All texts in one call, mixed and packed as they come."""

    def __init__(self, job: dict[str, Any]) -> None:
        from megaseg.engine.backends.protocol import Excerpt
        from megaseg.features.text.encoder import Encoder

        super().__init__(job)
        encoder = Encoder.from_checkpoint(job["folder"], compute_type=job["type"], num_threads=job["threads"])
        self.backend = encoder.backend
        self.facts = {key: encoder.describe()[key] for key in ("target", "compute_type")}
        self.texts = [Excerpt.whole([np.array(own, np.int32)[:, None]]) for own in self.ids]

    def prepare(self, batch: int, mode: str) -> None:
        self.items = len(self.ids)

    def run(self) -> Any:
        return self.backend.run(self.texts, ("embedding",))

    def logits(self) -> np.ndarray:
        return np.concatenate([vector for (vector,) in self.run()])


class Torch(EncoderPeer):
    """transformers' BertModel with fused attention, eager."""

    def __init__(self, job: dict[str, Any]) -> None:
        import torch
        from transformers import BertModel

        super().__init__(job)
        torch.set_num_threads(job["threads"])
        self.torch = torch
        kind = torch.float32 if job["type"] == "int8" else getattr(torch, job["type"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = BertModel.from_pretrained(job["folder"], add_pooling_layer=False, dtype=kind).eval()
        if job["type"] == "int8":
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, dtype=torch.qint8)

    def rows_of(self, batch: Batch) -> np.ndarray:
        ids, mask, _ = batch
        with self.torch.no_grad():  # torch.compile takes no inference tensors
            out = self.model(input_ids=self.torch.from_numpy(ids), attention_mask=self.torch.from_numpy(mask))
            return out.last_hidden_state.float().numpy()


class Compiled(Torch):
    """The same, compiled for any batch and length, weights frozen."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        if job["type"] == "int8":
            raise Unsupported("dynamically quantised modules hold packed parameters that torch.compile cannot trace")
        self.torch._inductor.config.freezing = True
        self.model = self.torch.compile(self.model, dynamic=True)


class OnnxRuntime(EncoderPeer):
    """Its own transformer optimiser's graph, attention fused."""

    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        super().__init__(job)
        if job["type"] == "bfloat16":
            raise Unsupported("no bfloat16 on its CPU provider")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = job["threads"], 4
        self.session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
        self.names = [own.name for own in self.session.get_inputs()]

    def rows_of(self, batch: Batch) -> np.ndarray:
        ids, mask, _ = batch
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self.session.run(None, {name: given[name] for name in self.names})[0]


class OpenVino(EncoderPeer):
    """``mode`` is the performance hint; int8 is ONNX Runtime's dynamically quantised file."""

    def __init__(self, job: dict[str, Any]) -> None:
        import openvino

        super().__init__(job)
        self.openvino, self.core = openvino, openvino.Core()
        self.model = self.core.read_model(job["openvino"])
        self.names = [own.any_name for own in self.model.inputs]

    def prepare(self, batch: int, mode: str) -> None:
        super().prepare(batch, mode)
        precision = "bf16" if self.job["type"] == "bfloat16" else "f32"
        hints = {"PERFORMANCE_HINT": mode.upper(), "INFERENCE_PRECISION_HINT": precision}
        compiled = self.core.compile_model(self.model, "CPU", {**hints, "INFERENCE_NUM_THREADS": self.job["threads"]})
        self.requests = self.openvino.AsyncInferQueue(compiled)
        self.done: dict[int, np.ndarray] = {}
        self.requests.set_callback(lambda request, at: self.done.__setitem__(at, request.get_output_tensor(0).data))

    def run(self) -> object:
        for at, (ids, mask, _) in enumerate(self.batches):
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            self.requests.start_async({name: given[name] for name in self.names}, at)
        self.requests.wait_all()
        return self.done

    def rows_of(self, batch: Batch) -> np.ndarray:
        self.batches, kept = [batch], self.batches
        self.run()
        self.batches = kept
        return np.array(self.done[0])


class CTranslate2(EncoderPeer):
    """Its encoder, which removes padding by itself."""

    def __init__(self, job: dict[str, Any]) -> None:
        import ctranslate2

        super().__init__(job)
        offered = ctranslate2.get_supported_compute_types("cpu")
        if job["type"] not in offered:
            raise Unsupported(f"its CPU types here: {', '.join(sorted(offered))}")
        logging.getLogger("ctranslate2").setLevel(logging.ERROR)
        options = {"inter_threads": 1, "intra_threads": job["threads"], "compute_type": job["type"]}
        self.encoder = ctranslate2.Encoder(job["ctranslate2"], device="cpu", **options)

    def rows_of(self, batch: Batch) -> np.ndarray:
        texts = [self.ids[row] for row in batch[2]]
        return np.array(self.encoder.forward_batch(texts).last_hidden_state)


ENCODERS: dict[str, Any] = {
    "megaseg": Ours,
    "torch eager": Torch,
    "torch.compile, any length": Compiled,
    "ONNX Runtime": OnnxRuntime,
    "OpenVINO": OpenVino,
    "CTranslate2": CTranslate2,
}


def export(folder: Path, output: Path) -> dict[str, str]:
    """Files of the encoder for those who need their own, by the key of a job that names them."""
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from transformers import BertModel

    logging.disable(logging.WARNING)
    plain, fused, int8 = (output / f"{name}.onnx" for name in ("plain", "fused", "int8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bert = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()

        class Rows(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.bert = bert

            def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
                return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

        ids = torch.ones(2, 7, dtype=torch.long)
        free = {0: "batch", 1: "tokens"}
        torch.onnx.export(
            Rows(),
            (ids, ids, torch.zeros_like(ids)),
            plain,
            input_names=["input_ids", "attention_mask", "token_type_ids"],
            output_names=["rows"],
            dynamic_axes={"input_ids": free, "attention_mask": free, "token_type_ids": free},
            opset_version=17,
            dynamo=False,
        )
        optimizer.optimize_model(str(plain), "bert", num_heads=12, hidden_size=384).save_model_to_file(str(fused))
        own = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(fused, int8, per_channel=True, weight_type=QuantType.QInt8, extra_options=own)
    files = {"plain": str(plain), "fused": str(fused), "int8": str(int8), "plain-int8": str(output / "p8.onnx")}
    quantize_dynamic(plain, output / "p8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    try:
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(folder)).convert(str(output / "ct2"))
        files["ct2"] = str(output / "ct2")
    except ImportError:
        files["ct2"] = ""
    return files
