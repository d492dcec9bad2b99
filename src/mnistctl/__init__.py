"""mnistctl: train, evaluate, export and run classifiers of handwritten digits.

The commands of the command line are functions of the same names here; `__init__.pyi` lists them.
Importing this package is fast: a function's module is imported when it is first used.
"""

import lazy_loader

from mnistctl.system import openmp, telemetry

# Here, since nothing of this package imports the libraries before.
openmp.limit_spinning()
telemetry.switch_off()

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
