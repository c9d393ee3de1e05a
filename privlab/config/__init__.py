"""Every choice that a person can make, declared once: bounds, unit, default and help text."""

from privlab.config.encryption import EncryptionConfig
from privlab.config.presets import PRESETS, load_preset, preset_names
from privlab.config.privacy import PrivacyConfig
from privlab.config.problems import ConfigError, Problem
from privlab.config.run import RunConfig
from privlab.config.sections import (
    DataConfig,
    ModelConfig,
    PerformanceConfig,
    TrainingConfig,
)

__all__ = [
    "PRESETS",
    "ConfigError",
    "DataConfig",
    "EncryptionConfig",
    "ModelConfig",
    "PerformanceConfig",
    "PrivacyConfig",
    "Problem",
    "RunConfig",
    "TrainingConfig",
    "load_preset",
    "preset_names",
]
