"""Trained weights as one ONNX file, proved to compute what the weights compute."""

from ivreid.export.write import ExportedModel, export_model

__all__ = ["ExportedModel", "export_model"]
