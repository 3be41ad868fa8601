import pytest

pytest.importorskip("onnxruntime", reason="needs pip install 'ivreid[export]'")
