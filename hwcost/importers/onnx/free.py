"""ONNX's operators that are known to multiply no matrices."""

from __future__ import annotations

__all__ = ["ELEMENTWISE", "FREE", "LOOK_UPS", "VIEWS", "names_of"]


def names_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


ELEMENTWISE = names_of(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    RandomNormalLike RandomUniformLike Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """
) | names_of("BiasAdd BiasDropout BiasGelu FastGelu QuickGelu")
"""Operators that work element by element on tensors that are broadcast."""

VIEWS = names_of("Flatten Identity Reshape Squeeze Unsqueeze Shape Size Optional OptionalGetElement")
"""Operators that move nothing: they return the same elements in another shape, or only a shape."""

LOOK_UPS = names_of("Gather GatherElements GatherND Slice EmbedLayerNormalization")
"""Operators that read no more of a table than they write."""

FREE = (
    ELEMENTWISE
    | VIEWS
    | LOOK_UPS
    | names_of(
        """
        ArgMax ArgMin AveragePool BatchNormalization BiasSoftmax BlackmanWindow CenterCropPad Col2Im Compress Concat
        Constant ConstantOfShape CumProd CumSum DepthToSpace DequantizeLinear DynamicQuantizeLinear Expand EyeLike
        GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample GroupNorm GroupNormalization HammingWindow
        HannWindow Hardmax InstanceNormalization LRN LayerNormalization LogSoftmax LpNormalization LpPool MaxPool
        MaxRoiPool MaxUnpool MeanVarianceNormalization Multinomial NonMaxSuppression NonZero OneHot Pad QLinearAdd
        QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QuantizeLinear
        RMSNormalization RandomNormal RandomUniform Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence RoiAlign RotaryEmbedding
        Scatter ScatterElements ScatterND SimplifiedLayerNormalization SkipLayerNormalization
        SkipSimplifiedLayerNormalization Softmax SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss SpaceToDepth
        Split TensorScatter Tile TopK Transpose Trilu Unique Upsample
        """
    )
)
"""All of them; any other operator that is not priced is unsupported."""
