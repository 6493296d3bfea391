"""What crosses the link: images and tensors, encoded and decoded.

Importing any module of this package registers the built-in codecs, so that
`hybridge.codecs.codec.codecs` is never found empty.
"""

from hybridge.codecs import image as image
from hybridge.codecs import tensor as tensor
