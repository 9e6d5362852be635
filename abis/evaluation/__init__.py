# SPDX-License-Identifier: Apache-2.0
"""Measure error rates by ISO/IEC 19795-1 with intervals, fit calibrations and fusions, and write reports."""

from abis.evaluation.datasets import DataSet, FailureToAcquire, FolderSample, read_folder
from abis.evaluation.discard import ErrorVersusDiscard, error_versus_discard
from abis.evaluation.embeddings import evaluate_embeddings
from abis.evaluation.error_rates import Det, ErrorRates, OperatingPoint
from abis.evaluation.findings import Findings
from abis.evaluation.fitting import TrainingScores, fit
from abis.evaluation.folder import Evaluation, evaluate_folder
from abis.evaluation.identification import IdentificationRates, SearchOutcomes, measure_identification, search
from abis.evaluation.intervals import Estimate, mean_estimate
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.non_mated import NonMatedScores
from abis.evaluation.plots import plot_cmc, plot_det
from abis.evaluation.protocols import LfwPairs, read_lfw_pairs, ten_fold_accuracy
from abis.evaluation.refitting import Refit, refit
from abis.evaluation.score_files import ScoreFile, evaluate_scores, read_scores, write_scores
from abis.evaluation.score_fusion import FusionTrial, best_fusion, learn_fusion, try_fusions
from abis.evaluation.scores import Scores, pooled
from abis.evaluation.searches import evaluate_searches
from abis.evaluation.summary import Summary, summarise

__all__ = [
    "DataSet",
    "Det",
    "ErrorRates",
    "ErrorVersusDiscard",
    "Estimate",
    "Evaluation",
    "FailureToAcquire",
    "Findings",
    "FolderSample",
    "FusionTrial",
    "IdentificationRates",
    "LfwPairs",
    "NonMatedScores",
    "OperatingPoint",
    "Refit",
    "ScoreFile",
    "Scores",
    "SearchOutcomes",
    "Summary",
    "TrainingScores",
    "best_fusion",
    "cllr",
    "error_versus_discard",
    "evaluate_embeddings",
    "evaluate_folder",
    "evaluate_scores",
    "evaluate_searches",
    "fit",
    "learn_fusion",
    "mean_estimate",
    "measure_identification",
    "min_cllr",
    "plot_cmc",
    "plot_det",
    "pooled",
    "read_folder",
    "read_lfw_pairs",
    "read_scores",
    "refit",
    "search",
    "summarise",
    "ten_fold_accuracy",
    "try_fusions",
    "write_scores",
]
