# SPDX-License-Identifier: Apache-2.0
"""Error rates after ISO/IEC 19795-1, their intervals, protocols and data sets."""

from abis.evaluation.datasets import DataSet, Failure, Sample, read_folder
from abis.evaluation.error_rates import Det, ErrorRates, OperatingPoint
from abis.evaluation.fitting import TrainingScores, fit
from abis.evaluation.folder import Evaluation, evaluate_folder
from abis.evaluation.intervals import Estimate, mean_estimate
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.non_mated import NonMatedScores
from abis.evaluation.protocols import LfwPairs, read_lfw_pairs, ten_fold_accuracy
from abis.evaluation.score_files import write_scores
from abis.evaluation.score_fusion import FusionTrial, best_fusion, learn_fusion, try_fusions
from abis.evaluation.scores import Scores, pooled
from abis.evaluation.summary import Summary, summarise

__all__ = [
    "DataSet",
    "Det",
    "ErrorRates",
    "Estimate",
    "Evaluation",
    "Failure",
    "FusionTrial",
    "LfwPairs",
    "NonMatedScores",
    "OperatingPoint",
    "Sample",
    "Scores",
    "Summary",
    "TrainingScores",
    "best_fusion",
    "cllr",
    "evaluate_folder",
    "fit",
    "learn_fusion",
    "mean_estimate",
    "min_cllr",
    "pooled",
    "read_folder",
    "read_lfw_pairs",
    "summarise",
    "ten_fold_accuracy",
    "try_fusions",
    "write_scores",
]
