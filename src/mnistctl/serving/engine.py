"""Answers jobs in a worker process: opens the models, reads pictures, runs tensors."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from mnistctl.api import models, picture_requests
from mnistctl.api.picture_requests import Request
from mnistctl.api.picture_results import PictureResult
from mnistctl.api.predict import PicturePredictor, open_model
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs, PagePredictor, check_finite, predict_all
from mnistctl.serving import forms, inference, messages
from mnistctl.serving.forms import FormError
from mnistctl.serving.inference import Inference, InferenceError
from mnistctl.serving.messages import (
    Answer,
    DigitRecord,
    InferJob,
    Job,
    ModelInfo,
    PageJob,
    PictureJob,
    ServedModel,
    Setup,
)

_log = logging.getLogger(__name__)

_BATCH_SIZE = 128  # images per call of a model
_FAILED = "the request failed; the server's log says why"


@dataclass(frozen=True)
class Engine:
    """The open models of a worker."""

    digit_models: dict[str, PicturePredictor]
    detector: PagePredictor
    detector_path: Path
    infos: dict[str, ModelInfo]
    max_bytes: int

    @classmethod
    def open(cls, setup: Setup) -> "Engine":
        """Open the models, and let each read once.

        Raises:
            ModelError: a model cannot be opened.
            UsageError: see `predict.open_model`.
        """
        digit_models = {model.name: open_model(model.path, arch=model.arch) for model in setup.models}
        detector_path = Path(setup.numbers_model.path)
        detector = models.open_page_predictor(detector_path)
        infos = {
            model.name: _describe(model, digit_models[model.name].predictor.metadata)
            for model in setup.models
        } | {setup.numbers_model.name: _describe(setup.numbers_model, detector.metadata)}
        engine = cls(digit_models, detector, detector_path, infos, setup.max_bytes)
        engine._warm_up()
        return engine

    def _warm_up(self) -> None:
        example = picture_requests.EXAMPLE.read_bytes()
        for predictor in self.digit_models.values():
            predictor.read_all([*picture_requests.list_pages(forms.PICTURE_NAME, example)])
        self.detector(np.zeros((1, 64, 64), dtype=np.uint8))

    def answer(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answer jobs; those of the same kind together."""
        groups = defaultdict(list)
        for index, job in enumerate(jobs):
            groups[job.group].append(index)
        answers: dict[int, Answer] = {}
        for indices in groups.values():
            group = [jobs[index] for index in indices]
            try:
                group_answers = self._answer_group(group)
            except Exception:  # one of them is at fault: each is tried alone
                group_answers = [self._answer_alone(job) for job in group]
            answers.update(zip(indices, group_answers, strict=True))
        return [answers[index] for index in range(len(jobs))]

    def _answer_alone(self, job: Job) -> Answer:
        try:
            return self._answer_group([job])[0]
        except Exception:  # a bug, or a model that fails
            _log.exception("a request failed")
            return messages.error(500, _FAILED)

    def _answer_group(self, jobs: Sequence[Job]) -> list[Answer]:
        first = jobs[0]
        if isinstance(first, PictureJob):
            return self._read(cast(Sequence[PictureJob], jobs))
        if isinstance(first, InferJob):
            return self._infer(cast(Sequence[InferJob], jobs))
        return [self._page(first)] * len(jobs)

    def _read(self, jobs: Sequence[PictureJob]) -> list[Answer]:
        """Read the pictures of several requests together."""
        first = jobs[0]
        predictor = self._predictor(first)
        parts = [self._requests(job) for job in jobs]
        requests = [request for part in parts if isinstance(part, list) for request in part]
        results = iter(predictor.read_all(requests))
        return [
            part
            if isinstance(part, Answer)
            else _picture_answer([*islice(results, len(part))], predictor.metadata.threshold)
            for part in parts
        ]

    def _predictor(self, job: PictureJob) -> PicturePredictor:
        predictor = self.digit_models[job.model]
        if job.numbers:
            predictor = replace(predictor, detector=self.detector, detector_path=self.detector_path)
        return predictor.with_options(top=job.top, threshold=job.threshold)

    def _requests(self, job: PictureJob) -> list[Request] | Answer:
        try:
            body = forms.decompress(job.body, job.content_encoding, max_bytes=self.max_bytes)
            return [
                request
                for name, content in forms.pictures(body, job.content_type)
                for request in picture_requests.list_pages(name, content)
            ]
        except FormError as error:
            return messages.error(422, str(error))

    def _infer(self, jobs: Sequence[InferJob]) -> list[Answer]:
        """Run a model on the tensors of several requests together."""
        info = self.infos[jobs[0].model]
        parts: list[Inference | Answer] = []
        for job in jobs:
            try:
                body = forms.decompress(job.body, job.content_encoding, max_bytes=self.max_bytes)
                parts.append(inference.parse(job, body, info))
            except (FormError, InferenceError) as error:
                parts.append(messages.error(400, str(error)))
        if info.name not in self.digit_models:
            return [part if isinstance(part, Answer) else self._detect(part, info) for part in parts]
        requests = [part for part in parts if isinstance(part, Inference)]
        if not requests:
            return cast(list[Answer], parts)
        images = np.concatenate([request.images for request in requests])
        predictor = self.digit_models[info.name].predictor
        outputs = predict_all(predictor, images, batch_size=_BATCH_SIZE)
        check_finite(outputs)
        answers = []
        start = 0
        for part in parts:
            if isinstance(part, Answer):
                answers.append(part)
                continue
            end = start + len(part.images)
            rows = type(outputs)(*(values[start:end] for values in outputs))
            answer = inference.answer(part, rows, info.name)
            answer.digits = _records(rows, info)
            answers.append(answer)
            start = end
        return answers

    def _detect(self, request: Inference, info: ModelInfo) -> Answer:
        pages = [self.detector(page[None]) for page in request.images]  # one by one: pages are large
        outputs = type(pages[0])(*(np.concatenate(arrays) for arrays in zip(*pages, strict=True)))
        return inference.answer(request, outputs, info.name)

    def _page(self, job: PageJob) -> Answer:
        from mnistctl.serving import page  # imports onnx

        return Answer(200, page.build(job.model, self.digit_models[job.model]), page.TYPE)


