"""Linear estimators of scikit-learn in a federation: `EstimatorTask` makes a task of one, `load_estimator` reads it
back from the file of its model.

Needs the extra `verifl[sklearn]`. See docs/training.md.
"""

from verifl.tasks.estimators import EstimatorTask, load_estimator

__all__ = ["EstimatorTask", "load_estimator"]
