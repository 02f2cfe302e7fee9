"""How well every picture's class is found."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from torch import Tensor

from resvision.batch import ClassificationLabels
from resvision.tasks.calibration import CalibrationError
from resvision.tasks.confusion import ClassificationScores, ConfusionMatrix
from resvision.tasks.evaluation import Evaluation
from resvision.tasks.precise import PictureMean
from resvision.tasks.tables import MOST_LISTED, cell, confusions, worst

__all__ = ["ClassificationEvaluation"]

#: No class has this number; there may be more than 255.
_NO_CLASS: Final = -1
#: With more classes than these, a table of the confusion matrix has no column for each.
_MOST_COLUMNS: Final = 1000


@final
class ClassificationEvaluation(Evaluation):
    """Scores `loss`, `accuracy`, `precision`, `recall`, `f1` and `calibration_error`.

    With more than 5 classes there is `accuracy_top5`, and with up to 30 classes `precision/<class>`, `recall/<class>`
    and `f1/<class>`.

    Args:
        class_names: One name per class, in the order of their numbers.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(class_names)
        self.top5 = PictureMean() if len(class_names) > 5 else None
        self.confusion = ConfusionMatrix(len(class_names), ignore_index=_NO_CLASS)
        self.calibration_error = CalibrationError()
        self.scaled_calibration_error = CalibrationError()
        self._last_counts: Tensor | None = None
        self._last_overall: dict[str, float] = {}

    def update(
        self, said: Tensor, labels: ClassificationLabels, loss: Tensor, *, temperature: Tensor | None = None
    ) -> None:
        """Count the pictures of a batch by its logits (N, num_classes), and by those over a temperature."""
        label = labels["label"]
        self.loss.update(loss, len(said))
        if self.top5 is not None:
            self.top5.update((said.topk(5).indices == label[:, None]).any(dim=1).float().mean(), len(said))
        self.confusion.update(said.argmax(dim=1), label)
        self.calibration_error.update(said, label)
        if temperature is not None:
            self.scaled_calibration_error.update(said / temperature, label)

    def scores(self, *, scaled: bool = False) -> Mapping[str, float]:
        """Return the scores of what was counted; `scaled`, if a temperature was given, with the error over that."""
        counts: Tensor = self.confusion.compute().cpu()
        scores = ClassificationScores.of(counts)
        overall = {"accuracy": scores.accuracy.item()}
        if self.top5 is not None:
            overall["accuracy_top5"] = self.top5.compute().item()
        means = {name: getattr(scores, f"mean_{name}").item() for name in ("precision", "recall", "f1")}
        overall["calibration_error"] = self.calibration_error.compute().item()
        if scaled:
            overall["calibration_error_scaled"] = self.scaled_calibration_error.compute().item()
        self._last_counts, self._last_overall = counts, overall
        result = {"loss": self.loss.compute().item()} | overall | means
        if len(self.class_names) <= MOST_LISTED:
            for score in ("precision", "recall", "f1"):
                values = getattr(scores, score).tolist()
                result |= {f"{score}/{name}": value for name, value in zip(self.class_names, values, strict=True)}
        return result

    def tables(self) -> dict[str, list[list[Any]]]:
        """Return the last confusion matrix: a row for each true class, a column for each said one.

        With more than 1,000 classes it has a row for each cell that is not 0.
        """
        if self._last_counts is None:
            return {}
        if len(self.class_names) > _MOST_COLUMNS:
            cells = self._last_counts.nonzero()
            counts = self._last_counts[cells[:, 0], cells[:, 1]].tolist()
            filled = [[self.class_names[true], self.class_names[said]] for true, said in cells.tolist()]
            named = [[*names, count] for names, count in zip(filled, counts, strict=True)]
            return {"confusion": [["true class", "said class", "pictures"], *named]}
        rows = zip(self.class_names, self._last_counts.tolist(), strict=True)
        return {"confusion": [["true class", *self.class_names], *([name, *counts] for name, counts in rows)]}

    def report(self) -> str:
        """Return a table of the last scores, class by class, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest F1.
        """
        if self._last_counts is None:
            return "nothing was evaluated yet"
        scores = ClassificationScores.of(self._last_counts)
        columns = (scores.precision, scores.recall, scores.f1, scores.pictures)
        rows = list(zip(self.class_names, *(column.tolist() for column in columns), strict=True))
        shown = worst(rows, 3)
        overall = {name.replace("_", " "): value for name, value in self._last_overall.items()}
        width = max(map(len, (*overall, *(row[0] for row in shown))))
        lines = [f"{'class':{width}}  precision  recall      F1  pictures"]
        for name, precision, recall, f1, pictures in shown:
            lines.append(f"{name:{width}}     {cell(precision)}  {cell(recall)}  {cell(f1)}  {pictures:8}")
        if len(shown) < len(rows):
            lines.append(f"({len(rows) - len(shown)} classes with a higher F1 are not shown)")
        means = [cell(mean.item()) for mean in (scores.mean_precision, scores.mean_recall, scores.mean_f1)]
        lines.append(f"{'mean':{width}}     {means[0]}  {means[1]}  {means[2]}  {sum(row[4] for row in rows):8}")
        lines += [f"{name:{width}}     {cell(value)}" for name, value in overall.items()]
        return "\n".join([*lines, *confusions(self._last_counts, self.class_names, "most frequent confusions")])
