"""The extension of Model Explorer; it is loaded by ``model-explorer --extensions=evit_mobile.model_explorer``."""
