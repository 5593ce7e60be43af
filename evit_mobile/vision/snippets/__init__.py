"""The templates of ``evit_mobile.vision.snippet``, one a language."""
