"""Scoring models on labelled features: the metrics of scene segmentation and the baselines to beat."""

from megaseg.evaluation.metrics import SceneMetrics, best_threshold, mean_iou, scene_metrics
from megaseg.evaluation.split import fold_of, labelled_files

__all__ = ["SceneMetrics", "best_threshold", "fold_of", "labelled_files", "mean_iou", "scene_metrics"]
