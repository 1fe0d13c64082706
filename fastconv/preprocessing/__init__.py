"""Pictures as arrays: reading and writing files, resizing, and the crops that a network looks at.

Images are uint8 arrays (height, width, channels), RGB, as everywhere in fastconv. Scaling of their values for a trained
network is ``fc.applications.preprocessing_of("vgg16")``, or ``preprocess_input`` of its module.
"""

from ..errors import suggest_names
from .crops import center_crop, multi_crop, predict_crops, resize_and_crop, ten_crop
from .image import array_to_image, load_image, resize, save_image

__all__ = [
    "array_to_image",
    "center_crop",
    "load_image",
    "multi_crop",
    "predict_crops",
    "resize",
    "resize_and_crop",
    "save_image",
    "ten_crop",
]
suggest_names(__name__)