def _describe(model: ServedModel, metadata: Metadata) -> ModelInfo:
    kind = models.format_of(Path(model.path))
    tensors = inference.describe(metadata.task, len(metadata.class_names))
    return ModelInfo(
        model.name,
        f"mnistctl_{kind}",
        metadata.task,
        metadata.class_names,
        metadata.threshold,
        tensors.inputs,
        tensors.outputs,
    )


def _records(outputs: Outputs, info: ModelInfo) -> list[DigitRecord]:
    """What is counted of images that a model has classified."""
    threshold = info.threshold or 0
    return [
        DigitRecord(info.class_names[label], float(familiarity), bool(familiarity < threshold), False)
        for label, familiarity in zip(
            outputs.probabilities.argmax(axis=1), outputs.familiarity, strict=True
        )
    ]


def _picture_answer(results: Sequence[PictureResult], threshold: float | None) -> Answer:
    """The JSON of `predict`. If no picture can be read, the request itself is at fault.

    Args:
        results: of the pictures.
        threshold: the model's own.
    """
    errors = [result.error for result in results if result.error is not None]
    if len(errors) == len(results):
        return messages.error(422, errors[0] if errors else "the file has no pages")
    predictions = [digit.prediction for result in results for digit in result.digits]
    digits = [
        DigitRecord(
            prediction.label,
            prediction.familiarity,
            prediction.familiarity < (threshold or 0),
            prediction.rejected,
        )
        for prediction in predictions
    ]
    body = msgspec.json.encode([result.to_json() for result in results])
    return Answer(200, body, digits=digits)
