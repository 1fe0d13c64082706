"""One layer of every type with a single input, with arguments away from their defaults, for inputs of ``IMAGE``."""

from fastconv import initializers, layers, regularizers

IMAGE = (7, 9, 6)

LAYERS = [
    layers.Conv2D(4, (3, 2), (2, 1), ((1, 0), (0, 2)), None, (1, 2), 2, ("leaky_relu", 0.1), False, "he_normal"),
    layers.Conv2D(4, 3, kernel_regularizer="l2", bias_regularizer=regularizers.L1(0.1), bias_initializer="ones"),
    layers.Conv2D(4, 3, kernel_initializer=initializers.RandomNormal(0.1, 0.2, seed=3), name="c", trainable=False),
    layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="elu", depthwise_regularizer="l1"),
    layers.SeparableConv2D(5, 3, (2, 2), "same", depth_multiplier=2, pointwise_initializer="he_uniform"),
    layers.Conv2DTranspose(3, 3, 2, (1, 0), (1, 0), activation="tanh"),
    layers.LocallyConnected2D(3, (2, 3), (2, 2), activation="relu"),
    layers.MaxPool2D(3, 2, 1, ceil_mode=True),
    layers.AvgPool2D(3, 2, (1, 0), ceil_mode=True, count_include_pad=True),
    layers.GlobalMaxPool2D(keepdims=True),
    layers.GlobalAvgPool2D(),
    layers.Dense(5, "softmax", False, "zeros"),
    layers.Flatten(),
    layers.Reshape((-1, 2)),
    layers.Activation("relu6"),
    layers.Activation(["elu", 0.3]),
    layers.ReLU(3, 0.2, 0.1),
    layers.LeakyReLU(0.1),
    layers.PReLU("ones", "l2", shared_axes=(1, 2)),
    layers.ELU(0.3),
    layers.Softmax(),
    layers.BatchNormalization(momentum=0.5, epsilon=1e-4, scale=False, beta_initializer="ones"),
    layers.LocalResponseNormalization(2, 2.0, 1e-4, 0.75),
    layers.Dropout(0.3, seed=5),
    layers.SpatialDropout2D(0.2, seed=7),
    layers.ZeroPadding2D(((1, 2), (0, 3))),
    layers.Cropping2D((1, 2)),
    layers.UpSampling2D((2, 3), interpolation="bilinear"),
    layers.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.5),
]
