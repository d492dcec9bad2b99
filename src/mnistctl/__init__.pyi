"""The public functions: one list, for type checkers and (through lazy_loader) at run time."""

from .api.annotate import annotate as annotate
from .api.benchmark import benchmark as benchmark
from .api.compare import compare as compare
from .api.data import data as data
from .api.data import data_pages as data_pages
from .api.data import list_datasets as list_datasets
from .api.doctor import doctor as doctor
from .api.download import download as download
from .api.ensemble import ensemble as ensemble
from .api.evaluate import evaluate as evaluate
from .api.export import export as export
from .api.info import info as info
from .api.label import label as label
from .api.listings import archs as archs
from .api.listings import recipe as recipe
from .api.listings import recipes as recipes
from .api.listings import runs as runs
from .api.plot import plot as plot
from .api.predict import open_model as open_model
from .api.predict import predict as predict
from .api.server_predictor import open_server as open_server
from .api.train import train as train
from .api.train import train_seeds as train_seeds
from .serving.serve import serve as serve
from .tuning.tune import read_study as read_study
from .tuning.tune import tune as tune

__all__: list[str]
__version__: str
